"""Reads the sources: for rates, for the watchdog, and for the list of actors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.fsm.actor import MachineActor
from operations.observation.rates import Counters
from operations.observation.summaries import TURN, Part, id_of, takedown_of
from operations.observation.watchdog import Look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.fsm.transitions import Observable
    from domain.messages import Takedown
    from operations.observation.clock import Clock
    from operations.observation.history import Journal
    from operations.observation.sources import Sources


class Readings:
    """Reads the sources when it is asked.

    Args:
        sources: the parts.
        journal: the history of takedowns.
        clock: the loop's.
    """

    def __init__(self, sources: Sources, journal: Journal, clock: Clock) -> None:
        self._sources = sources
        self._journal = journal
        self._clock = clock

    def counters(self) -> Counters:
        """What is counted since the start, for rates."""
        coordinator = self._sources.coordinator()
        known = None if coordinator is None else coordinator.statistics()
        bus = self._sources.bus.statistics()
        journal = self._journal
        durations = [h.counts for h in journal.durations.values()]
        return Counters(
            at=self._clock.now(),
            outcomes={name: sum(h.counts) for name, h in journal.durations.items()},
            durations=[sum(column) for column in zip(*durations, strict=True)],
            located=[*journal.located.counts],
            acknowledged=[*journal.acknowledged.counts],
            deleted=[*journal.deleted.counts],
            arrows=dict(journal.arrows),
            read={r.topic: r.read for r in (each.statistics() for each in self._sources.readers)},
            accepted=0 if known is None else known.accepted,
            rejected=0 if known is None else sum(known.rejected.values()),
            published=self._sources.publisher.statistics().published,
            events=bus.published,
            matched=bus.matched,
            in_flight=0 if known is None else known.in_flight,
        )

    def looks(self) -> Iterator[Look | None]:
        """What the watchdog checks; None: other tasks of the event loop may run now."""
        coordinator = self._sources.coordinator()
        if coordinator is not None:
            yield Look(
                id_of(coordinator.actor_urn),
                "the coordinator",
                len(coordinator.actor_inbox),
                coordinator.handled,
            )
        now = self._clock.now()
        for number, machine in enumerate(self._sources.feed.machines()):
            if number % TURN == TURN - 1:
                yield None
            takedown = takedown_of(machine.data)
            waits = isinstance(machine, MachineActor) and len(machine.actor_inbox)
            if waits or (takedown is not None and takedown.deadline < now):
                yield _looked_at(machine, takedown)

    def parts(self) -> Iterator[Part]:
        """The parts of the service that are shown among the actors."""
        coordinator = self._sources.coordinator()
        if coordinator is not None:
            known = coordinator.statistics()
            yield Part(
                id_of(coordinator.actor_urn),
                "Coordinator",
                "Draining" if known.draining else "Open",
                known,
                len(coordinator.actor_inbox),
                coordinator.handled,
                coordinator.restarts,
            )
        for reader in self._sources.readers:
            read = reader.statistics()
            state = "Interrupted"
            if read.positioned:
                state = "Reading" if read.caught_up else "CatchingUp"
            yield Part(
                f"reader-{read.topic}",
                "TopicReader",
                state,
                read,
                handled=read.read,
                restarts=max(0, read.sessions - 1),
            )
        published = self._sources.publisher.statistics()
        yield Part(
            "publisher",
            "KafkaPublisher",
            "Working" if published.working else "Interrupted",
            published,
            handled=published.published,
            restarts=max(0, published.producers - 1),
        )


def _looked_at(machine: Observable, takedown: Takedown | None) -> Look:
    actor = machine if isinstance(machine, MachineActor) else None
    return Look(
        id_of(machine.actor_urn),
        f"an {machine.machine_name}",
        0 if actor is None else len(actor.actor_inbox),
        0 if actor is None else actor.handled,
        None if takedown is None else takedown.deadline,
        None if takedown is None else takedown.takedown_id,
        None if takedown is None else takedown.item_id,
    )
