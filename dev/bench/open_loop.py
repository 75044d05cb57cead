"""The open load: requests leave at times that were fixed before, whatever the server does.

A closed loop of callers asks less often while the server is slow, and so measures little of the
slowness (coordinated omission). Here each request has its intended time, and its latency counts
from then, also if all connections were busy when it came. What the generator itself adds before it
sends is told beside it: how late its requests leave, and the latencies from that moment on. That it
takes as long to notice an answer cannot be seen from here; a high priority (`--nice -10`, where one
may) keeps both short on cores that it shares.

    python -m dev.bench.open_loop --port 8080 --pid 4711 --containers 3 --rate 1000 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import math
import os
import random
import time
from array import array
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import uvloop

from dev.bench.alarm import Alarm
from dev.bench.items import item_ids
from dev.bench.load import BROKEN, HOST, LAST_ANSWERS, Caller, Load, cpu_of, percentile

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECTIONS = 2048
"""More requests at once than this wait for a connection, and their time runs."""


class OpenMeasured(msgspec.Struct, frozen=True):
    """One round's result: latencies are seconds from the intended time to the whole answer.

    Attributes:
        rate: requests a second that were intended.
        sent, answered, errors: of the window's requests; errors of the warm-up's, too.
        cpu: seconds of CPU that the server used in the window.
        p50, p90, p99, p999, worst: latency.
        sent_p50, sent_p99: latency from when the request did leave.
        late_p50, late_p99: how much later than intended the requests left.
        late_share: of the sum of all latencies, what had passed before the request left.
        nice: the priority at which the generator ran; below 0 before everybody else.
    """

    rate: float
    sent: int
    answered: int
    errors: dict[str, int]
    cpu: float
    p50: float
    p90: float
    p99: float
    p999: float
    worst: float
    sent_p50: float
    sent_p99: float
    late_p50: float
    late_p99: float
    late_share: float
    nice: int


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds after the start at which a request is sent: a Poisson process, always the same."""
    rng = random.Random(seed)
    times: list[float] = []
    now = rng.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += rng.expovariate(rate)
    return times


class OpenLoad(Load):
    """Whose turn it is, and who is free to ask."""

    def __init__(self, containers: int, items: int) -> None:
        super().__init__(containers, itertools.cycle(item_ids(containers, items)))
        self.idle: deque[OpenCaller] = deque()
        self.waiting: deque[float] = deque()
        self.late = array("d")
        self.since_sent = array("d")
        self.measured_from = math.inf

    def request(self, intended: float) -> None:
        """A request is due; the caller that is free asks, or the first that will be."""
        self.waiting.append(intended)
        while self.waiting and self.idle:
            # Whoever has been free longest: servers hang up on those who do not ask.
            self.idle.popleft().ask_now(self.waiting.popleft())

    def take(self, status: bytes, latency: float) -> None:
        """Count an answer, if its request was due in the window; the warm-up's come late, too."""
        self.measuring = time.perf_counter() - latency >= self.measured_from
        super().take(status, latency)


class OpenCaller(Caller):
    """One connection that asks when it is told to."""

    load: OpenLoad
    sent_at = 0.0

    def ask(self) -> None:
        """Called when it is connected, and after each answer: be free."""
        if self.load.waiting:
            self.ask_now(self.load.waiting.popleft())
        elif self.load.asking:
            self.load.idle.append(self)
        else:
            self.finish()

    def ask_now(self, intended: float) -> None:
        """Send a request whose time was `intended`."""
        super().ask()
        self.sent_at, self.asked_at = self.asked_at, intended

    def answered(self, status: bytes, now: float) -> None:
        if status == b"200" and self.asked_at >= self.load.measured_from:
            self.load.late.append(self.sent_at - self.asked_at)
            self.load.since_sent.append(now - self.sent_at)
        super().answered(status, now)

    def connection_lost(self, exc: Exception | None) -> None:
        with contextlib.suppress(ValueError):
            self.load.idle.remove(self)
            if self.load.asking:
                self.load.errors[BROKEN] += 1
        super().connection_lost(exc)


async def measure(
    *,
    port: int,
    pid: int,
    containers: int,
    items: int,
    rate: float,
    warm_up: float,
    seconds: float,
    seed: int = 1,
    nice: int = 0,
) -> OpenMeasured:
    """Send `rate` requests a second for `warm_up` + `seconds` seconds and measure the latter."""
    nice = prefer(nice)
    loop = asyncio.get_running_loop()
    load = OpenLoad(containers, items)
    callers: list[OpenCaller] = []
    for _ in range(min(CONNECTIONS, max(64, round(rate)))):
        _, caller = await loop.create_connection(lambda: OpenCaller(load), HOST, port)
        callers.append(caller)
    with Alarm() as alarm:
        await send(load, alarm, schedule(rate, warm_up, seed + 1))
        before = cpu_of(pid)
        load.measured_from = time.perf_counter()
        times = schedule(rate, seconds, seed)
        await send(load, alarm, times)
        cpu = cpu_of(pid) - before
    give_up = time.perf_counter() + LAST_ANSWERS
    while len(load.idle) < len(callers) and time.perf_counter() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    load.asking = False
    if unanswered := len(callers) - len(load.idle) + len(load.waiting):
        load.errors["no answer"] += unanswered
    for caller in callers:
        caller.finish()
    return OpenMeasured(
        rate=rate,
        sent=len(times),
        answered=load.answered,
        errors=dict(load.errors),
        cpu=cpu,
        p50=percentile(load.latencies, 0.50),
        p90=percentile(load.latencies, 0.90),
        p99=percentile(load.latencies, 0.99),
        p999=percentile(load.latencies, 0.999),
        worst=max(load.latencies, default=0.0),
        sent_p50=percentile(load.since_sent, 0.50),
        sent_p99=percentile(load.since_sent, 0.99),
        late_p50=percentile(load.late, 0.50),
        late_p99=percentile(load.late, 0.99),
        late_share=sum(load.late) / total if (total := sum(load.latencies)) else 0.0,
        nice=nice,
    )


def prefer(nice: int) -> int:
    """Take this priority, as far as we may; returns what it is."""
    with contextlib.suppress(PermissionError):  # then the result tells it
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    return os.getpriority(os.PRIO_PROCESS, 0)


async def send(load: OpenLoad, alarm: Alarm, times: Iterable[float]) -> None:
    """Have a request sent at each of these times, seconds from now."""
    started = time.perf_counter()
    for at in times:
        await alarm.until(started + at)
        load.request(started + at)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.open_loop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server whose CPU is counted")
    parser.add_argument("--containers", type=int, required=True, help="of each item asked for")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--items", type=int, default=2000, help="distinct ones to ask for")
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--nice", type=int, default=0, help="the generator's own priority")
    parser.add_argument("--seed", type=int, default=1, help="of the requests' times")
    return parser


def main() -> None:
    measured = uvloop.run(measure(**vars(arguments().parse_args())))
    print(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    main()
