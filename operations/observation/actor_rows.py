"""Rows of live actors, and one actor in detail, as the actor is at the moment of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.item_censor.states import ItemsToBeDeleted
from operations.observation.formatting import cut, facts
from operations.observation.schemas.actors import Actor, ActorDetail, LastTransition, Timer
from operations.observation.schemas.fields import Place
from operations.observation.summaries import Part, summary_of, waiting_for
from operations.observation.timeline import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.fsm.actor import LogEntry, MachineActor
    from operations.observation.clock import Clock
    from operations.observation.history import Journal
    from operations.observation.summaries import ActorSummary

_MOST_PLACES = 20


class ActorRows:
    """Builds rows of actors.

    Args:
        journal: knows what each actor works on, and since when.
        clock: the loop's, and labels.
        stuck: the ids of the actors that are stuck.
    """

    def __init__(self, journal: Journal, clock: Clock, stuck: Callable[[], frozenset[str]]) -> None:
        self._journal = journal
        self._clock = clock
        self._stuck = stuck

    def row(self, summary: ActorSummary) -> Actor:
        """The complete row, as the actor is now."""
        subject = summary.subject
        if isinstance(subject, Part):
            return self._row_of_part(subject)
        summary = summary_of(subject)
        now = self._clock.now()
        takedown = summary.takedown
        data = subject.data
        active = data if isinstance(data, ItemsToBeDeleted) else None
        since = self.since(subject)
        total = None if active is None else len(active.containers)
        return Actor(
            id=summary.id,
            kind=summary.kind,
            state=summary.state,
            since=None if since is None else self._clock.label(since),
            in_state_seconds=None if since is None else now - since,
            takedown_id=None if takedown is None else takedown.takedown_id,
            item_id=None if takedown is None else takedown.item_id,
            accepted_at=None if takedown is None else self._clock.label(takedown.accepted_at),
            age_seconds=None if takedown is None else now - takedown.accepted_at,
            deadline_at=None if takedown is None else self._clock.label(takedown.deadline),
            deadline_left_seconds=None if takedown is None else takedown.deadline - now,
            containers_total=total,
            containers_done=None if total is None else total - (summary.outstanding or 0),
            outstanding_count=summary.outstanding,
            outstanding=() if active is None else _places(active),
            acknowledged=None if active is None else not (active.publishing or active.due),
            waiting_for=waiting_for(data),
            mailbox_depth=summary.mailbox,
            handled=subject.handled,
            restarts=summary.restarts,
            last_transition=self.transition(subject, subject.log[-1]) if subject.log else None,
            stuck=summary.id in self._stuck(),
        )

    def _row_of_part(self, part: Part) -> Actor:
        return Actor(
            id=part.id,
            kind=part.kind,
            state=part.state,
            since=None,
            in_state_seconds=None,
            takedown_id=None,
            item_id=None,
            accepted_at=None,
            age_seconds=None,
            deadline_at=None,
            deadline_left_seconds=None,
            containers_total=None,
            containers_done=None,
            outstanding_count=None,
            outstanding=(),
            acknowledged=None,
            waiting_for=(),
            mailbox_depth=part.mailbox_depth,
            handled=part.handled,
            restarts=part.restarts,
            last_transition=None,
            stuck=part.id in self._stuck(),
        )

    def transition(self, subject: MachineActor[Any], entry: LogEntry) -> LastTransition:
        """One entry of an actor's own log."""
        names = {state.name: state.value for state in subject.machine.states}
        return LastTransition(
            at=self._clock.label(entry.at),
            ago_seconds=self._clock.now() - entry.at,
            event=entry.event,
            source=names[entry.source],
            target=names[entry.target],
        )

    def since(self, subject: Any) -> float | None:
        """When it entered its state, if that is known."""
        if isinstance(subject, Part):
            return None
        record = self._journal.carried_by(subject.actor_urn)
        if record is not None:
            return record.since
        for entry in reversed(subject.log):
            if entry.source != entry.target:
                at: float = entry.at
                return at
        return None

    def detail(self, summary: ActorSummary) -> ActorDetail:
        """All that is known of this actor."""
        row = self.row(summary)
        subject = summary.subject
        if isinstance(subject, Part):
            return ActorDetail(
                actor=row, timers=(), transitions=(), containers=(), data=facts(subject.facts)
            )
        record = self._journal.carried_by(subject.actor_urn)
        data = subject.data
        active = data if isinstance(data, ItemsToBeDeleted) else None
        return ActorDetail(
            actor=row,
            timers=tuple(
                Timer(name=name, left_seconds=left)
                for name, left in subject.timers.remaining().items()
            ),
            transitions=tuple(self.transition(subject, entry) for entry in subject.log),
            containers=progress(
                record,
                () if active is None else active.containers,
                frozenset() if active is None else active.outstanding,
                () if active is None else active.deleted,
                self._clock,
            ),
            data=_data(data, summary),
        )


def _places(data: ItemsToBeDeleted) -> tuple[Place, ...]:
    places = []
    for container in data.containers:
        if container.container_id in data.outstanding:
            places.append(
                Place(
                    container_id=cut(container.container_id),
                    container_type=cut(container.container_type),
                )
            )
            if len(places) == _MOST_PLACES:
                break
    return tuple(places)


def _data(data: object, summary: ActorSummary) -> dict[str, Any]:
    """The fields of a machine's data that are neither in the row nor in the containers."""
    takedown = summary.takedown
    shown: dict[str, Any] = {"type": type(data).__name__}
    if takedown is not None:
        shown["traceparent"] = takedown.traceparent
    if isinstance(data, ItemsToBeDeleted):
        shown |= {
            "publishing": len(data.publishing),
            "due": len(data.due),
            "published": len(data.published),
            "vanished": len(data.vanished),
            "proven": data.proven,
            "doubted": data.doubted,
        }
    return shown
