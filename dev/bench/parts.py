"""What is measured with a service and a minimal bridge that run side by side."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
import urllib.request
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from dev.bench import latency
from dev.bench.__main__ import (
    Kafka,
    Plan,
    Server,
    one_round,
    start_bridge,
    start_responder,
    start_service,
)
from dev.bench.load import cpu_of
from dev.bench.processes import HOST, BenchError, Child, free_port, output_of, python
from dev.bench.report import MINIMAL, SERVICE
from dev.bench.soak import Soaked
from dev.bench.viewer import VIEWED, viewed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dev.bench.items import Topics
    from dev.bench.load import Measured

PYKKA = "pykka"
HELLO = "hello"
CONTAINERS = 3
"""Of the items in the measurements that have one size."""

START_SPARE = 60.0


class Bench:
    """The programs of one run, and what is measured with them.

    Args:
        stack: ends them.
        kafka: the broker under both.
        topics: of this run.
        logs: the folder for what the programs print.
    """

    def __init__(self, stack: AsyncExitStack, kafka: Kafka, topics: Topics, logs: Path) -> None:
        self.stack = stack
        self.kafka = kafka
        self.topics = topics
        self.logs = logs
        self.watch = ""
        self.responder: Child
        self.service: Server
        self.minimal: Server

    async def start(self, plan: Plan) -> None:
        """Start the responder and the two that are compared."""
        where = (self.stack, self.kafka, self.topics, self.logs)
        self.responder = await start_responder(*where, plan=plan, servers=[SERVICE, MINIMAL, PYKKA])
        self.watch = f"responder={self.responder.pid}"
        self.service = await start_service(*where, settings={})
        self.minimal = await start_bridge(*where)

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
                module="dev.bench.pykka_bridge",
            )
            hello = await start_hello(stack, self.logs)
            for server in (pykka, hello):
                rounds = [
                    await one_round(server, plan, CONTAINERS, plan.warm_up, self.watch)
                    for _ in range(min(3, plan.rounds))
                ]
                costs[server.name] = statistics.median(one.cpu_per_request for one in rounds) * 1e6
        return costs

    async def looked_at(self, plan: Plan) -> dict[str, list[Measured]]:
        """Rounds of the service, of the same with a viewer and a scrape, of the minimal bridge."""
        rounds: dict[str, list[Measured]] = {SERVICE: [], VIEWED: [], MINIMAL: []}
        for number in range(plan.rounds):
            for name in rounds if number % 2 == 0 else reversed(rounds):
                server = self.minimal if name == MINIMAL else self.service
                measured = await (
                    viewed(server, plan, CONTAINERS, plan.warm_up)
                    if name == VIEWED
                    else one_round(server, plan, CONTAINERS, plan.warm_up, "")
                )
                rounds[name].append(measured)
                say(f"{name}, round {number + 1}: {measured.cpu_per_request * 1e6:.1f} us")
        return rounds

    async def latencies(
        self, plan: Plan, seconds: float, loads: Mapping[float, int], *, may_pin: bool
    ) -> latency.Latencies:
        """Percentiles of both at shares of the saturating load, alternately."""
        others = [self.responder.pid] + ([self.kafka.pid] if self.kafka.pid is not None else [])
        return await latency.measure(
            self.service,
            self.minimal,
            others,
            plan=plan,
            containers=CONTAINERS,
            seconds=seconds,
            loads=loads,
            may_pin=may_pin,
        )

    async def soak(self, plan: Plan, takedowns: int, *, windows: int, rate: float = 0.0) -> Soaked:
        """Does a request get dearer, memory grow? At `rate` a second; 0 is as fast as it goes."""
        output = await output_of(
            python(
                "dev.bench.soak",
                port=self.service.port,
                pid=self.service.child.pid,
                yardstick_port=self.minimal.port,
                yardstick_pid=self.minimal.child.pid,
                containers=CONTAINERS,
                items=plan.items,
                takedowns=takedowns,
                windows=windows,
                warm_up=takedowns // 10,
                rate=rate,
            ),
            # Nobody is as slow as 100 a second; as fast as it goes, one waits for the other.
            within=takedowns * (1.2 / rate if rate else 2.4 / 100) + START_SPARE,
        )
        soaked = msgspec.json.decode(output, type=Soaked)
        if soaked.errors or len(soaked.windows) < windows:
            whose = [each for each in (self.service, self.minimal) if each.name in soaked.errors]
            raise BenchError(
                f"{len(soaked.windows)} of {windows} windows, and these answers: {soaked.errors}\n"
                + "\n".join(f"{server.name}: {server.child.tail()}" for server in whose)
            )
        return soaked

    async def starts(self, count: int) -> list[float]:
        """Seconds from the start of a process to its readiness, with a catalogue to read."""
        seconds = []
        for _ in range(count + 1):  # the first warms the disk's cache
            async with AsyncExitStack() as stack:
                started = time.perf_counter()
                await start_service(stack, self.kafka, self.topics, self.logs, settings={})
                seconds.append(time.perf_counter() - started)
        return seconds[1:]

    async def foreign(self, count: int, rounds: int) -> dict[str, list[float]]:
        """CPU microseconds of an event that is not ours: here, and in a bare consumer."""
        topic = self.topics.item_deleted(SERVICE)
        where = {"bootstrap": self.kafka.bootstrap, "topic": topic, "count": count}
        found: dict[str, list[float]] = {"service": [], "bare consumer": []}
        for number in range(rounds):
            found["service"].append(await self._foreign_here(where, count))
            output = await output_of(python("dev.bench.foreign", "read", **where), within=60)
            found["bare consumer"].append(msgspec.json.decode(output)["cpu_us"])
            say(f"foreign events, round {number + 1}: {found['service'][-1]:.2f} us here")
        return found

    async def _foreign_here(self, where: dict[str, Any], count: int) -> float:
        pid = self.service.child.pid
        idle_before, idle_at = cpu_of(pid), time.perf_counter()
        await asyncio.sleep(1)
        idle = (cpu_of(pid) - idle_before) / (time.perf_counter() - idle_at)
        read_before = await asyncio.to_thread(read_so_far, self.service)
        before, at = cpu_of(pid), time.perf_counter()
        await output_of(python("dev.bench.foreign", "write", **where), within=60)
        give_up = time.perf_counter() + 60
        used, asking, read = 0.0, 0.0, read_before
        while read < read_before + count:
            if time.perf_counter() > give_up:
                raise BenchError("the service did not read the foreign events")
            await asyncio.sleep(0.2)
            used = cpu_of(pid) - before - idle * (time.perf_counter() - at) - asking
            now = cpu_of(pid)
            read = await asyncio.to_thread(read_so_far, self.service)
            asking += cpu_of(pid) - now
        return used / count * 1e6


async def start_hello(stack: AsyncExitStack, logs: Path) -> Server:
    """Start the floor, and wait until it is ready."""
    port = free_port()
    command = python("dev.bench.hello", port=port, containers=CONTAINERS)
    child = await stack.enter_async_context(Child(HELLO, command, logs / f"{HELLO}.log"))
    await child.until_said("ready")
    return Server(HELLO, child, port)


def read_so_far(server: Server) -> float:
    """The deletions that a service has read, by its metrics."""
    with urllib.request.urlopen(f"http://{HOST}:{server.admin_port}/metrics", timeout=5) as page:
        for line in page.read().decode().splitlines():
            if line.startswith("takedown_bus_published_total "):
                return float(line.split()[1])
    raise BenchError("the service does not count what it reads")


async def core(what: str, **options: object) -> dict[str, Any]:
    """One measurement of the core alone, in a process of its own."""
    output = await output_of(python("dev.bench.core", what, **options), within=180)
    found: dict[str, Any] = msgspec.json.decode(output)
    say(f"core, {what}: {found}")
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
