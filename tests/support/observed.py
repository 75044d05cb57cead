"""What the service says of itself: its metrics and its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from support.processes import Process

Labels = frozenset[tuple[str, str]]


class Samples:
    """One scrape of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.samples: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample; 0 if there is none, as for a label that was never counted."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)


HELD = (
    "takedown_in_flight",
    "takedown_bus_subscriptions",
    "takedown_timers",
    "takedown_publish_in_flight",
    "takedown_tasks",
    "takedown_http_connections",
)
"""What a takedown holds while it is in flight, and must give back (invariant I5)."""


async def scrape(admin: str) -> Samples:
    """Ask, on a connection that is gone afterwards."""
    async with aiohttp.request("GET", f"{admin}/metrics") as answer:
        assert answer.status == 200
        return Samples(await answer.text())


async def held(admin: str) -> dict[str, float]:
    """How much of everything is held now."""
    samples = await scrape(admin)
    for name in HELD:
        assert (name, frozenset()) in samples.samples, f"{name} is not shown"
    return {name: samples.value(name) for name in HELD}


async def until(
    condition: Callable[[Samples], bool], admin: str, *, within: float = 10.0
) -> Samples:
    """Scrape until it is so."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        samples = await scrape(admin)
        if condition(samples):
            return samples
        assert loop.time() < end, "it did not come to that in time"
        await asyncio.sleep(0.02)


_SEEN: dict[str, float] = {}
"""The most tasks that each idle service had, by its admin API."""


async def quiet(admin: str, *, within: float = 10.0) -> dict[str, float]:
    """Wait until no takedown is in flight and no caller connected; what is held then.

    The tasks of an idle service come and go by a few with its fetches from Kafka, and one comes
    with the first look at the logs' ends. So its tasks are the most that it has had in a while.
    """

    def is_quiet(samples: Samples) -> bool:
        return all(samples.value(name) == 0 for name in HELD if name != "takedown_tasks")

    await until(is_quiet, admin, within=within)
    if admin not in _SEEN:
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.5
        while loop.time() < end:
            tasks = (await held(admin))["takedown_tasks"]
            _SEEN[admin] = max(tasks, _SEEN.get(admin, 0.0))
            await asyncio.sleep(0.02)
    return {**await held(admin), "takedown_tasks": _SEEN[admin]}


async def given_back(admin: str, before: dict[str, float], *, within: float = 10.0) -> None:
    """Wait until no more is held than before; fails if it stays more."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        now = await held(admin)
        kept = {name: (before[name], now[name]) for name in HELD if now[name] > before[name]}
        if not kept:
            return
        assert loop.time() < end, f"not given back (before, now): {kept}"
        await asyncio.sleep(0.05)


async def logged(
    service: Process, matches: Callable[[dict[str, Any]], bool], *, within: float = 10.0
) -> dict[str, Any]:
    """The first log event for which this is true, now or soon."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        for event in service.events():
            if matches(event):
                return event
        assert loop.time() < end, "it was not logged; the log:\n" + service.text()[-5000:]
        await asyncio.sleep(0.02)


class Starvation:
    """How long the machine has let a process wait for a processor (Linux only, else never).

    What is said of the service's times holds for a service that may run. A machine with several
    times more work than processors lets nobody run when it is due.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/schedstat")
        self._samples: list[tuple[float, float]] = []

    def sample(self) -> None:
        if self._file.exists():
            waited = int(self._file.read_text().split()[1]) / 1e9
            self._samples.append((asyncio.get_running_loop().time(), waited))

    def worst(self, within: float = 0.5) -> float:
        """The longest wait in any span of so many seconds."""
        worst = 0.0
        first = 0
        for at, waited in self._samples:
            while first + 1 < len(self._samples) and self._samples[first + 1][0] < at - within:
                first += 1
            worst = max(worst, waited - self._samples[first][1])
        return worst


@asynccontextmanager
async def starvation(pid: int) -> AsyncIterator[Starvation]:
    """Watch a process for as long as the block runs."""
    starvation = Starvation(pid)

    async def watch() -> None:
        while True:
            starvation.sample()
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        yield starvation
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        starvation.sample()
