"""`make bench`: the service against the minimal bridge, alternately, in one run.

Both servers run all the time, against the same broker and the same responder; one at a time is
loaded. CPU is that of the server's process alone. With --profile the service alone is run, and
what it spends its CPU on is printed.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bus.kafka.embedded_broker import FETCH_MAX_WAIT, EmbeddedBroker
from dev.bench import profiling
from dev.bench.items import Topics
from dev.bench.load import LAST_ANSWERS, Measured
from dev.bench.processes import BenchError, Child, flags, free_port, output_of, python
from dev.bench.report import MINIMAL, SERVICE, Row, machine, main_line, table
from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APACHE_FETCH_MAX_WAIT = 0.5
SPARE = 15.0
"""Seconds that a load process may take beyond what it must."""


@dataclass(frozen=True, slots=True)
class Plan:
    containers: tuple[int, ...]
    rounds: int
    seconds: float
    warm_up: float
    first_warm_up: float
    concurrency: int
    items: int


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    child: Child
    port: int
    admin_port: int = 0


@dataclass(frozen=True, slots=True)
class Kafka:
    """The broker under both servers, and how long a fetch may wait there (seconds)."""

    bootstrap: str
    fetch_max_wait: float
    description: str
    pid: int | None = None


async def start_kafka(stack: AsyncExitStack, bootstrap: str | None) -> Kafka:
    if bootstrap is not None:
        return Kafka(bootstrap, APACHE_FETCH_MAX_WAIT, bootstrap)
    broker = await stack.enter_async_context(EmbeddedBroker())
    return Kafka(broker.address, FETCH_MAX_WAIT, "embedded (Tansu, in memory)", broker.pid)


async def start_responder(
    stack: AsyncExitStack,
    kafka: Kafka,
    topics: Topics,
    logs: Path,
    *,
    plan: Plan,
    servers: Sequence[str],
) -> Child:
    command = python(
        "dev.bench.responder",
        bootstrap=kafka.bootstrap,
        prefix=topics.prefix,
        servers=",".join(servers),
        containers=",".join(map(str, plan.containers)),
        items=plan.items,
        fetch_max_wait_ms=round(kafka.fetch_max_wait * 1000),
    )
    if kafka.pid is None:  # a broker that stays when we go
        command.append("--delete-topics")
    child = await stack.enter_async_context(Child("the responder", command, logs / "responder.log"))
    await child.until_said("ready")
    return child


async def start_bridge(
    stack: AsyncExitStack,
    kafka: Kafka,
    topics: Topics,
    logs: Path,
    *,
    name: str = MINIMAL,
    module: str = "dev.bench.minimal_bridge",
    launcher: Sequence[str] = (),
) -> Server:
    port = free_port()
    options = flags(
        bootstrap=kafka.bootstrap,
        port=port,
        item_published=topics.item_published,
        item_reported=topics.item_reported(name),
        item_deleted=topics.item_deleted(name),
        fetch_max_wait_ms=round(kafka.fetch_max_wait * 1000),
    )
    command = [sys.executable, *launcher, "-m", module, *options]
    child = await stack.enter_async_context(Child(name, command, logs / f"{name}.log"))
    await child.until_said("ready")
    return Server(name, child, port)


async def start_service(
    stack: AsyncExitStack,
    kafka: Kafka,
    topics: Topics,
    logs: Path,
    *,
    settings: Mapping[str, str],
    launcher: Sequence[str] = (),
) -> Server:
    port, admin_port = free_port(), free_port()
    environment = {
        "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "TAKEDOWN_KAFKA_FETCH_MAX_WAIT": f"{kafka.fetch_max_wait:g}",
        "TAKEDOWN_TOPICS_CREATE": "true",
        "TAKEDOWN_CATALOGUE_MAY_BE_EMPTY": "true",
        "TAKEDOWN_HTTP_PORT": str(port),
        "TAKEDOWN_ADMIN_PORT": str(admin_port),
        "TAKEDOWN_TOPIC_ITEM_PUBLISHED": topics.item_published,
        "TAKEDOWN_TOPIC_ITEM_REPORTED": topics.item_reported(SERVICE),
        "TAKEDOWN_TOPIC_ITEM_DELETED": topics.item_deleted(SERVICE),
        "TAKEDOWN_LOG_FORMAT": "json",
        "TAKEDOWN_SHUTDOWN_GRACE": "0",
        "TAKEDOWN_CATALOGUE_FOLDER": str(logs / f"catalogue-{port}"),
        **settings,
    }
    command = [sys.executable, *launcher, "-m", "service", "serve"]
    child = await stack.enter_async_context(
        Child(SERVICE, command, logs / f"{SERVICE}.log", environment)
    )
    await child.until_ready(admin_port)
    return Server(SERVICE, child, port, admin_port)


async def one_round(
    server: Server, plan: Plan, containers: int, warm_up: float, watch: str
) -> Measured:
    """Load one server once.

    Raises:
        BenchError: it gave another answer than a right 200.
    """
    output = await output_of(
        python(
            "dev.bench.load",
            port=server.port,
            pid=server.child.pid,
            containers=containers,
            items=plan.items,
            concurrency=plan.concurrency,
            warm_up=warm_up,
            seconds=plan.seconds,
            watch=watch,
        ),
        within=warm_up + plan.seconds + LAST_ANSWERS + SPARE,
    )
    measured = msgspec.json.decode(output, type=Measured)
    if measured.errors or not measured.answered:
        raise BenchError(
            f"{server.name} with {containers} containers gave {measured.answered} good answers "
            f"and these others: {measured.errors}\n{server.child.tail()}"
        )
    return measured


async def compare(
    servers: Sequence[Server], plan: Plan, watch: str
) -> dict[int, dict[str, list[Measured]]]:
    """All rounds: for each number of containers A B A B ..."""
    results: dict[int, dict[str, list[Measured]]] = {}
    for containers in plan.containers:
        rounds = results[containers] = {server.name: [] for server in servers}
        for number in range(plan.rounds):
            # A B, B A, A B: a broker that gets slower favours neither.
            for server in servers if number % 2 == 0 else reversed(servers):
                warm_up = plan.warm_up if number else plan.first_warm_up
                measured = await one_round(server, plan, containers, warm_up, watch)
                rounds[server.name].append(measured)
                print(_one_line(server, containers, number, measured), file=sys.stderr, flush=True)
    return results


def _one_line(server: Server, containers: int, number: int, measured: Measured) -> str:
    shares = {server.name: measured.cpu} | measured.others
    use = ", ".join(f"{name} {cpu / measured.seconds:.0%}" for name, cpu in shares.items())
    return (
        f"{containers:3} containers, round {number + 1}, {server.name:8}"
        f"{measured.cpu_per_request * 1e6:8.1f} us {measured.per_second:8.0f} /s   ({use})"
    )


async def run(options: argparse.Namespace, plan: Plan) -> None:
    settings: dict[str, str] = dict(options.set)
    topics = Topics(f"bench-{secrets.token_hex(4)}")
    async with AsyncExitStack() as stack:
        logs: Path | None = options.logs
        if logs is None:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        kafka = await start_kafka(stack, options.bootstrap)
        facts = machine(kafka.description)
        responder = await start_responder(
            stack, kafka, topics, logs, plan=plan, servers=[SERVICE, MINIMAL]
        )
        watch = f"responder={responder.pid}"
        if kafka.pid is not None:
            watch += f",broker={kafka.pid}"
        if options.profile is not None:
            output = logs / "profile"
            launcher = ("-m", "dev.bench.profiling", options.profile, str(output))
            server = await (
                start_bridge(stack, kafka, topics, logs, launcher=launcher)
                if options.against_itself
                else start_service(stack, kafka, topics, logs, settings=settings, launcher=launcher)
            )
            await print_profile(server, plan, watch, kind=options.profile, output=output)
            return
        servers = [
            await start_bridge(stack, kafka, topics, logs, name=SERVICE)
            if options.against_itself
            else await start_service(stack, kafka, topics, logs, settings=settings),
            await start_bridge(stack, kafka, topics, logs),
        ]
        results = await compare(servers, plan, watch)
    rows = [
        Row.of(containers, rounds[SERVICE], rounds[MINIMAL])
        for containers, rounds in results.items()
    ]
    if options.json is not None:
        document = {
            "facts": facts,
            "plan": asdict(plan),
            "rows": [
                asdict(row) | {"cpu_ratio": row.cpu_ratio, "throughput_ratio": row.throughput_ratio}
                for row in rows
            ],
            "rounds": {str(key): rounds for key, rounds in results.items()},
        }
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    print(f"{facts}\n")
    print(
        f"medians of {plan.rounds} rounds of {plan.seconds:g} s, {plan.concurrency} callers, "
        f"{plan.items} items of each size\n"
    )
    print(table(rows), end="\n\n")
    print(main_line(rows))


async def print_profile(server: Server, plan: Plan, watch: str, *, kind: str, output: Path) -> None:
    """Load a server that waits to be profiled, end it, and print where its CPU went."""
    (containers,) = plan.containers
    await one_round(server, plan, containers, plan.warm_up, watch)
    os.kill(server.child.pid, profiling.START)
    measured = await one_round(server, plan, containers, plan.warm_up, watch)
    status = await server.child.stop()
    if status or not await asyncio.to_thread(output.exists):
        raise BenchError(
            f"{server.name} ended with status {status}, profile or not:\n{server.child.tail()}"
        )
    cpu_us = measured.cpu_per_request * 1e6
    print(
        f"{server.name}, {containers} containers, profiled by {kind}: "
        f"{cpu_us:.0f} us/request, {measured.per_second:.0f} req/s"
    )
    print(profiling.report(kind, output, cpu_us))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute in all")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="another broker, e.g. Kafka's")
    parser.add_argument("--containers", type=sizes, help="comma list of items' sizes (1,3,20)")
    parser.add_argument("--rounds", type=int, help="for each server and size (3)")
    parser.add_argument("--seconds", type=float, help="of one round (4)")
    parser.add_argument("--concurrency", type=int, default=128, help="callers at once (128)")
    parser.add_argument("--items", type=int, default=2000, help="distinct ones of each size (2000)")
    parser.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an environment variable for the service, e.g. TAKEDOWN_LOG_LEVEL=warning",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="keep the programs' output there"
    )
    parser.add_argument(
        "--profile",
        nargs="?",
        const=profiling.SAMPLES,
        choices=(profiling.SAMPLES, profiling.CALLS),
        help="profile the service under this load, with 3 containers unless told: by samples of "
        "its CPU time (default), or every call (cProfile, slows down what calls a lot)",
    )
    parser.add_argument(
        "--against-itself",
        action="store_true",
        help="the minimal bridge in the service's place, too: shows the noise",
    )
    return parser


def sizes(text: str) -> tuple[int, ...]:
    """`1,3,20` as numbers; what argparse calls to convert an option."""
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def assignment(text: str) -> tuple[str, str]:
    """`NAME=VALUE` as a pair."""
    name, equals, setting = text.partition("=")
    if not equals:
        raise ValueError(text)
    return name, setting


def plan_of(options: argparse.Namespace) -> Plan:
    rounds, seconds, warm_up, first_warm_up = (3, 1.0, 0.3, 0.7) if options.quick else (3, 4, 1, 3)
    return Plan(
        containers=options.containers or ((3,) if options.profile is not None else (1, 3, 20)),
        rounds=options.rounds or rounds,
        seconds=options.seconds or seconds,
        warm_up=warm_up,
        first_warm_up=first_warm_up,
        concurrency=options.concurrency,
        items=options.items,
    )


async def until_stopped(options: argparse.Namespace, plan: Plan) -> None:
    """Run; a signal cancels it, so that every child is stopped on the way out."""
    task = asyncio.current_task()
    assert task is not None
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    await run(options, plan)


def main() -> int:
    parser = arguments()
    options = parser.parse_args()
    plan = plan_of(options)
    if options.profile is not None and len(plan.containers) > 1:
        parser.error("--profile takes one size of --containers")
    try:
        asyncio.run(until_stopped(options, plan))
    except (BenchError, BrokerStartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
