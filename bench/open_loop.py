"""The open load: requests leave at times that were fixed before, whatever the server does.

A closed loop of callers asks less often while the server is slow, and so measures little of the
slowness (coordinated omission). Here each request has its intended time, and its latency counts
from then, also if all connections were busy when it came.

    python -m bench.open_loop --port 8080 --pid 4711 --containers 3 --rate 1000 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
import time
from collections import deque

import msgspec
import psutil
import uvloop

from bench.items import item_ids
from bench.load import HOST, LAST_ANSWERS, SERVER, Caller, Load, cpu_seconds, percentile

CONNECTIONS = 2048
"""More requests at once than this wait for a connection, and their time runs."""


class OpenMeasured(msgspec.Struct, frozen=True):
    """One round's result: latencies are seconds from the intended time to the whole answer."""

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
    late_starts: float
    """Seconds by which 99 % of the requests left at most after their time: the generator's own."""


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds after the start at which a request is sent: a Poisson process, always the same."""
    dice = random.Random(seed)
    times: list[float] = []
    now = dice.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += dice.expovariate(rate)
    return times


class OpenLoad(Load):
    """Whose turn it is, and who is free to ask."""

    def __init__(self, containers: int, items: int) -> None:
        super().__init__(containers, itertools.cycle(item_ids(containers, items)))
        self.idle: list[OpenCaller] = []
        self.waiting: deque[float] = deque()
        self.late_starts: list[float] = []
        self.measured_from = math.inf

    def request(self, intended: float) -> None:
        """A request is due; the caller that is free asks, or the first that will be."""
        self.waiting.append(intended)
        while self.waiting and self.idle:
            self.idle.pop().ask_now(self.waiting.popleft())

    def take(self, status: bytes, latency: float) -> None:
        """Count an answer, if its request was due in the window; the warm-up's come late, too."""
        self.measuring = time.perf_counter() - latency >= self.measured_from
        super().take(status, latency)


class OpenCaller(Caller):
    """One connection that asks when it is told to."""

    load: OpenLoad

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
        if intended >= self.load.measured_from:
            self.load.late_starts.append(time.perf_counter() - intended)
        super().ask()
        self.asked_at = intended


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
) -> OpenMeasured:
    """Send `rate` requests a second for `warm_up` + `seconds` seconds and measure the latter."""
    loop = asyncio.get_running_loop()
    processes = {SERVER: psutil.Process(pid)}
    load = OpenLoad(containers, items)
    callers: list[OpenCaller] = []
    for _ in range(min(CONNECTIONS, max(64, round(rate)))):
        _, caller = await loop.create_connection(lambda: OpenCaller(load), HOST, port)
        callers.append(caller)
    await _send(load, schedule(rate, warm_up, seed + 1))
    before = cpu_seconds(processes)
    load.measured_from = time.perf_counter()
    times = schedule(rate, seconds, seed)
    await _send(load, times)
    cpu = cpu_seconds(processes)[SERVER] - before[SERVER]
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
        late_starts=percentile(load.late_starts, 0.99),
    )


async def _send(load: OpenLoad, times: list[float]) -> None:
    started = time.perf_counter()
    for at in times:
        wait = started + at - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        load.request(started + at)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.open_loop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server whose CPU is counted")
    parser.add_argument("--containers", type=int, required=True, help="of each item asked for")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--items", type=int, default=2000, help="distinct ones to ask for")
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1, help="of the requests' times")
    return parser


def main() -> None:
    measured = uvloop.run(measure(**vars(arguments().parse_args())))
    print(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    main()
