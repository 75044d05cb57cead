"""How much more two workers carry than one: the service with `--workers 1, 2, ...`, alternately.

On a small machine the workers have no cores of their own: broker, responder and load take theirs
from the same ones. So throughput as it is says little, and two other figures are given.

- *Throttled* (Linux control groups, needs root): each process of the service may use a share of a
  core and no more, which leaves enough for everything else. One worker is then bound by its CPU,
  and so are two, and throughput as it is, is the figure. Whether they were is measured: the share
  is made smaller until all workers use what they are given, and how much of it they did is told.
- *Accounted*: what the workers' CPU pays for. A worker that has a core for itself answers
  `answers / its CPU seconds` each second; so many times as many as there are workers, and divided
  by what it is for one worker. It holds as long as the workers wait for nothing that they share; it
  is too low for many workers where nobody throttles them, for each finds less to do at once.
  `busiest` takes the worker with the most CPU for all: the kernel deals out connections by chance.

Rounds alternate, each ratio is one of two rounds that followed each other, and the figure is their
median.

    python -m dev.bench.workers --workers 1,2 --containers 3 --throttle 0.3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dev.bench.__main__ import start_kafka
from dev.bench.items import Topics
from dev.bench.load import LAST_ANSWERS, SERVER, Measured
from dev.bench.processes import HOST, BenchError, Child, free_port, output_of, python
from dev.bench.report import machine
from dev.bench.scaling import Round, Scaling, Shape, how, table
from dev.bench.throttle import Throttle, throttled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.bench.__main__ import Kafka

SPARE = 15.0
SUPERVISOR = "supervisor"

WARM_UP, FIRST_WARM_UP = 0.7, 2.0
BOUND = 0.95
"""A worker that uses so much of its share is bound by it."""
LEAST_SHARE = 0.1
"""Of a core: with less, a process would mostly do its own housekeeping."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs.

    Attributes:
        workers: how many.
        port: the public API.
        pids: its processes, workers first, by name.
    """

    workers: int
    port: int
    pids: dict[str, int]


def name_of(workers: int) -> str:
    return f"workers-{workers}"


async def start(
    stack: AsyncExitStack, workers: int, topics: Topics, logs: Path, kafka: Kafka
) -> Service:
    """Start a service and wait until it is ready."""
    name, port, admin_port = name_of(workers), free_port(), free_port()
    environment = {
        "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TAKEDOWN_KAFKA_FETCH_MAX_WAIT": f"{kafka.fetch_max_wait:g}",
        "TAKEDOWN_TOPICS_CREATE": "true",
        "TAKEDOWN_CATALOGUE_MAY_BE_EMPTY": "true",
        "TAKEDOWN_HTTP_PORT": str(port),
        "TAKEDOWN_ADMIN_PORT": str(admin_port),
        "TAKEDOWN_TOPIC_ITEM_PUBLISHED": topics.item_published,
        "TAKEDOWN_TOPIC_ITEM_REPORTED": topics.item_reported(name),
        "TAKEDOWN_TOPIC_ITEM_DELETED": topics.item_deleted(name),
        "TAKEDOWN_CATALOGUE_FOLDER": str(logs / name),
        "TAKEDOWN_SHUTDOWN_GRACE": "0",
        "TAKEDOWN_LOG_FORMAT": "json",
        "TAKEDOWN_WORKERS": str(workers),
    }
    command = [sys.executable, "-m", "service", "serve"]
    child = await stack.enter_async_context(Child(name, command, logs / f"{name}.log", environment))
    await child.until_ready(admin_port)
    if workers == 1:
        return Service(workers, port, {"worker-0": child.pid})
    listed = await asyncio.to_thread(_listed, admin_port)
    return Service(workers, port, listed | {SUPERVISOR: child.pid})


def _listed(admin_port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{HOST}:{admin_port}/workers", timeout=5) as answer:
        return {f"worker-{each['worker']}": each["pid"] for each in json.load(answer)["workers"]}


async def one_round(service: Service, shape: Shape, warm_up: float) -> Round:
    """Load a service once.

    Raises:
        BenchError: it gave another answer than a right 200.
    """
    output = await output_of(
        python(
            "dev.bench.load",
            port=service.port,
            pid=service.pids["worker-0"],
            containers=shape.containers,
            concurrency=shape.callers * service.workers,
            warm_up=warm_up,
            seconds=shape.seconds,
            watch=",".join(f"{name}={pid}" for name, pid in service.pids.items()),
        ),
        within=warm_up + shape.seconds + LAST_ANSWERS + SPARE,
    )
    measured = msgspec.json.decode(output, type=Measured)
    if measured.errors or not measured.answered:
        raise BenchError(f"{name_of(service.workers)}: {measured.errors}")
    cpu = {SERVER: measured.cpu} | measured.others
    workers = tuple(cpu[f"worker-{number}"] for number in range(service.workers))
    return Round(measured.answered, measured.seconds, workers, cpu.get(SUPERVISOR, 0.0))


async def bind_to_cpu(most: Service, throttle: Throttle, shape: Shape) -> None:
    """Make the share smaller until the most workers use what they are given: CPU is what binds."""
    for share in smaller(throttle.share):
        throttle.change(share)
        probe = await one_round(most, shape, FIRST_WARM_UP)
        used = probe.used(share)
        say(f"{most.workers} workers at {share:.2f} of a core use {used:.0%} of it")
        if used >= BOUND:
            return


def smaller(share: float) -> Iterator[float]:
    """The shares of a core that are tried, the last one in any case."""
    while share >= LEAST_SHARE:
        yield share
        share *= 0.7


async def compare(
    stack: AsyncExitStack, kafka: Kafka, logs: Path, shape: Shape, share: float | None
) -> Scaling:
    """Start a responder and the services, and load one after the other, round by round.

    Args:
        stack: ends them.
        share: of a core, at first, for each process; None does not throttle.

    Raises:
        BenchError: one does not start, or answers badly.
    """
    topics = Topics(f"bench-{secrets.token_hex(4)}")
    command = python(
        "dev.bench.responder",
        bootstrap=kafka.bootstrap,
        prefix=topics.prefix,
        servers=",".join(map(name_of, shape.workers)),
        containers=shape.containers,
        fetch_max_wait_ms=round(kafka.fetch_max_wait * 1000),
    )
    if kafka.pid is None:  # a broker that stays when we go
        command.append("--delete-topics")
    why_not = ""
    throttle = stack.enter_context(throttled(share))
    responder = Child("the workers' responder", command, logs / "workers-responder.log")
    await stack.enter_async_context(responder)
    await responder.until_said("ready")
    services = [await start(stack, workers, topics, logs, kafka) for workers in shape.workers]
    if throttle is not None:
        try:
            for pid in (pid for service in services for pid in service.pids.values()):
                throttle.bound(pid)
        except BenchError as error:
            throttle, why_not = None, str(error)
        else:
            await bind_to_cpu(max(services, key=lambda one: one.workers), throttle, shape)
    results: dict[int, list[Round]] = {service.workers: [] for service in services}
    for number in range(shape.rounds):
        for service in services if number % 2 == 0 else reversed(services):
            result = await one_round(service, shape, WARM_UP if number else FIRST_WARM_UP)
            results[service.workers].append(result)
            shares = ", ".join(f"{cpu / result.seconds:.0%}" for cpu in result.cpu)
            say(
                f"{service.workers} workers, round {number + 1}: {result.per_second:.0f} /s, "
                f"CPU {shares}"
            )
    return Scaling(results, throttle.share if throttle else None, why_not)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run(options: argparse.Namespace) -> None:
    shape = Shape(
        options.workers,
        options.containers,
        options.rounds,
        options.seconds,
        options.callers,
    )
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        kafka = await start_kafka(stack, options.bootstrap)
        facts = machine(kafka.description)
        scaling = await compare(stack, kafka, logs, shape, options.throttle)
    print(f"{facts}\n")
    print(
        f"{shape.containers} containers, {shape.callers} callers for each worker, medians of "
        f"{shape.rounds} rounds of {shape.seconds:g} s, {how(scaling)}\n"
    )
    print(table(scaling))


def numbers(text: str) -> tuple[int, ...]:
    """`1,2` as numbers; what argparse calls to convert an option."""
    counts = tuple(int(part) for part in text.split(","))
    if min(counts) < 1:
        raise ValueError(text)
    return counts


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.workers")
    parser.add_argument("--workers", type=numbers, default=(1, 2), help="comma list (1,2)")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="another broker, e.g. Kafka's")
    parser.add_argument("--containers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--callers", type=int, default=128, help="for each worker")
    parser.add_argument("--throttle", type=float, help="of a core for each process, e.g. 0.3")
    return parser


def main() -> int:
    try:
        asyncio.run(run(arguments().parse_args()))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
