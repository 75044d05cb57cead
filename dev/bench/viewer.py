"""What it costs that somebody looks on: `python -m dev.bench.viewer`.

The service alone, the same with one viewer of the dashboard and a scrape of the metrics
each second, and the minimal bridge; round by round, as `python -m dev.bench` does.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from dev.bench.__main__ import Plan, one_round, sizes, start_bridge, start_kafka, start_responder
from dev.bench.__main__ import start_service as start
from dev.bench.items import Topics
from dev.bench.report import MINIMAL, SERVICE, machine

if TYPE_CHECKING:
    from dev.bench.__main__ import Server
    from dev.bench.load import Measured

VIEWED = "viewed"
WATCHED = "view=overview,actors&kind=ItemCensor&state=Locating,Active&limit=100"
SCRAPE = 1.0


async def look_on(address: str) -> None:
    """Watch as the dashboard does, and scrape as Prometheus does, until cancelled."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:

        async def scrape() -> None:
            while True:
                async with http.get(f"{address}/metrics") as answer:
                    await answer.read()
                await asyncio.sleep(SCRAPE)

        async with asyncio.TaskGroup() as tasks, http.get(f"{address}/stream?{WATCHED}") as stream:
            tasks.create_task(scrape())
            async for _ in stream.content.iter_any():
                pass


async def viewed(server: Server, plan: Plan, containers: int, warm_up: float) -> Measured:
    looking = asyncio.create_task(look_on(f"http://127.0.0.1:{server.admin_port}"))
    try:
        return await one_round(server, plan, containers, warm_up, "")
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def run(plan: Plan) -> None:
    topics = Topics(f"bench-{secrets.token_hex(4)}")
    async with AsyncExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
        kafka = await start_kafka(stack, None)
        await start_responder(stack, kafka, topics, logs, plan=plan, servers=[SERVICE, MINIMAL])
        service = await start(stack, kafka, topics, logs, settings={})
        minimal = await start_bridge(stack, kafka, topics, logs)
        print(machine(kafka.description))
        for containers in plan.containers:
            figures: dict[str, list[float]] = {SERVICE: [], VIEWED: [], MINIMAL: []}
            for number in range(plan.rounds):
                warm_up = plan.warm_up if number else plan.first_warm_up
                rounds = {
                    SERVICE: await one_round(service, plan, containers, warm_up, ""),
                    VIEWED: await viewed(service, plan, containers, warm_up),
                    MINIMAL: await one_round(minimal, plan, containers, warm_up, ""),
                }
                for name, measured in rounds.items():
                    figures[name].append(measured.cpu_per_request * 1e6)
            cpu = {name: statistics.median(each) for name, each in figures.items()}
            print(
                f"{containers:3} containers: service {cpu[SERVICE]:.0f} us/request, looked at "
                f"{cpu[VIEWED]:.0f}, minimal bridge {cpu[MINIMAL]:.0f}; "
                f"ratio {cpu[SERVICE] / cpu[MINIMAL]:.2f}, looked at "
                f"{cpu[VIEWED] / cpu[MINIMAL]:.2f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.viewer", description=__doc__)
    parser.add_argument("--containers", type=sizes, default=(1, 3, 20), help="items' sizes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one round")
    options = parser.parse_args()
    asyncio.run(run(Plan(options.containers, options.rounds, options.seconds, 0.5, 1, 128, 2000)))


if __name__ == "__main__":
    main()
