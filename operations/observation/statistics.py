"""The statistics of each part of the service, as the admin API shows them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from actors.runtime.dead_letters import DEAD_LETTERS
from operations.observation.formatting import facts
from operations.observation.schemas.statistics import (
    AdminApiFacts,
    BusFacts,
    CoordinatorFacts,
    FeedFacts,
    LoopFacts,
    PublisherFacts,
    ReaderFacts,
    ServerFacts,
    Statistics,
)
from operations.observation.supervision_tree import tree

if TYPE_CHECKING:
    from operations.observation.history import Journal
    from operations.observation.rates import Sampling
    from operations.observation.sources import Sources


def statistics_of(sources: Sources, journal: Journal, sampling: Sampling) -> Statistics:
    """Every part's statistics, with rates."""
    rates = sampling.per_second()
    read = sampling.read_per_second()
    callers, callers_connections = sources.public_api()
    operators, operators_connections = sources.admin_api()
    viewers, viewers_cut = sources.viewers()
    return Statistics(
        coordinator=coordinator_fields(sources),
        supervision=tree(sources.coordinator(), len(sources.feed), sources.tasks()),
        bus=_fields_of(
            sources.bus.statistics(),
            BusFacts,
            late=journal.late_events,
            published_per_second=rates.events_read,
            matched_per_second=rates.events_matched,
        ),
        readers=tuple(
            _fields_of(
                each,
                ReaderFacts,
                positions={str(number): at for number, at in each.positions.items()},
                read_per_second=read.get(each.topic, 0.0),
            )
            for each in (reader.statistics() for reader in sources.readers)
        ),
        publisher=_fields_of(
            sources.publisher.statistics(),
            PublisherFacts,
            published_per_second=rates.published,
        ),
        catalogue=facts(sources.catalogue()),
        feed=FeedFacts(
            machines=len(sources.feed),
            failures=sources.feed.failures,
            transitions=journal.transitions(),
            per_second=rates.transitions,
            takedowns_kept=journal.kept,
        ),
        loop=loop_fields(sampling),
        tasks=len(asyncio.all_tasks()),
        public_api=ServerFacts(address=callers, connections=callers_connections),
        admin_api=AdminApiFacts(
            address=operators,
            connections=operators_connections,
            viewers=viewers,
            viewers_cut=viewers_cut,
        ),
        dead_letters=DEAD_LETTERS.count,
        skipped_records=sources.skipped(),
    )


def coordinator_fields(sources: Sources) -> CoordinatorFacts | None:
    """The coordinator's statistics, once there is one."""
    coordinator = sources.coordinator()
    if coordinator is None:
        return None
    return msgspec.convert(coordinator.statistics(), CoordinatorFacts, from_attributes=True)


def loop_fields(sampling: Sampling) -> LoopFacts:
    """The lag of the event loop."""
    return LoopFacts(lag_seconds=sampling.lag, lag_max_seconds=sampling.worst_lag)


def _fields_of(statistics: object, shape: Any, **more: object) -> Any:
    """A part's statistics as this schema, with `more`, which the part itself does not know."""
    known = {
        field.name: getattr(statistics, field.name)
        for field in msgspec.structs.fields(shape)
        if field.name not in more
    }
    return shape(**known, **more)
