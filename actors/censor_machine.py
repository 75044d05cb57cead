"""The ItemCensor's machine: what one takedown does, and nothing about how.

Theory of operation
-------------------
A censor is idle until the coordinator gives it a takedown. It starts the one timer of the
takedown, its absolute deadline, and asks the catalogue in which containers the item is
(Locating). Then it subscribes to each container's deletion and only afterwards has the delete
requests published (Active): a deletion may be heard of before Kafka acknowledges its request.

It is done when the *set* of outstanding containers is empty; nothing is ever counted, so that
duplicates are harmless. Whatever ends a takedown does the same things in the same order: cancel
the timer, stop publishing, unsubscribe, answer the caller, tell the coordinator, be idle.

Events carry the takedown they belong to where they can (the catalogue's and the producer's); one
that belongs to an earlier takedown of the same actor changes nothing. Deletions cannot carry it,
since nothing needs to be echoed by the Items service: they count if the container is outstanding.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from actors.fsm import CancelTimer, Effect, Machine, Row, StartTimer, Step, ignore
from messages import (
    Begin,
    CatalogueUnavailable,
    Container,
    ContainerId,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    DeletedContainer,
    Flush,
    ItemDeleted,
    ItemId,
    ItemUnknown,
    NotFound,
    Outcome,
    PublishFailed,
    Refused,
    RequestsPublished,
    Takedown,
    TimedOut,
    Unavailable,
)

DEADLINE = "deadline"
"""The name of the takedown's timer."""


class State(Enum):
    """The label; the data beside it says the rest."""

    IDLE = "Idle"
    LOCATING = "Locating"
    ACTIVE = "Active"


class Uninitialized(Struct, frozen=True):
    """Data of Idle: there is no takedown."""


class ItemToBeLocated(Struct, frozen=True):
    """Data of Locating."""

    takedown: Takedown


class ItemsToBeDeleted(Struct, frozen=True):
    """Data of Active.

    Attributes:
        takedown: the takedown.
        containers: every container the item was found in, in the catalogue's order.
        outstanding: those whose deletion was not heard of yet.
        deleted: those whose deletion was heard of, in that order.
        published: Kafka has acknowledged every request.
    """

    takedown: Takedown
    containers: tuple[Container, ...]
    outstanding: frozenset[ContainerId]
    deleted: tuple[DeletedContainer, ...] = ()
    published: bool = False

    def still_outstanding(self) -> tuple[Container, ...]:
        """The outstanding containers, in the catalogue's order."""
        return tuple(c for c in self.containers if c.container_id in self.outstanding)

    def already_deleted(self) -> tuple[Container, ...]:
        """The deleted containers, in the order of their deletions."""
        return tuple(Container(c.container_id, c.container_type) for c in self.deleted)


Data: TypeAlias = Uninitialized | ItemToBeLocated | ItemsToBeDeleted


# ------------------------------------------------------------------------------- effects


class FindContainers(Effect, frozen=True):
    """Ask the catalogue; it tells one of its three events."""

    takedown: Takedown


class SubscribeToDeletions(Effect, frozen=True):
    """Hear of the item's deletion from these containers, from now on."""

    item_id: ItemId
    containers: tuple[Container, ...]


class PublishRequests(Effect, frozen=True):
    """Publish one delete request for each container; the result comes as an event."""

    takedown: Takedown
    containers: tuple[Container, ...]


class StopPublishing(Effect, frozen=True):
    """Hand nothing more over to Kafka; there need be nothing left to hand over."""


class UnsubscribeAll(Effect, frozen=True):
    """Hear of no deletion any more; there need be no subscription."""


class Answer(Effect, frozen=True):
    """Give the caller the one answer."""

    outcome: Outcome


class Release(Effect, frozen=True):
    """Tell the coordinator that this takedown is over."""

    takedown: Takedown
    outcome: Outcome


# ------------------------------------------------------------------------------- actions

_Step: TypeAlias = Step[State, Data]

_FINISH = (CancelTimer, StopPublishing, UnsubscribeAll, Answer, Release)


def _finish(takedown: Takedown, outcome: Outcome) -> _Step:
    return Step(
        State.IDLE,
        Uninitialized(),
        (
            CancelTimer(DEADLINE),
            StopPublishing(),
            UnsubscribeAll(),
            Answer(outcome),
            Release(takedown, outcome),
        ),
    )


def _begin(_data: Uninitialized, event: Begin) -> _Step:
    takedown = event.takedown
    return Step(
        State.LOCATING,
        ItemToBeLocated(takedown),
        (
            StartTimer(DEADLINE, takedown.deadline, DeadlinePassed(takedown.takedown_id)),
            FindContainers(takedown),
        ),
    )


def _flush(data: Uninitialized, _event: Flush) -> _Step:
    return Step(State.IDLE, data, (CancelTimer(DEADLINE), StopPublishing(), UnsubscribeAll()))


def _found(data: ItemToBeLocated, event: ContainersFound) -> _Step:
    takedown = data.takedown
    if event.takedown_id != takedown.takedown_id:
        return Step(State.LOCATING, data)
    if not event.containers:
        return _finish(takedown, NotFound())
    # A list that names a container twice means one container: first come, first kept.
    first: dict[ContainerId, Container] = {}
    for container in event.containers:
        first.setdefault(container.container_id, container)
    containers = tuple(first.values())
    return Step(
        State.ACTIVE,
        ItemsToBeDeleted(
            takedown, containers, outstanding=frozenset(c.container_id for c in containers)
        ),
        (
            SubscribeToDeletions(takedown.item_id, containers),
            PublishRequests(takedown, containers),
        ),
    )


def _unknown(data: ItemToBeLocated, event: ItemUnknown) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.LOCATING, data)
    return _finish(data.takedown, NotFound())


def _no_catalogue(data: ItemToBeLocated, event: CatalogueUnavailable) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.LOCATING, data)
    return _finish(data.takedown, Unavailable("not-ready", event.reason))


def _not_located_in_time(data: ItemToBeLocated, _event: DeadlinePassed) -> _Step:
    reason = "The catalogue did not answer before the deadline; nothing was published"
    return _finish(data.takedown, Unavailable("not-ready", reason))


def _deleted(data: ItemsToBeDeleted, event: ItemDeleted) -> _Step:
    if event.container_id not in data.outstanding or event.item_id != data.takedown.item_id:
        return Step(State.ACTIVE, data)
    container_type = next(
        c.container_type for c in data.containers if c.container_id == event.container_id
    )
    deleted = (
        *data.deleted,
        DeletedContainer(event.container_id, container_type, event.deleted_at),
    )
    outstanding = data.outstanding - {event.container_id}
    if not outstanding:
        return _finish(data.takedown, Deleted(deleted))
    return Step(State.ACTIVE, replace(data, outstanding=outstanding, deleted=deleted))


def _published(data: ItemsToBeDeleted, event: RequestsPublished) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.ACTIVE, data)
    return Step(State.ACTIVE, replace(data, published=True))


def _publish_failed(data: ItemsToBeDeleted, event: PublishFailed) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.ACTIVE, data)
    if not event.handed_over:
        return _finish(data.takedown, Unavailable("kafka-unreachable", event.cause))
    if all(c.container_id not in data.outstanding for c in event.unpublished):
        # What Kafka did not acknowledge is known to be deleted: the rest may still come.
        return Step(State.ACTIVE, data)
    refused = Refused(
        cause=event.cause,
        published=event.published,
        unpublished=event.unpublished,
        deleted=data.already_deleted(),
        outstanding=data.still_outstanding(),
    )
    return _finish(data.takedown, refused)


def _timed_out(data: ItemsToBeDeleted, _event: DeadlinePassed) -> _Step:
    return _finish(data.takedown, TimedOut(data.already_deleted(), data.still_outstanding()))


def _leave_no_trace(_state: State, _data: Data) -> tuple[Effect, ...]:
    # The answer is not given here: the coordinator gives it, since it also knows of a takedown
    # that never came out of the mailbox.
    return (StopPublishing(), UnsubscribeAll())


# --------------------------------------------------------------------------------- table

_LATE = "late: its takedown has been answered"
_EARLIER = "it can only belong to an earlier takedown of this actor"

ITEM_CENSOR: Machine[State, Data] = Machine(
    name="ItemCensor",
    data={
        State.IDLE: Uninitialized,
        State.LOCATING: ItemToBeLocated,
        State.ACTIVE: ItemsToBeDeleted,
    },
    initial=Step(State.IDLE, Uninitialized()),
    effects=(
        StartTimer,
        CancelTimer,
        FindContainers,
        SubscribeToDeletions,
        PublishRequests,
        StopPublishing,
        UnsubscribeAll,
        Answer,
        Release,
    ),
    rows=(
        # ----------------------------------------------------------------- Idle
        Row(State.IDLE, Begin, _begin, {State.LOCATING: ""}, (StartTimer, FindContainers)),
        Row(
            State.IDLE,
            Flush,
            _flush,
            {State.IDLE: ""},
            (CancelTimer, StopPublishing, UnsubscribeAll),
        ),
        *ignore(
            State.IDLE,
            ItemDeleted,
            ContainersFound,
            ItemUnknown,
            CatalogueUnavailable,
            RequestsPublished,
            PublishFailed,
            why=_LATE,
        ),
        # ------------------------------------------------------------- Locating
        Row(
            State.LOCATING,
            ContainersFound,
            _found,
            {
                State.ACTIVE: "in at least one container",
                State.IDLE: "in no container: 404",
                State.LOCATING: "for an earlier takedown",
            },
            (SubscribeToDeletions, PublishRequests, *_FINISH),
        ),
        Row(
            State.LOCATING,
            ItemUnknown,
            _unknown,
            {State.IDLE: "404", State.LOCATING: "for an earlier takedown"},
            _FINISH,
        ),
        Row(
            State.LOCATING,
            CatalogueUnavailable,
            _no_catalogue,
            {State.IDLE: "503", State.LOCATING: "for an earlier takedown"},
            _FINISH,
        ),
        Row(State.LOCATING, DeadlinePassed, _not_located_in_time, {State.IDLE: "503"}, _FINISH),
        *ignore(State.LOCATING, ItemDeleted, RequestsPublished, PublishFailed, why=_EARLIER),
        # --------------------------------------------------------------- Active
        Row(
            State.ACTIVE,
            ItemDeleted,
            _deleted,
            {State.IDLE: "it was the last: 200", State.ACTIVE: "others are outstanding"},
            _FINISH,
        ),
        Row(State.ACTIVE, RequestsPublished, _published, {State.ACTIVE: ""}),
        Row(
            State.ACTIVE,
            PublishFailed,
            _publish_failed,
            {
                State.IDLE: "nothing was handed over: 503; else 502",
                State.ACTIVE: "what failed is deleted, or for an earlier takedown",
            },
            _FINISH,
        ),
        Row(State.ACTIVE, DeadlinePassed, _timed_out, {State.IDLE: "504"}, _FINISH),
        *ignore(State.ACTIVE, ContainersFound, ItemUnknown, CatalogueUnavailable, why=_EARLIER),
    ),
    on_termination=_leave_no_trace,
)
"""The machine. Its picture is docs/machines/item-censor.md, drawn from this table."""
