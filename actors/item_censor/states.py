"""What the ItemCensor's machine is made of: its states, their data, and its effects.

The machine itself, and what it means, is in `machine`. None of them can refer back to itself, so
that the garbage collector need not visit them (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads the annotations
from collections.abc import Set as AbstractSet  # noqa: TC003 - as above
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from actors.fsm.machine import Effect, Label, Step
from domain.messages import (
    Container,
    ContainerId,
    ContainersFound,
    DeletedContainer,
    ItemDeleted,
    ItemId,
    ItemListed,
    Outcome,
    Takedown,
    TakedownId,
)

DEADLINE = "deadline"
"""The name of the takedown's timer."""

CLOCK_TOLERANCE = timedelta(seconds=1)
"""By how much a deletion may be dated before the list that names its container, unless set."""

CONTAINERS_MAX = 10_000
"""In how many containers an item may be, unless set."""

LONG = 500
"""Containers from which on a list gives others on the loop their turn."""


class State(Label):
    """The label; the data beside it says the rest."""

    IDLE = "Idle"
    LOCATING = "Locating"
    ACTIVE = "Active"


class Uninitialized(Struct, frozen=True, gc=False):
    """Data of Idle: there is no takedown."""


class ItemToBeLocated(Struct, frozen=True, gc=False):
    """Data of Locating."""

    takedown: Takedown


class ItemsToBeDeleted(Struct, frozen=True, gc=False):
    """Data of Active; see `persistent` for the collections that one event changes.

    Attributes:
        takedown: the takedown.
        containers: every container the item was found in, in the catalogue's order, and then
            those in which newer lists had it.
        outstanding: those that are not known to be deleted.
        deleted: the others, in the order in which that became known.
        vanished: those of `deleted` that count by a list without them, and not by a deletion.
        publishing: those whose requests are in flight; empty if none are.
        due: those to be requested once these are settled, if they are outstanding then.
        published: those whose request Kafka has acknowledged, since they were last listed anew.
        handed_over: a record may have reached Kafka.
        listed_at: the time of the newest list; None if it is not known.
        named_earlier: the time of the newest list that names a container, for each outstanding or
            vanished container that the newest list of all does not name; sorted by container.
        proven: the catalogue had read its topic to the end as of the request.
        doubted: the newest record of the item cannot be read.
        too_long_at: the time of the newest list with more containers than one takedown may have,
            which is not followed; None if there was none, or a newer list came after it.
    """

    takedown: Takedown
    containers: tuple[Container, ...]
    outstanding: AbstractSet[ContainerId]
    deleted: Sequence[DeletedContainer] = ()
    vanished: AbstractSet[ContainerId] = frozenset()
    publishing: tuple[Container, ...] = ()
    due: AbstractSet[ContainerId] = frozenset()
    published: AbstractSet[ContainerId] = frozenset()
    handed_over: bool = False
    listed_at: datetime | None = None
    named_earlier: tuple[tuple[ContainerId, datetime | None], ...] = ()
    proven: bool = True
    doubted: bool = False
    too_long_at: datetime | None = None

    def still_outstanding(self) -> tuple[Container, ...]:
        """The outstanding containers, in the order of `containers`."""
        return tuple(c for c in self.containers if c.container_id in self.outstanding)

    def already_deleted(self) -> tuple[Container, ...]:
        """The deleted containers, in the order of their deletions."""
        return tuple(Container(c.container_id, c.container_type) for c in self.deleted)


Data: TypeAlias = Uninitialized | ItemToBeLocated | ItemsToBeDeleted
CensorStep: TypeAlias = Step[State, Data]


# ------------------------------------------------------------------------------- effects


class FollowItem(Effect, frozen=True, gc=False):
    """Receive the item's newer lists, from now on."""

    item_id: ItemId


class FindContainers(Effect, frozen=True, gc=False):
    """Ask the catalogue; it tells one of its three events, and perhaps evidence after that."""

    takedown: Takedown


class SubscribeToDeletions(Effect, frozen=True, gc=False):
    """Receive the item's deletions from these containers, from now on."""

    item_id: ItemId
    containers: tuple[Container, ...]


class PublishRequests(Effect, frozen=True, gc=False):
    """Publish one delete request for each container; the result comes as an event.

    There is no second one before that event has come.
    """

    takedown: Takedown
    containers: tuple[Container, ...]


class GiveWay(Effect, frozen=True, gc=False):
    """Let others on the loop run before the next event: this one took long."""


def give_way_after(event: ContainersFound | ItemListed) -> tuple[GiveWay, ...]:
    """A `GiveWay` if the event's list is long."""
    return (GiveWay(),) if len(event.containers) > LONG else ()


class StopPublishing(Effect, frozen=True, gc=False):
    """Send nothing more to Kafka; there need be nothing left to send."""


class UnsubscribeAll(Effect, frozen=True, gc=False):
    """Receive no deletion and no list any more; there need be no subscription."""


class ReportStaleDeletion(Effect, frozen=True, gc=False):
    """Count a deletion that confirms nothing, since it is older than the list of its container.

    Attributes:
        takedown_id: the takedown that waits for the container's deletion.
        deletion: the deletion.
        listed_at: the time of the newest list that names the container.
    """

    takedown_id: TakedownId
    deletion: ItemDeleted
    listed_at: datetime


class Answer(Effect, frozen=True, gc=False):
    """Give the caller the one answer."""

    outcome: Outcome


class Release(Effect, frozen=True, gc=False):
    """Tell the coordinator that this takedown is over."""

    takedown: Takedown
    outcome: Outcome
