"""`make bench`: every figure, alternately and in one run, into docs/performance.md.

The broker is a real Apache Kafka if Java is there, else the embedded one; the page says which.
With --soak MINUTES only the soak is run, for that long, and printed.

    python -m bench.suite [--quick] [--bootstrap HOST:PORT] [--no-docs] [--soak 30]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
import tempfile
import time
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from apache_kafka import jars
from apache_kafka.apache import ApacheKafka
from apache_kafka.prepare import prepare
from bench import figures
from bench.__main__ import (
    APACHE_FETCH_MAX_WAIT,
    Kafka,
    Plan,
    Server,
    compare,
    one_round,
    start_bridge,
    start_kafka,
    start_responder,
    start_service,
)
from bench.figures import Latency, Results, Window
from bench.items import Topics
from bench.load import LAST_ANSWERS
from bench.open_loop import OpenMeasured
from bench.processes import HOST, BenchError, Child, free_port, output_of, python
from bench.report import MINIMAL, SERVICE, Row, machine, main_line
from errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Sequence

PYKKA = "pykka"
HELLO = "hello"
LATENCY_OF = 3
"""Containers of the items in the measurements that have one size."""

LOADS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the load at which the slower of the two servers is saturated."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long and how much: all of `make bench` takes minutes, --quick less."""

    plan: Plan
    latency_seconds: float
    takedowns: tuple[int, ...]
    together: int
    foreign: int
    starts: int
    soak_windows: int
    soak_window: float


def sizes(*, quick: bool) -> Sizes:
    if quick:
        plan = Plan((1, 3, 20), 2, 1.0, 0.3, 0.7, 128, 3334)
        return Sizes(plan, 1.5, (1_000, 10_000), 10_000, 60_000, 2, 4, 1.5)
    plan = Plan((1, 3, 20), 5, 3.0, 0.7, 2.0, 128, 3334)
    takedowns = (1_000, 10_000, 30_000, 100_000)
    return Sizes(plan, 5.0, takedowns, 100_000, 300_000, 3, 12, 5.0)


class Bench:
    """The programs of one run, and what is measured with them."""

    def __init__(self, stack: AsyncExitStack, kafka: Kafka, topics: Topics, logs: Path) -> None:
        self.stack = stack
        self.kafka = kafka
        self.topics = topics
        self.logs = logs
        self.watch = ""
        self.service: Server
        self.minimal: Server

    async def start(self, plan: Plan) -> None:
        """Start the responder and the two that are compared."""
        responder = await start_responder(
            self.stack,
            self.kafka,
            self.topics,
            self.logs,
            plan=plan,
            servers=[SERVICE, MINIMAL, PYKKA],
        )
        self.watch = f"responder={responder.pid}"
        self.service = await start_service(
            self.stack, self.kafka, self.topics, self.logs, settings={}
        )
        self.minimal = await start_bridge(self.stack, self.kafka, self.topics, self.logs)

    async def others(self, plan: Plan) -> dict[str, float]:
        """CPU microseconds of a request: pykka's threads, and aiohttp's floor."""
        costs: dict[str, float] = {}
        async with AsyncExitStack() as stack:
            pykka = await start_bridge(
                stack,
                self.kafka,
                self.topics,
                self.logs,
                name=PYKKA,
                module="bench.pykka_bridge",
            )
            hello = await start_hello(stack, self.logs)
            for server in (pykka, hello):
                rounds = [
                    await one_round(server, plan, LATENCY_OF, plan.warm_up, self.watch)
                    for _ in range(2)
                ]
                costs[server.name] = min(one.cpu_per_request for one in rounds) * 1e6
        return costs

    async def latencies(
        self, saturated: float, sizes: Sizes, loads: Sequence[float] = LOADS
    ) -> list[Latency]:
        """Percentiles of both at shares of the saturating load, alternately."""
        found: list[Latency] = []
        for number, load in enumerate(loads):
            pair = (self.service, self.minimal)
            for server in pair if number % 2 == 0 else reversed(pair):
                measured = await self._open_round(server, saturated * load, sizes)
                found.append(Latency(server.name, load, measured))
                say(
                    f"{load:.0%} load, {server.name}: p50 {measured.p50 * 1e3:.1f} ms, "
                    f"p99 {measured.p99 * 1e3:.1f} ms"
                )
        return found

    async def _open_round(self, server: Server, rate: float, sizes: Sizes) -> OpenMeasured:
        warm_up, seconds = sizes.plan.warm_up, sizes.latency_seconds
        output = await output_of(
            python(
                "bench.open_loop",
                port=server.port,
                pid=server.child.pid,
                containers=LATENCY_OF,
                items=sizes.plan.items,
                rate=rate,
                warm_up=warm_up,
                seconds=seconds,
            ),
            within=warm_up + seconds + LAST_ANSWERS + 15,
        )
        return msgspec.json.decode(output, type=OpenMeasured)

    async def soak(self, sizes: Sizes, windows: int) -> list[Window]:
        """One window after the other at a fixed load: does a request get dearer, memory grow?"""
        found: list[Window] = []
        process = psutil.Process(self.service.child.pid)
        plan = Plan((LATENCY_OF,), 1, sizes.soak_window, 0.2, 0.2, 32, sizes.plan.items)
        for number in range(windows):
            measured = await one_round(self.service, plan, LATENCY_OF, 0.2, self.watch)
            memory = process.memory_info().rss / 1e6
            found.append(Window(measured.cpu_per_request * 1e6, memory, measured.answered))
            say(f"soak {number + 1}/{windows}: {found[-1].cpu_us:.0f} us, {memory:.1f} MB")
        return found

    async def starts(self, count: int) -> list[float]:
        """Seconds from the start of a process to its readiness, with a catalogue to read."""
        seconds = []
        for _ in range(count + 1):  # the first warms the disk's cache
            async with AsyncExitStack() as stack:
                started = time.perf_counter()
                await start_service(stack, self.kafka, self.topics, self.logs, settings={})
                seconds.append(time.perf_counter() - started)
        return seconds[1:]

    async def foreign(self, count: int) -> dict[str, float]:
        """CPU microseconds of an event that is not ours: here, and in a bare consumer."""
        topic = self.topics.item_deleted(SERVICE)
        where = {"bootstrap": self.kafka.bootstrap, "topic": topic, "count": count}
        process = psutil.Process(self.service.child.pid)
        idle_before, idle_at = cpu_of(process), time.perf_counter()
        await asyncio.sleep(2)
        idle = (cpu_of(process) - idle_before) / (time.perf_counter() - idle_at)
        read_before = await asyncio.to_thread(read_so_far, self.service)
        before, at = cpu_of(process), time.perf_counter()
        await output_of(python("bench.foreign", "write", **where), within=60)
        give_up = time.perf_counter() + 60
        while await asyncio.to_thread(read_so_far, self.service) < read_before + count:
            if time.perf_counter() > give_up:
                raise BenchError("the service did not read the foreign events")
            await asyncio.sleep(0.1)
        used = cpu_of(process) - before - idle * (time.perf_counter() - at)
        bare = msgspec.json.decode(
            await output_of(python("bench.foreign", "read", **where), within=60)
        )
        return {"service": used / count * 1e6, "bare consumer": bare["cpu_us"]}


async def start_hello(stack: AsyncExitStack, logs: Path) -> Server:
    port = free_port()
    command = python("bench.hello", port=port, containers=LATENCY_OF)
    child = await stack.enter_async_context(Child(HELLO, command, logs / f"{HELLO}.log"))
    await child.until_said("ready")
    return Server(HELLO, child, port)


def cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def read_so_far(server: Server) -> float:
    """The deletions that a service has read, by its metrics."""
    with urllib.request.urlopen(f"http://{HOST}:{server.admin_port}/metrics", timeout=5) as page:
        for line in page.read().decode().splitlines():
            if line.startswith("takedown_bus_published_total "):
                return float(line.split()[1])
    raise BenchError("the service does not count what it reads")


async def core(what: str, **options: object) -> dict[str, Any]:
    """One measurement of the core alone, in a process of its own."""
    output = await output_of(python("bench.core", what, **options), within=180)
    found: dict[str, Any] = msgspec.json.decode(output)
    say(f"core, {what}: {found}")
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def _apache() -> Any:
    await prepare()
    async with ApacheKafka(heap_mb=512) as kafka:
        yield Kafka(kafka.bootstrap_servers, APACHE_FETCH_MAX_WAIT, "Apache Kafka", kafka.pid(1))


async def choose_kafka(stack: AsyncExitStack, bootstrap: str | None) -> Kafka:
    """The broker that was named, else a real one, else the embedded one."""
    if bootstrap is None and jars.java_and_maven_missing() is None:
        kafka: Kafka = await stack.enter_async_context(_apache())
        return kafka
    return await start_kafka(stack, bootstrap)


async def run(options: argparse.Namespace) -> None:
    all_sizes = sizes(quick=options.quick)
    plan = all_sizes.plan
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        kafka = await choose_kafka(stack, options.bootstrap)
        facts = machine(kafka.description)
        bench = Bench(stack, kafka, Topics(f"bench-{secrets.token_hex(4)}"), logs)
        await bench.start(plan)
        if options.soak:
            windows = max(3, round(options.soak * 60 / (all_sizes.soak_window + 1)))
            print(figures.soak_text(await bench.soak(all_sizes, windows)))
            return
        rounds = await compare([bench.service, bench.minimal], plan, bench.watch)
        rows = [Row.of(size, both[SERVICE], both[MINIMAL]) for size, both in rounds.items()]
        middle = next(row for row in rows if row.containers == LATENCY_OF)
        saturated = min(middle.service.per_second, middle.minimal.per_second)
        results = Results(
            facts=facts,
            plan=f"medians of {plan.rounds} rounds of {plan.seconds:g} s, "
            f"{plan.concurrency} callers",
            rows=rows,
            others=await bench.others(plan),
            latencies=await bench.latencies(saturated, all_sizes),
            saturated=saturated,
            foreign=await bench.foreign(all_sizes.foreign),
            soak=await bench.soak(all_sizes, all_sizes.soak_windows),
            starts=await bench.starts(all_sizes.starts),
            messages=await core("messages"),
            memory=[await core("memory", takedowns=count) for count in all_sizes.takedowns],
            timeouts=[
                await core("timeouts", takedowns=count)
                for count in (all_sizes.together // 10, all_sizes.together)
            ],
        )
    print(figures.targets(results), end="\n\n")
    if not options.no_docs:
        figures.write(results)
        say(f"written: {figures.PAGE}")
    print(main_line(rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, smaller numbers")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="a broker that runs already")
    parser.add_argument("--no-docs", action="store_true", help="print, and write no page")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only the soak, so long")
    options = parser.parse_args()

    async def until_stopped() -> None:
        task = asyncio.current_task()
        assert task is not None
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
        await run(options)

    try:
        asyncio.run(until_stopped())
    except (BenchError, BrokerStartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
