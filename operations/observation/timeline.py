"""One takedown in words: its record as rows, steps and containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.item_censor.states import ItemsToBeDeleted, ReportStaleDeletion
from domain.messages import (
    CatalogueCaughtUp,
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    ItemDeleted,
    ItemInDoubt,
    ItemListed,
    ItemUnknown,
    PublishFailed,
    RequestsPublished,
)
from operations.observation.clock import text_of
from operations.observation.formatting import cut
from operations.observation.schemas.fields import Lane
from operations.observation.schemas.takedowns import FinishedTakedown, Progress, Step, Timeline
from operations.observation.summaries import id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from domain.messages import Container, DeletedContainer
    from operations.observation.clock import Clock
    from operations.observation.history import Record

STATUS = {
    "Deleted": 200,
    "NotFound": 404,
    "TimedOut": 504,
    "Refused": 502,
    "Unavailable": 503,
    "Failed": 500,
}

_MOST_CONTAINERS = 200


def finished_row(record: Record, clock: Clock) -> FinishedTakedown:
    """A finished takedown as a row of a table."""
    takedown = record.takedown
    total = None if record.containers is None else len(record.containers)
    return FinishedTakedown(
        takedown_id=takedown.takedown_id,
        item_id=takedown.item_id,
        outcome=record.outcome,  # type: ignore[arg-type]  # the journal knows no other
        status=STATUS[record.outcome],
        accepted_at=clock.label(takedown.accepted_at),
        answered_at=clock.label(record.ended),
        elapsed_seconds=record.ended - takedown.accepted_at,
        containers_total=total,
        containers_done=None if total is None else total - len(record.outstanding),
        late_events=record.late,
        actor_id=id_of(record.actor),
        detail=None if record.detail is None else cut(record.detail),
    )


def timeline(record: Record, data: object, clock: Clock) -> Timeline:
    """All that is known of one takedown.

    Args:
        record: what the journal has.
        data: the actor's data, if it still carries the takedown.
        clock: labels.
    """
    takedown = record.takedown
    finished = bool(record.outcome)
    active = data if isinstance(data, ItemsToBeDeleted) and not finished else None
    containers = record.containers if active is None else active.containers
    outstanding = record.outstanding if active is None else active.outstanding
    confirmed = record.confirmed if active is None else active.deleted
    total = None if containers is None else len(containers)
    ended = record.ended if finished else clock.now()
    return Timeline(
        takedown_id=takedown.takedown_id,
        item_id=takedown.item_id,
        finished=finished,
        outcome=record.outcome or None,  # type: ignore[arg-type]  # the journal knows no other
        status=STATUS[record.outcome] if finished else None,
        detail=None if record.detail is None else cut(record.detail),
        traceparent=takedown.traceparent,
        actor_id=id_of(record.actor),
        accepted_at=clock.label(takedown.accepted_at),
        deadline_at=clock.label(takedown.deadline),
        answered_at=clock.label(record.ended) if finished else None,
        elapsed_seconds=ended - takedown.accepted_at,
        timeout_seconds=takedown.deadline - takedown.accepted_at,
        containers_total=total,
        containers_done=None if total is None else total - len(outstanding),
        containers=progress(record, containers or (), outstanding, confirmed, clock),
        steps=tuple(_Steps(record, clock)),
        steps_dropped=record.dropped,
    )


def progress(
    record: Record | None,
    containers: tuple[Container, ...],
    outstanding: AbstractSet[Any],
    confirmed: Sequence[DeletedContainer],
    clock: Clock,
) -> tuple[Progress, ...]:
    """Each container, and when the deletion that confirms it was read."""
    steps = [] if record is None else record.steps
    accepted = 0.0 if record is None else record.takedown.accepted_at
    answers = {str(each.container_id): each for each in confirmed}
    said: dict[str, datetime] = {name: each.deleted_at for name, each in answers.items()}
    heard: dict[str, int] = {}
    for index in range(1, len(steps), 2):
        event = steps[index]
        if type(event) is not ItemDeleted or event.container_id in heard:
            continue
        own = record is None or not record.outcome or index < record.own
        if own and event.container_id in outstanding:
            continue  # a newer list has the container again
        answer = answers.get(event.container_id)
        if (
            answer is not None
            and answer.confirmed_by == "deletion"
            and event.deleted_at != answer.deleted_at
        ):
            continue  # it is not the one that confirmed
        heard[event.container_id] = index
        said.setdefault(event.container_id, event.deleted_at)
    rows = []
    for container in containers[:_MOST_CONTAINERS]:
        name = container.container_id
        told, deleted_at = heard.get(name), said.get(name)
        at = None if told is None else steps[told - 1]
        answer = answers.get(name)
        rows.append(
            Progress(
                container_id=cut(name),
                container_type=cut(container.container_type),
                heard_at=None if at is None else clock.label(at),
                after_seconds=None if at is None else at - accepted,
                deleted=name not in outstanding,
                deleted_at=None if deleted_at is None else text_of(deleted_at),
                confirmed_by=None if answer is None else answer.confirmed_by,
                late=told is not None and record is not None and record.is_late(told),
            )
        )
    return tuple(rows)


class _Steps:
    """The arrows of a record's sequence diagram."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record
        self._clock = clock

    def __iter__(self) -> Iterator[Step]:
        record = self._record
        takedown = record.takedown
        yield self._step(
            takedown.accepted_at, "caller", "coordinator", "TakeDown", "DELETE the item"
        )
        yield self._step(record.began, "coordinator", "censor", "Begin", "begin")
        yield self._step(record.began, "censor", "catalogue", "FindContainers", "where is it?")
        answered = not record.outcome
        steps = record.steps
        for index in range(0, len(steps), 2):
            at, event = steps[index], steps[index + 1]
            if getattr(event, "takedown_id", takedown.takedown_id) != takedown.takedown_id:
                continue  # for an earlier takedown of the same actor
            if not answered and index >= record.own:
                answered = True
                yield self._answer()
            yield from self._event(at, event, late=record.is_late(index))
        if not answered:
            yield self._answer()

    def _event(self, at: float, event: Any, *, late: bool) -> Iterator[Step]:
        name = type(event).__name__
        source, target, text = _words(event)
        yield self._step(at, source, target, name, text, event=event, late=late)
        if type(event) is ContainersFound and event.containers:
            text = f"{len(event.containers)} delete requests"
            yield self._step(at, "censor", "kafka", "PublishRequests", text)

    def _answer(self) -> Step:
        record = self._record
        text = f"{STATUS[record.outcome]} {record.outcome}"
        lane: Lane = "coordinator" if record.outcome == "Failed" else "censor"
        return self._step(record.ended, lane, "caller", "Answer", text)

    def _step(
        self,
        at: float,
        source: Lane,
        target: Lane,
        name: str,
        text: str,
        *,
        event: object = None,
        late: bool = False,
    ) -> Step:
        deletion = event if isinstance(event, ItemDeleted) else None
        if isinstance(event, ReportStaleDeletion):
            deletion = event.deletion
        record = self._record
        return Step(
            at=self._clock.label(at),
            after_seconds=at - record.takedown.accepted_at,
            source=source,
            target=target,
            event=name,
            text=cut(text),
            container_id=None if deletion is None else cut(deletion.container_id),
            container_type=None if deletion is None else cut(deletion.container_type),
            late=late,
        )


_Words = tuple[Lane, Lane, str]


def _words(event: Any) -> _Words:
    say = _SAID.get(type(event))
    return say(event) if say is not None else ("coordinator", "censor", type(event).__name__)


_SAID: dict[type, Callable[[Any], _Words]] = {
    ContainersFound: lambda e: (
        "catalogue",
        "censor",
        f"in {len(e.containers)} containers"
        + ("" if e.proven else ", by a list that may not be the newest"),
    ),
    CatalogueCaughtUp: lambda _: ("catalogue", "censor", "the list of containers is proven"),
    ItemUnknown: lambda _: ("catalogue", "censor", "in no container, on evidence"),
    CatalogueUnavailable: lambda e: ("catalogue", "censor", f"not known: {e.reason}"),
    ItemListed: lambda e: ("catalogue", "censor", f"now in {len(e.containers)} containers"),
    ItemInDoubt: lambda _: ("catalogue", "censor", "the item's newest record cannot be read"),
    RequestsPublished: lambda _: ("kafka", "censor", "all requests acknowledged"),
    PublishFailed: lambda e: (
        "kafka",
        "censor",
        f"{len(e.unpublished)} requests not acknowledged: {e.cause}"
        + (f" ({len(e.unacknowledged)} in flight)" if e.unacknowledged else ""),
    ),
    ReportStaleDeletion: lambda e: (
        "kafka",
        "censor",
        f"deletion from {e.deletion.container_id} confirms nothing: it is older than the list",
    ),
    ItemDeleted: lambda e: ("kafka", "censor", f"deleted from {e.container_id}"),
    DeadlinePassed: lambda _: ("clock", "censor", "the deadline is here"),
}
