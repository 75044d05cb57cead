"""The load: a fixed number of callers, each of whom asks again as soon as he is answered.

Raw sockets, since on a small machine a comfortable client costs as much as the server that it
measures. It reads the server's CPU time itself, so that both ends of the measured window are
the same moment for the answers and for the CPU. Prints one JSON object.

    python -m dev.bench.load --port 8080 --pid 4711 --containers 3 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import re
import sys
import time
from array import array
from collections import Counter
from typing import TYPE_CHECKING, cast

import msgspec
import psutil
import uvloop

from dev.bench.items import item_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOST = "127.0.0.1"
LAST_ANSWERS = 15.0
"""Seconds that answers under way get after the window; longer than a takedown's deadline."""
CHECKED = 50
"""Every so many answers one is read in full."""

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

SERVER = "server"
LOAD = "load generator"
BROKEN = "connection lost"
WRONG = "wrong body"


class Measured(msgspec.Struct, frozen=True):
    """One round's result.

    Attributes:
        answered: good answers within the window.
        errors: all other answers, those of the warm-up too, by status or kind of failure.
        seconds: length of the window.
        cpu: seconds of CPU that the server used in it.
        p50, p99: seconds from a question to its answer.
        others: seconds of CPU that other processes of the bench used, by name.
    """

    answered: int
    errors: dict[str, int]
    seconds: float
    cpu: float
    p50: float
    p99: float
    others: dict[str, float]

    @property
    def cpu_per_request(self) -> float:
        return self.cpu / self.answered if self.answered else math.inf

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds


class Expected(msgspec.Struct, rename="camel"):
    """What is looked at in an answer."""

    item_id: str
    outcome: str
    containers: list[dict[str, str]]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank)."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


class Load:
    """What all callers share: whom to ask for next, and what came of it."""

    def __init__(self, containers: int, ids: Iterator[str]) -> None:
        self.containers = containers
        self.ids = ids
        self.asking = True
        self.measuring = False
        self.answered = 0
        self.latencies = array("d")
        self.errors: Counter[str] = Counter()

    def take(self, status: bytes, latency: float) -> None:
        if status == b"200":
            if self.measuring:
                self.answered += 1
                self.latencies.append(latency)
        else:
            # Those of the warm-up count, too: they never are what was asked for.
            self.errors[status.decode("ascii", "replace")] += 1

    def check(self, item_id: str, body: bytes) -> None:
        try:
            answer = msgspec.json.decode(body, type=Expected)
        except msgspec.DecodeError:
            self.errors[WRONG] += 1
            return
        distinct = {container["containerId"] for container in answer.containers}
        if (answer.item_id, answer.outcome, len(distinct)) != (item_id, "deleted", self.containers):
            self.errors[WRONG] += 1


class Caller(asyncio.Protocol):
    """One connection; at most one question is open on it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.item_id = ""
        self.asked_at = 0.0
        self.answers = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.ask()

    def ask(self) -> None:
        assert self.transport is not None
        if not self.load.asking:
            self.transport.close()
            return
        self.item_id = next(self.load.ids)
        self.asked_at = time.perf_counter()
        self.transport.write(
            b"DELETE /items/%b HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n"
            % self.item_id.encode()
        )

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head_end = self.buffer.find(_HEAD_END)
        if head_end < 0:
            return
        length = _LENGTH.search(self.buffer, 0, head_end + 2)
        if length is None:
            self.load.errors["answer without length"] += 1
            self.finish()
            return
        body = head_end + len(_HEAD_END)
        end = body + int(length[1])
        if len(self.buffer) < end:
            return
        status = self.buffer[9:12]
        self.answered(status, time.perf_counter())
        self.answers += 1
        if self.answers % CHECKED == 1 and status == b"200":
            self.load.check(self.item_id, self.buffer[body:end])
        self.buffer = b""
        self.item_id = ""
        self.ask()

    def answered(self, status: bytes, now: float) -> None:
        """The whole answer was there at `now`."""
        self.load.take(status, now - self.asked_at)

    def finish(self) -> None:
        assert self.transport is not None
        self.item_id = ""
        self.transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.item_id:
            self.load.errors[BROKEN] += 1
        if not self.finished.done():
            self.finished.set_result(None)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process with all its threads has used, in user and system mode."""
    if sys.platform != "linux":
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    # The clock that clock_getcpuclockid(3) names; /proc counts in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU that each process itself has used so far."""
    return {name: cpu_of(pid) for name, pid in pids.items()}


async def measure(
    *,
    port: int,
    pid: int,
    containers: int,
    items: int,
    concurrency: int,
    warm_up: float,
    seconds: float,
    watch: str = "",
) -> Measured:
    """Load the server for `warm_up` + `seconds` seconds and measure the latter."""
    processes = {SERVER: pid, LOAD: os.getpid()}
    for pair in filter(None, watch.split(",")):
        name, _, number = pair.partition("=")
        processes[name] = int(number)
    load = Load(containers, itertools.cycle(item_ids(containers, items)))
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    for _ in range(concurrency):
        _, caller = await loop.create_connection(lambda: Caller(load), HOST, port)
        callers.append(caller)
    await asyncio.sleep(warm_up)

    started, before = time.perf_counter(), cpu_seconds(processes)
    load.measuring = True
    await asyncio.sleep(seconds)
    load.measuring = load.asking = False
    ended, after = time.perf_counter(), cpu_seconds(processes)

    _, unanswered = await asyncio.wait(
        [caller.finished for caller in callers], timeout=LAST_ANSWERS
    )
    if unanswered:
        load.errors["no answer"] += len(unanswered)
    used = {name: after[name] - before[name] for name in processes}
    return Measured(
        answered=load.answered,
        errors=dict(load.errors),
        seconds=ended - started,
        cpu=used.pop(SERVER),
        p50=percentile(load.latencies, 0.50),
        p99=percentile(load.latencies, 0.99),
        others=used,
    )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server whose CPU is counted")
    parser.add_argument("--containers", type=int, required=True, help="of each item asked for")
    parser.add_argument("--items", type=int, default=2000, help="distinct ones to ask for")
    parser.add_argument("--concurrency", type=int, default=128)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--watch", default="", help="NAME=PID,... whose CPU is told, too")
    return parser


def main() -> None:
    measured = uvloop.run(measure(**vars(arguments().parse_args())))
    print(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    main()
