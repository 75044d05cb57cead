"""What operators see: the history and the live state, their live updates, and the metrics."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.metrics.collectors import Parts
from operations.metrics.metrics import Metrics
from operations.observation.clock import Clock
from operations.observation.live_updates import Broadcast
from operations.observation.sources import Sources
from operations.observation.views import Observatory

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from actors.fsm.transitions import TransitionFeed
    from app.composition.actors import Actors
    from app.composition.catalogue import CatalogueParts
    from app.composition.tasks import Tasks
    from bus.event_bus import EventBus
    from bus.kafka.publisher import KafkaPublisher
    from bus.kafka.reader import TopicReader
    from coordinator.coordinator import CoordinatorStatistics
    from coordinator.readiness import Readiness
    from operations.observation.history import Journal
    from web.server import HttpServer


def clock_on(utc_now: Callable[[], datetime]) -> Clock:
    """The running loop's clock, with labels by the wall clock."""
    return Clock(asyncio.get_running_loop().time, utc_now, effort=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The parts that operators observe.

    Attributes:
        feed: the censors' transitions.
        bus: the event bus.
        actors: the coordinator and the censors.
        deletions: the reader of `item_deleted`.
        publisher: the producer of delete requests.
        catalogue: where items are looked up.
        readiness: every check.
        tasks: the service's own.
        public_server: the public API, which is built later.
        admin_server: the admin API, which is built later.
    """

    feed: TransitionFeed
    bus: EventBus
    actors: Actors
    deletions: TopicReader
    publisher: KafkaPublisher
    catalogue: CatalogueParts
    readiness: Readiness
    tasks: Tasks
    public_server: Callable[[], HttpServer]
    admin_server: Callable[[], HttpServer]


class Observability:
    """Observes the parts of one service.

    Args:
        parts: what is observed.
        journal: the history of takedowns.
        clock: the loop's clock, and labels.

    Attributes:
        observatory: answers what the admin API asks.
        broadcast: the same, as it changes.
        metrics: what Prometheus reads.
    """

    def __init__(self, parts: Observed, journal: Journal, clock: Clock) -> None:
        self.observatory = Observatory(self._sources(parts), clock, journal)
        self.broadcast = Broadcast(self.observatory)
        self.metrics = Metrics(self._counted(parts).collect)

    async def run(self) -> None:
        """Observe until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.observatory.run(), name="watch")
            tasks.create_task(self.broadcast.run(), name="broadcast")

    def _sources(self, parts: Observed) -> Sources:
        return Sources(
            feed=parts.feed,
            machines=(parts.actors.machine(),),
            coordinator=lambda: parts.actors.coordinator,
            bus=parts.bus,
            readers=_readers(parts),
            publisher=parts.publisher,
            catalogue=parts.catalogue.source.statistics,
            doubts=parts.catalogue.doubts,
            readiness=parts.readiness,
            public_api=lambda: _shown(parts.public_server()),
            admin_api=lambda: _shown(parts.admin_server()),
            viewers=lambda: (self.broadcast.viewers, self.broadcast.viewers_cut),
            tasks=parts.tasks.alive,
        )

    def _counted(self, parts: Observed) -> Parts:
        def coordinator() -> CoordinatorStatistics | None:
            actor = parts.actors.coordinator
            return None if actor is None else actor.statistics()

        return Parts(
            readiness=parts.readiness,
            coordinator=coordinator,
            bus=parts.bus,
            readers=_readers(parts),
            publisher=parts.publisher,
            catalogue=parts.catalogue.view,
            over_http=parts.catalogue.over_http,
            feed=parts.feed,
            connections=lambda: parts.public_server().connections,
            observatory=self.observatory,
            broadcast=self.broadcast,
        )


def _readers(parts: Observed) -> tuple[TopicReader, ...]:
    return tuple(filter(None, (parts.deletions, parts.catalogue.reader)))


def _shown(server: HttpServer) -> tuple[str, int]:
    return server.address, server.connections
