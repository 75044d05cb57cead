"""The soak: much traffic for one server, cut into windows, to see whether it gets dearer or larger.

An hour's worth of traffic are 36,000 takedowns, ten a second. Without --rate they are asked for as
fast as they are answered, so that the hour is over in a minute; with it they come at that rate, by
the clock. A window is as many takedowns as every other. Prints one JSON object.

    python -m bench.soak --port 8080 --pid 4711 --takedowns 36000
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING

import msgspec
import psutil
import uvloop

from bench.alarm import Alarm
from bench.items import item_ids
from bench.load import HOST, LAST_ANSWERS, Caller, Load, cpu_of
from bench.open_loop import OpenCaller, OpenLoad, send

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 36_000
"""Takedowns in an hour at ten a second."""


class Window(msgspec.Struct, frozen=True):
    """One part of the soak.

    Attributes:
        seconds: how long it took.
        cpu_us: CPU microseconds of a request.
        memory_mb: what the process held in its end, in memory that is its own (10**6 bytes): not
            the pages of the catalogue's file, which the kernel takes back when it likes.
    """

    seconds: float
    cpu_us: float
    memory_mb: float


class Soaked(msgspec.Struct, frozen=True):
    """What came of it: `warm_up` takedowns came before the first window, `each` are in one."""

    warm_up: int
    each: int
    windows: list[Window]
    errors: dict[str, int]


class Gauge:
    """Counts answers, and looks at the server after each window's last.

    Args:
        pid: the server's.
        warm_up: takedowns before the first window.
        each: takedowns in a window.
        windows: how many there are.
    """

    def __init__(self, pid: int, *, warm_up: int, each: int, windows: int) -> None:
        self._process = psutil.Process(pid)
        self._next = warm_up
        self._each = each
        self._left = windows
        self._answered = 0
        self._before: tuple[float, float] | None = None
        self.windows: list[Window] = []

    def answered(self) -> bool:
        """One more; returns whether that was the last that is needed."""
        self._answered += 1
        if self._answered < self._next:
            return False
        self._next += self._each
        now, cpu = time.perf_counter(), cpu_of(self._process.pid)
        if self._before is not None:
            memory = self._process.memory_info()
            own = (memory.rss - memory.shared) / 1e6
            started, used = self._before
            self.windows.append(Window(now - started, (cpu - used) / self._each * 1e6, own))
        self._before = (now, cpu)
        return len(self.windows) >= self._left


class FastLoad(Load):
    """For callers that ask again at once."""

    def __init__(self, containers: int, items: int, gauge: Gauge) -> None:
        super().__init__(containers, itertools.cycle(item_ids(containers, items)))
        self.gauge = gauge

    def take(self, status: bytes, latency: float) -> None:
        super().take(status, latency)
        if self.asking and self.gauge.answered():
            self.asking = False


class PacedLoad(OpenLoad):
    """For requests that come by the clock."""

    def __init__(self, containers: int, items: int, gauge: Gauge) -> None:
        super().__init__(containers, items)
        self.gauge = gauge

    def take(self, status: bytes, latency: float) -> None:
        super().take(status, latency)
        if self.asking and self.gauge.answered():
            self.asking = False


async def measure(
    *,
    port: int,
    pid: int,
    containers: int,
    items: int,
    takedowns: int,
    windows: int,
    warm_up: int,
    rate: float,
    concurrency: int,
) -> Soaked:
    """Have the server take down `warm_up` + `takedowns` items, at `rate` a second if that is not 0.

    Good answers and others are counted alike; the others are told, and whoever reads the result
    has to look at them first.
    """
    each = takedowns // windows
    gauge = Gauge(pid, warm_up=warm_up, each=each, windows=windows)
    loop = asyncio.get_running_loop()
    load: Load
    callers: list[Caller] = []
    if rate:
        load = paced = PacedLoad(containers, items, gauge)
        for _ in range(concurrency):
            _, open_caller = await loop.create_connection(lambda: OpenCaller(paced), HOST, port)
            callers.append(open_caller)
        with Alarm() as alarm:
            await send(paced, alarm, moments(rate, paced))
        paced.asking = False
        for caller in paced.idle:
            caller.finish()
    else:
        load = fast = FastLoad(containers, items, gauge)
        for _ in range(concurrency):
            _, fast_caller = await loop.create_connection(lambda: Caller(fast), HOST, port)
            callers.append(fast_caller)
    everybody = asyncio.gather(*(caller.finished for caller in callers))
    try:
        await asyncio.wait_for(everybody, LAST_ANSWERS if rate else None)
    except TimeoutError:
        load.errors["no answer"] += 1
    return Soaked(warm_up, each, gauge.windows, dict(load.errors))


def moments(rate: float, load: Load) -> Iterator[float]:
    """When a request is due, in seconds: a Poisson process, until enough or a bad one came back."""
    dice = random.Random(1)
    now = 0.0
    while load.asking and not load.errors:
        now += dice.expovariate(rate)
        yield now


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server's process")
    parser.add_argument("--containers", type=int, default=3, help="of each item asked for")
    parser.add_argument("--items", type=int, default=2000, help="distinct ones to ask for")
    parser.add_argument("--takedowns", type=int, default=HOUR, help=f"in all windows ({HOUR})")
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=HOUR // 10, help="takedowns before them")
    parser.add_argument("--rate", type=float, default=0.0, help="a second; 0: as fast as it goes")
    parser.add_argument("--concurrency", type=int, default=32, help="connections")
    return parser


def main() -> None:
    soaked = uvloop.run(measure(**vars(arguments().parse_args())))
    print(msgspec.json.encode(soaked).decode())


if __name__ == "__main__":
    main()
