"""The soak: much traffic, cut into windows, to see whether a request gets dearer or memory grows.

An hour's worth of traffic are 36,000 takedowns, ten a second, and the minimal bridge gets as many:
the machine itself is faster or slower from one minute to the next, so that only what a request
costs in comparison to the bridge's tells whether the service changes. Without --rate both are asked
as fast as they answer, in turns, so that the hour is over in a minute; with it both are asked at
that rate, by the clock. A window is as many takedowns as every other. Prints one JSON object.

    python -m dev.bench.soak --port 8080 --pid 4711 --yardstick-port 8081 --yardstick-pid 4712
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import psutil
import uvloop

from dev.bench.alarm import Alarm
from dev.bench.load import HOST, LAST_ANSWERS, cpu_of
from dev.bench.open_loop import OpenCaller, OpenLoad
from dev.bench.report import MINIMAL, SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOUR = 36_000
"""Takedowns in an hour at ten a second."""
TURN = 150
"""About how many takedowns each has in a turn: what the machine does for seconds then slows both.

Who goes on after a turn of his own is cheaper than who comes after the other one, by 10 % with so
many takedowns in a turn; so in each window both go first as often as the other. In one run with 600
in a turn the ratios of 60 windows had a standard deviation of 11 %, in another one with 150 in each
of four turns 4.5 %.
"""


class Window(msgspec.Struct, frozen=True):
    """One part of the soak.

    Attributes:
        seconds: how long the service took for its takedowns.
        cpu_us: CPU microseconds of a request to the service.
        yardstick_us: CPU microseconds of a request to the minimal bridge.
        memory_mb: what the service held in its end, in memory that is its own (10**6 bytes): not
            the pages of the catalogue's file, which the kernel takes back when it likes.
    """

    seconds: float
    cpu_us: float
    yardstick_us: float
    memory_mb: float

    @property
    def ratio(self) -> float:
        return self.cpu_us / self.yardstick_us


class Soaked(msgspec.Struct, frozen=True):
    """What came of it: `warm_up` takedowns came before the first window, `each` are in one.

    Both servers had so many. `errors` are by whose they are, and then by status or kind.
    """

    warm_up: int
    each: int
    windows: list[Window]
    errors: dict[str, dict[str, int]]


class Look(NamedTuple):
    """A server at one moment: time and its CPU, both in seconds, and its answers so far."""

    at: float
    cpu: float
    answers: int

    def us_since(self, before: Look) -> float:
        """CPU microseconds of an answer since then."""
        return (self.cpu - before.cpu) / (self.answers - before.answers) * 1e6


class Side(OpenLoad):
    """One of the two servers: those who ask it, and what came of it.

    Attributes:
        taken: answers that have come, good ones and others.
        busy: the same as a look, but time and CPU only of its turns.
        then: called after each answer, and when a connection is lost.
    """

    def __init__(self, name: str, pid: int, containers: int, items: int) -> None:
        super().__init__(containers, items)
        self.name = name
        self.pid = pid
        self.taken = 0
        self.busy = Look(0.0, 0.0, 0)
        self.then: Callable[[], None] = lambda: None
        self._callers: list[SoakCaller] = []

    async def connect(self, port: int, concurrency: int) -> None:
        """Let so many callers come; they wait until there is something to ask."""
        loop = asyncio.get_running_loop()
        for _ in range(concurrency):
            _, caller = await loop.create_connection(lambda: SoakCaller(self), HOST, port)
            self._callers.append(caller)

    def take(self, status: bytes, latency: float) -> None:
        super().take(status, latency)
        self.taken += 1
        self.then()

    def look(self) -> Look:
        return Look(time.perf_counter(), cpu_of(self.pid), self.taken)

    async def answer(self, takedowns: int) -> None:
        """Have all callers ask until so many are answered, and none is under way any more.

        At a bad answer it is over, too: then the answers to what was asked before still come.
        """
        before = self.look()
        enough = self.taken + takedowns
        over = asyncio.Event()

        def look_whether_over() -> None:
            if self.errors:
                self.waiting.clear()
            if self.errors or self.taken >= enough:
                over.set()

        self.then = look_whether_over
        now = time.perf_counter()
        for _ in range(takedowns):
            self.request(now)
        look_whether_over()
        await over.wait()
        if not self.errors:
            after = self.look()
            seconds, cpu = after.at - before.at, after.cpu - before.cpu
            self.busy = Look(self.busy.at + seconds, self.busy.cpu + cpu, after.answers)

    async def end(self) -> None:
        """Wait for the last answers, and hang up."""
        self.asking = False
        for caller in self.idle:
            caller.finish()
        _, unanswered = await asyncio.wait(
            [caller.finished for caller in self._callers], timeout=LAST_ANSWERS
        )
        if unanswered:
            self.errors["no answer"] += len(unanswered)


class SoakCaller(OpenCaller):
    """One connection, whose loss is told to whoever waits for answers."""

    load: Side

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.load.then()


class Gauge:
    """By the clock: looks at both servers after the service's last answer of each window.

    The bridge's CPU is divided by the answers of its own that came meanwhile.

    Args:
        service: whose answers are counted.
        yardstick: the other one.
        warm_up: takedowns before the first window.
        each: takedowns in a window.
        windows: how many there are.
    """

    def __init__(
        self, service: Side, yardstick: Side, *, warm_up: int, each: int, windows: int
    ) -> None:
        self._service = service
        self._yardstick = yardstick
        self._next = warm_up
        self._each = each
        self._count = windows
        self._before: tuple[Look, Look] | None = None
        self.windows: list[Window] = []

    @property
    def full(self) -> bool:
        return len(self.windows) >= self._count

    def answered(self) -> None:
        """The service may have answered one more."""
        if self._service.taken < self._next or self.full:
            return
        self._next += self._each
        service, yardstick = self._service.look(), self._yardstick.look()
        if self._before is not None:
            before, yardstick_before = self._before
            if yardstick.answers == yardstick_before.answers:
                self._yardstick.errors["no answer in a window"] += 1
                return
            self.windows.append(
                Window(
                    service.at - before.at,
                    service.us_since(before),
                    yardstick.us_since(yardstick_before),
                    own_memory(self._service.pid),
                )
            )
        self._before = (service, yardstick)


def own_memory(pid: int) -> float:
    """What a process holds for itself, in 10**6 bytes."""
    memory = psutil.Process(pid).memory_info()
    return float(memory.rss - memory.shared) / 1e6


async def in_turns(
    service: Side, yardstick: Side, *, warm_up: int, each: int, windows: int
) -> list[Window]:
    """As fast as they answer, one at a time; who goes first changes from turn to turn.

    The CPU of each counts from the first request of its turn to the last answer, so that what it
    does while the other one is asked is in no figure.
    """
    found: list[Window] = []
    order = (service, yardstick)
    for side in order:
        await side.answer(warm_up)
        if side.errors:
            return found
    turns = max(2, round(each / TURN / 2) * 2)
    for _ in range(windows):
        before, yardstick_before = service.busy, yardstick.busy
        for number in range(turns):
            share = each * (number + 1) // turns - each * number // turns
            for side in order:
                await side.answer(share)
                if side.errors:
                    return found
            order = order[::-1]
        found.append(
            Window(
                service.busy.at - before.at,
                service.busy.us_since(before),
                yardstick.busy.us_since(yardstick_before),
                own_memory(service.pid),
            )
        )
    return found


async def by_the_clock(
    service: Side, yardstick: Side, *, rate: float, warm_up: int, each: int, windows: int
) -> list[Window]:
    """At each moment that is due both are asked for the same item."""
    gauge = Gauge(service, yardstick, warm_up=warm_up, each=each, windows=windows)
    service.then = gauge.answered
    started = time.perf_counter()
    with Alarm() as alarm:
        for at in moments(rate):
            await alarm.until(started + at)
            if gauge.full or service.errors or yardstick.errors:
                break
            for side in (service, yardstick):
                side.request(started + at)
    return gauge.windows


def moments(rate: float) -> Iterator[float]:
    """When a request is due, in seconds: a Poisson process without end, always the same."""
    rng = random.Random(1)
    now = 0.0
    while True:
        now += rng.expovariate(rate)
        yield now


async def measure(
    *,
    port: int,
    pid: int,
    yardstick_port: int,
    yardstick_pid: int,
    containers: int,
    items: int,
    takedowns: int,
    windows: int,
    warm_up: int,
    rate: float,
    concurrency: int,
) -> Soaked:
    """Have both take down `warm_up` + `takedowns` items, at `rate` a second if that is not 0.

    It ends at the first bad answer. Whoever reads the result has to look at the errors first.
    """
    each = takedowns // windows
    service = Side(SERVICE, pid, containers, items)
    yardstick = Side(MINIMAL, yardstick_pid, containers, items)
    await service.connect(port, concurrency)
    await yardstick.connect(yardstick_port, concurrency)
    sizes = {"warm_up": warm_up, "each": each, "windows": windows}
    if rate:
        found = await by_the_clock(service, yardstick, rate=rate, **sizes)
    else:
        found = await in_turns(service, yardstick, **sizes)
    await asyncio.gather(service.end(), yardstick.end())
    errors = {side.name: dict(side.errors) for side in (service, yardstick) if side.errors}
    return Soaked(warm_up, each, found, errors)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.soak")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the service's process")
    parser.add_argument("--yardstick-port", type=int, required=True)
    parser.add_argument("--yardstick-pid", type=int, required=True, help="the minimal bridge's")
    parser.add_argument("--containers", type=int, default=3, help="of each item asked for")
    parser.add_argument("--items", type=int, default=2000, help="distinct ones to ask for")
    parser.add_argument("--takedowns", type=int, default=HOUR, help=f"in all windows ({HOUR})")
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=HOUR // 10, help="takedowns before them")
    parser.add_argument("--rate", type=float, default=0.0, help="a second; 0: as fast as it goes")
    parser.add_argument("--concurrency", type=int, default=32, help="connections to each of both")
    return parser


def main() -> None:
    soaked = uvloop.run(measure(**vars(arguments().parse_args())))
    print(msgspec.json.encode(soaked).decode())


if __name__ == "__main__":
    main()
