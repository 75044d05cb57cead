"""An observatory over an office: real coordinator, censors and feed, and fakes for Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from actors.item_censor.machine import ITEM_CENSOR
from bus.kafka.publisher import PublisherStatistics
from bus.kafka.read_progress import ReaderStatistics
from coordinator.readiness import Readiness
from operations.observation.clock import Clock
from operations.observation.history import Journal
from operations.observation.sources import Sources
from operations.observation.views import Observatory
from support.fakes import T0
from support.office import Office, office


@dataclass
class FakeReader:
    topic: str
    positioned: bool = True
    caught_up: bool = True
    read: int = 0
    skipped: int = 0
    behind: int = 0
    last_error: str = ""

    def statistics(self) -> ReaderStatistics:
        return ReaderStatistics(
            topic=self.topic,
            positioned=self.positioned,
            caught_up=self.caught_up,
            partitions=2,
            positions={0: 5, 1: 7},
            behind=self.behind,
            read=self.read,
            skipped=self.skipped,
            sessions=1,
            last_error=self.last_error,
        )


@dataclass
class FakeProducer:
    working: bool = True
    published: int = 0
    last_error: str = ""

    def statistics(self) -> PublisherStatistics:
        return PublisherStatistics(
            working=self.working,
            in_flight=0,
            published=self.published,
            failed=0,
            producers=1,
            last_error=self.last_error,
        )


@dataclass(frozen=True)
class CatalogueFacts:
    items: int = 3
    last_problem: str = "x" * 500


@dataclass
class Lookout:
    """What a test looks through, and at."""

    office: Office
    observatory: Observatory
    readiness: Readiness
    deletions: FakeReader
    items: FakeReader
    producer: FakeProducer
    viewers: list[int] = field(default_factory=lambda: [0, 0])

    async def tick(self, seconds: int = 1) -> None:
        """Let so many seconds pass, as the watch's own task would."""
        for _ in range(seconds):
            await asyncio.sleep(1)
            await self.observatory.watch.tick(0.0)


def sources_of(own: Office, readiness: Readiness, **more: Any) -> Sources:
    base = Sources(
        feed=own.feed,
        machines=(ITEM_CENSOR,),
        coordinator=lambda: own.coordinator,
        bus=own.bus,
        readers=(),
        publisher=cast("Any", FakeProducer()),
        catalogue=CatalogueFacts,
        readiness=readiness,
        public_api=lambda: ("http://127.0.0.1:8080", 4),
        admin_api=lambda: ("http://127.0.0.1:8081", 2),
        viewers=lambda: (0, 0),
        tasks=lambda: {"the producer": True, "reading item_deleted": False},
    )
    return replace(base, **more)


@asynccontextmanager
async def lookout(**options: Any) -> AsyncIterator[Lookout]:
    """An office with somebody who looks on."""
    async with office(**options) as own:
        readiness = Readiness()
        readiness.add("kafka consumer", lambda: own.missing)
        deletions, items = FakeReader("item_deleted"), FakeReader("item_published")
        producer = FakeProducer()
        clock = Clock(asyncio.get_running_loop().time, lambda: T0)
        observatory = Observatory(
            sources_of(
                own,
                readiness,
                readers=cast("Any", (deletions, items)),
                publisher=cast("Any", producer),
            ),
            clock,
            Journal(now=clock.now),
        )
        observatory.begin()
        try:
            yield Lookout(own, observatory, readiness, deletions, items, producer)
        finally:
            observatory.end()
