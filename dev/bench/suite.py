"""`make bench`: every figure, alternately and in one run, into docs/performance.md.

The broker is a real Apache Kafka if Java is there, else the embedded one; the page says which.
A part that fails is told in the page and in the exit status, and the others go on.

    python -m dev.bench.suite                     # everything: some ten minutes
    python -m dev.bench.suite --only latency,workers --no-docs
    python -m dev.bench.suite --soak-hours 1      # an hour's worth of traffic, as fast as it goes
    python -m dev.bench.suite --soak 60           # an hour by the clock, --soak-rate a second
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import psutil

from dev.apache_kafka import jars
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.prepare import prepare
from dev.bench import figures, targets, workers
from dev.bench.__main__ import APACHE_FETCH_MAX_WAIT, Kafka, Plan, compare, start_kafka
from dev.bench.items import Topics
from dev.bench.latency import HALF, LOADS
from dev.bench.parts import Bench, core, say
from dev.bench.processes import BenchError
from dev.bench.report import MINIMAL, SERVICE, Neighbours, Row, machine, main_line, warning
from dev.bench.results import Results
from dev.bench.scaling import Scaling, Shape
from dev.bench.soak import HOUR
from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from dev.bench.targets import Target

T = TypeVar("T")

SOAK_WINDOWS, LEAST_WINDOWS = 60, 8
LEAST_IN_A_WINDOW = 100
"""Takedowns: with fewer, the answers that come at once would fill a window, in no time at all."""
SOAK_RATE = 100.0

CLOSED, OTHERS, VIEWER, LATENCY = "closed", "others", "viewer", "latency"
FOREIGN, SOAK, STARTS, WORKERS = "foreign", "soak", "starts", "workers"
MESSAGES, MEMORY, TIMEOUTS = "messages", "memory", "timeouts"
WITH_SERVERS = (CLOSED, OTHERS, VIEWER, LATENCY, FOREIGN, SOAK, STARTS)
PARTS = (*WITH_SERVERS, WORKERS, MESSAGES, MEMORY, TIMEOUTS)
"""What there is to measure, in this order."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long and how much: all of `make bench` takes minutes, --quick less."""

    plan: Plan
    short: Plan
    latency_seconds: float
    loads: Mapping[float, int]
    workers: Shape
    throttle: float
    takedowns: tuple[int, ...]
    together: tuple[int, ...]
    rounds: int
    foreign: int
    starts: int
    soak: int
    may_pin: bool


def sizes(*, quick: bool = False, may_pin: bool = True) -> Sizes:
    if quick:
        plan = Plan((1, 3, 20), 2, 1.0, 0.3, 0.7, 128, 3334)
        return Sizes(
            plan=plan,
            short=plan,
            latency_seconds=1.0,
            loads={0.1: 1, HALF: 2, 0.9: 1},
            workers=Shape((1, 2), 3, 2, 1.0, 128),
            throttle=0.3,
            takedowns=(1_000, 10_000),
            together=(10_000,),
            rounds=1,
            foreign=60_000,
            starts=1,
            soak=HOUR // 6,
            may_pin=may_pin,
        )
    return Sizes(
        plan=Plan((1, 3, 20), 5, 3.0, 0.7, 2.0, 128, 3334),
        short=Plan((1, 3, 20), 5, 2.0, 0.5, 1.0, 128, 3334),
        latency_seconds=2.5,
        loads=LOADS,
        workers=Shape((1, 2), 3, 5, 3.0, 128),
        throttle=0.3,
        takedowns=(1_000, 10_000, 30_000, 100_000),
        together=(10_000, 100_000),
        rounds=5,
        foreign=300_000,
        starts=5,
        soak=3 * HOUR,
        may_pin=may_pin,
    )


class Run:
    """Measures part by part; one that fails is noted, and the next one comes.

    Args:
        results: where what is found goes.
        asked: the parts that are wanted.
    """

    def __init__(self, results: Results, asked: frozenset[str]) -> None:
        self.results = results
        self.asked = asked

    async def part(self, name: str, work: Coroutine[Any, Any, T]) -> T | None:
        """What a part finds; None if it is not asked for, or could not be measured."""
        if name not in self.asked:
            work.close()
            return None
        say(f"-- {name}")
        try:
            return await work
        except (BenchError, OSError, psutil.Error, msgspec.MsgspecError) as error:
            self.fail(name, error)
            return None

    def fail(self, name: str, error: Exception) -> None:
        """Note that a part could not be measured."""
        why = str(error) or type(error).__name__
        say(f"-- {name} failed: {why}")
        self.results.failures[name] = why.splitlines()[0]


@contextlib.asynccontextmanager
async def _apache() -> AsyncIterator[Kafka]:
    await prepare()
    async with ApacheKafka(heap_mb=512) as kafka:
        yield Kafka(kafka.bootstrap_servers, APACHE_FETCH_MAX_WAIT, "Apache Kafka", kafka.pid(1))


async def choose_kafka(stack: AsyncExitStack, options: argparse.Namespace) -> Kafka:
    """The broker that was named, else a real one, else the embedded one."""
    if options.bootstrap or options.embedded or jars.java_and_maven_missing() is not None:
        return await start_kafka(stack, options.bootstrap)
    return await stack.enter_async_context(_apache())


async def with_servers(run: Run, kafka: Kafka, logs: Path, all_sizes: Sizes) -> None:
    """The parts that need a service and a minimal bridge."""
    results, plan = run.results, all_sizes.plan
    async with AsyncExitStack() as stack:
        bench = Bench(stack, kafka, Topics(f"bench-{secrets.token_hex(4)}"), logs)
        try:
            await bench.start(plan)
        except BenchError as error:
            for name in WITH_SERVERS:
                if name in run.asked:
                    run.fail(name, error)
            return
        servers = [bench.service, bench.minimal]
        rounds = await run.part(CLOSED, compare(servers, plan, bench.watch))
        if rounds is not None:
            results.rows = [
                Row.of(size, both[SERVICE], both[MINIMAL]) for size, both in rounds.items()
            ]
        results.others = await run.part(OTHERS, bench.others(all_sizes.short))
        results.looked_at = await run.part(VIEWER, bench.looked_at(all_sizes.short))
        results.latencies = await run.part(
            LATENCY,
            bench.latencies(
                all_sizes.short,
                all_sizes.latency_seconds,
                all_sizes.loads,
                may_pin=all_sizes.may_pin,
            ),
        )
        results.foreign = await run.part(
            FOREIGN, bench.foreign(all_sizes.foreign, all_sizes.rounds)
        )
        results.soak = await run.part(
            SOAK, bench.soak(plan, all_sizes.soak, windows=windows_of(all_sizes.soak))
        )
        results.starts = await run.part(STARTS, bench.starts(all_sizes.starts))


async def scaling(kafka: Kafka, logs: Path, all_sizes: Sizes) -> Scaling:
    """Two workers against one."""
    async with AsyncExitStack() as stack:
        return await workers.compare(stack, kafka, logs, all_sizes.workers, all_sizes.throttle)


async def without_broker(run: Run, all_sizes: Sizes) -> None:
    """The parts that are about the core alone; nothing else of ours runs meanwhile."""

    async def several(what: str, rounds: int, **options: object) -> list[dict[str, Any]]:
        return [await core(what, **options) for _ in range(rounds)]

    async def memory() -> list[dict[str, Any]]:
        return [await core("memory", takedowns=count) for count in all_sizes.takedowns]

    async def timeouts() -> list[list[dict[str, Any]]]:
        rounds = min(3, all_sizes.rounds)
        return [await several("timeouts", rounds, takedowns=count) for count in all_sizes.together]

    run.results.messages = await run.part(MESSAGES, several("messages", all_sizes.rounds))
    run.results.memory = await run.part(MEMORY, memory())
    run.results.timeouts = await run.part(TIMEOUTS, timeouts())


async def soak_alone(options: argparse.Namespace) -> int:
    """Only the soak: so many hours' worth as fast as it goes, or so many minutes by the clock."""
    all_sizes = sizes(quick=options.quick)
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        kafka = await choose_kafka(stack, options)
        print(machine(kafka.description), flush=True)
        bench = Bench(stack, kafka, Topics(f"bench-{secrets.token_hex(4)}"), logs)
        await bench.start(all_sizes.plan)
        if options.soak:
            rate = options.soak_rate
            takedowns = round(options.soak * 60 * rate)
        else:
            rate, takedowns = 0.0, round(options.soak_hours * HOUR)
        windows = windows_of(takedowns)
        soaked = await bench.soak(all_sizes.plan, takedowns, windows=windows, rate=rate)
    print(figures.soak_text(soaked))
    cpu, memory = targets.soak(soaked)
    for target in (cpu, memory):
        if not target.reached:
            print(f"{target.what}: {target.measured}, to be reached: {target.limit}")
    return status_of(cpu, memory, cpu_may_drift=options.cpu_may_drift)


def windows_of(takedowns: int) -> int:
    """Into how many windows a soak is cut.

    Raises:
        BenchError: it is too short.
    """
    windows = min(SOAK_WINDOWS, takedowns // LEAST_IN_A_WINDOW)
    if windows < LEAST_WINDOWS:
        least = LEAST_WINDOWS * LEAST_IN_A_WINDOW
        raise BenchError(f"a soak of {takedowns} takedowns is too short; {least} are the least")
    return windows


def status_of(cpu: Target, memory: Target, *, cpu_may_drift: bool) -> int:
    """A soak's exit status."""
    return 0 if memory.reached and (cpu.reached or cpu_may_drift) else 1


async def everything(options: argparse.Namespace) -> int:
    """Measure what was asked for, and write it down; 1 if a part could not be measured."""
    all_sizes = sizes(quick=options.quick, may_pin=not options.no_pin)
    plan = all_sizes.plan
    before, neighbours = os.getloadavg(), Neighbours()
    if not_quiet := warning(before[0]):
        say(not_quiet)
    results = Results(
        facts="",
        plan=f"medians of {plan.rounds} rounds of {plan.seconds:g} s, {plan.concurrency} callers",
        warning=not_quiet,
    )
    run = Run(results, frozenset(options.only or PARTS))
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        kafka = await choose_kafka(stack, options)
        results.facts = machine(kafka.description, before)
        if run.asked.intersection(WITH_SERVERS):
            await with_servers(run, kafka, logs, all_sizes)
        results.workers = await run.part(WORKERS, scaling(kafka, logs, all_sizes))
    await without_broker(run, all_sizes)
    results.neighbours = neighbours.share()
    if options.no_docs or options.only:
        print(figures.section(results, drawn=()), end="\n\n")
    else:
        print(figures.target_table(results), end="\n\n")
        figures.write(results)
        say(f"written: {figures.PAGE}")
    for part, why in results.failures.items():
        print(f"not measured: {part}: {why}")
    if results.rows:
        print(main_line(results.rows))
    return 1 if results.failures else 0


def parts(text: str) -> tuple[str, ...]:
    """`latency,workers` as names; what argparse calls to convert an option."""
    names = tuple(text.split(","))
    if not set(names) <= set(PARTS):
        raise ValueError(text)
    return names


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, smaller numbers")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="a broker that runs already")
    parser.add_argument("--embedded", action="store_true", help="the embedded broker in any case")
    parser.add_argument("--no-pin", action="store_true", help="let latency's programs share cores")
    parser.add_argument("--no-docs", action="store_true", help="print, and write no page")
    parser.add_argument(
        "--only", type=parts, metavar="PARTS", help=f"print these alone: {','.join(PARTS)}"
    )
    soak = parser.add_mutually_exclusive_group()
    soak.add_argument(
        "--soak-hours",
        type=float,
        metavar="HOURS",
        help=f"only {HOUR:,} takedowns for each; status 1 if they drift",
    )
    soak.add_argument("--soak", type=float, metavar="MINUTES", help="only a soak by the clock")
    parser.add_argument(
        "--cpu-may-drift",
        action="store_true",
        help="a soak's status is that of the memory alone: for machines that others use, too",
    )
    parser.add_argument(
        "--soak-rate", type=float, default=SOAK_RATE, help=f"takedowns a second ({SOAK_RATE:g})"
    )
    return parser


def main() -> int:
    options = arguments().parse_args()

    async def until_stopped() -> int:
        task = asyncio.current_task()
        assert task is not None
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
        return await (soak_alone if options.soak_hours or options.soak else everything)(options)

    try:
        return asyncio.run(until_stopped())
    except (BenchError, BrokerStartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("bench: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
