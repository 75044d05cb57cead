"""What it costs that a 200 needs evidence: `python -m dev.bench.evidence`.

The service as it is, and the same without the look at the end of the log (`without_evidence`), on
one Apache Kafka: under an open load, and saturated in a closed loop. Rounds in turns, so that each
has a neighbour of the other kind; the figures are differences and ratios of neighbours.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dev.apache_kafka.cluster import ApacheKafka
from dev.bench.__main__ import (
    APACHE_FETCH_MAX_WAIT,
    Kafka,
    Plan,
    one_round,
    start_responder,
    start_service,
)
from dev.bench.items import Topics
from dev.bench.latency import open_round
from dev.bench.report import SERVICE, machine

if TYPE_CHECKING:
    from dev.bench.open_loop import OpenMeasured

WITHOUT = "without"


async def run(options: argparse.Namespace) -> None:
    plan = Plan((options.containers,), options.rounds, options.seconds, 1.0, 2.0, 128, 2000)
    topics = Topics(f"bench-{secrets.token_hex(4)}")
    measured: dict[str, list[OpenMeasured]] = {SERVICE: [], WITHOUT: []}
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        broker = await stack.enter_async_context(ApacheKafka())
        kafka = Kafka(broker.bootstrap_servers, APACHE_FETCH_MAX_WAIT, "Apache Kafka")
        print(machine(kafka.description), flush=True)
        await start_responder(stack, kafka, topics, logs, plan=plan, servers=[SERVICE, WITHOUT])
        service = await start_service(stack, kafka, topics, logs, settings={})
        without = await start_service(
            stack,
            kafka,
            topics,
            logs,
            settings={
                "TAKEDOWN_TOPIC_ITEM_REPORTED": topics.item_reported(WITHOUT),
                "TAKEDOWN_TOPIC_ITEM_DELETED": topics.item_deleted(WITHOUT),
            },
            launcher=("-m", "dev.bench.without_evidence"),
        )
        pair = (service, replace(without, name=WITHOUT))
        for number in range(plan.rounds):
            for server in pair if number % 2 == 0 else reversed(pair):
                one = await open_round(
                    server,
                    options.rate,
                    seed=10 * number + 1,
                    plan=plan,
                    containers=options.containers,
                    seconds=plan.seconds,
                )
                measured[server.name].append(one)
        saturated: dict[str, list[float]] = {SERVICE: [], WITHOUT: []}
        for number in range(options.closed_rounds):
            for server in pair if number % 2 == 0 else reversed(pair):
                closed = await one_round(server, plan, options.containers, plan.warm_up, "")
                saturated[server.name].append(closed.cpu_per_request)
    report(measured, options)
    print(f"saturated, {options.closed_rounds} rounds: CPU {ratio_of(saturated)}")


def report(measured: dict[str, list[OpenMeasured]], options: argparse.Namespace) -> None:
    """Print the medians, and what the service has more than the other."""
    print(
        f"{options.rate:g} requests a second with {options.containers} containers, "
        f"{options.rounds} rounds of {options.seconds:g} s each"
    )
    for name, rounds in measured.items():
        p50 = statistics.median(one.sent_p50 for one in rounds) * 1e3
        p99 = statistics.median(one.sent_p99 for one in rounds) * 1e3
        each = statistics.median(map(cpu_per_request, rounds)) * 1e6
        print(f"{name:8} p50 {p50:.2f} ms, p99 {p99:.2f} ms, CPU {each:.0f} us a request")
    pairs = zip(measured[SERVICE], measured[WITHOUT], strict=True)
    added = sorted((one.sent_p50 - other.sent_p50) * 1e3 for one, other in pairs)
    cpu = {name: list(map(cpu_per_request, rounds)) for name, rounds in measured.items()}
    print(
        f"added p50 {statistics.median(added):+.2f} ms ({added[0]:+.2f} to {added[-1]:+.2f}), "
        f"CPU {ratio_of(cpu)}"
    )


def ratio_of(figures: dict[str, list[float]]) -> str:
    """The median of the neighbours' ratios, the lowest and the highest."""
    pairs = zip(figures[SERVICE], figures[WITHOUT], strict=True)
    ratios = sorted(one / other for one, other in pairs)
    return f"x {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"


def cpu_per_request(one: OpenMeasured) -> float:
    """Seconds of the server's CPU."""
    return one.cpu / one.answered


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.evidence", description=__doc__)
    parser.add_argument("--containers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round")
    parser.add_argument("--closed-rounds", type=int, default=6, help="saturated, of the same time")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
