"""Every command, event and reply that passes between the parts. All are frozen.

Commands are imperative, events are in the past tense, replies are nouns or participles.
Those that also travel over Kafka or HTTP are written in camelCase there; the attribute names
here say the same thing in Python's spelling. Those with `gc=False` hold only such values as cannot
refer back to them, and the garbage collector need not look at them.

Times: `datetime` values are aware and in UTC and are labels only. Durations and deadlines are
floats in seconds of the event loop's clock; nothing is ever decided by the wall clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NewType, Protocol, TypeAlias

from msgspec import Meta, Struct

ItemId = NewType("ItemId", str)
"""A UUID in its canonical text form: lower case, with hyphens."""

ContainerId = NewType("ContainerId", str)
"""Free text, not empty; unique within its item."""

NonEmptyContainerId: TypeAlias = Annotated[ContainerId, Meta(min_length=1)]
UtcTime: TypeAlias = Annotated[datetime, Meta(tz=True)]

TakedownId = NewType("TakedownId", str)
"""A UUID that names one request, from the caller's answer to the records in Kafka."""


class Container(Struct, frozen=True, gc=False, rename="camel"):
    """One place in which an item is published."""

    container_id: NonEmptyContainerId
    container_type: str


ConfirmedBy: TypeAlias = Literal["deletion", "list"]
"""What showed that an item left a container: its `item_deleted`, or a newer list without it."""


class DeletedContainer(Struct, frozen=True, gc=False, rename="camel"):
    """One place from which an item is gone, as the Items service reported."""

    container_id: NonEmptyContainerId
    container_type: str
    deleted_at: UtcTime
    confirmed_by: ConfirmedBy = "deletion"


class Takedown(Struct, frozen=True, gc=False):
    """One accepted request.

    Attributes:
        takedown_id: names this request everywhere.
        item_id: what is to be taken down.
        accepted_at: the loop's time when the request was accepted.
        deadline: the loop's time at which it is answered, whatever has happened by then.
        accepted_utc: `accepted_at` as a label for people and for other programs.
        deadline_utc: `deadline` as a label for people and for other programs.
        traceparent: W3C trace context, taken over from the caller or made.
    """

    takedown_id: TakedownId
    item_id: ItemId
    accepted_at: float
    deadline: float
    accepted_utc: UtcTime
    deadline_utc: UtcTime
    traceparent: str


# --------------------------------------------------------------------------- over Kafka


class ItemPublished(Struct, frozen=True, rename="camel"):
    """The complete, current list of an item's containers (topic `item_published`)."""

    item_id: ItemId
    containers: tuple[Container, ...]
    published_at: UtcTime


class ItemReported(Struct, frozen=True, rename="camel"):
    """A request to delete an item from one container (topic `item_reported`)."""

    takedown_id: TakedownId
    item_id: ItemId
    container_id: NonEmptyContainerId
    container_type: str
    reported_at: UtcTime
    deadline: UtcTime


class ItemDeleted(Struct, frozen=True, gc=False, rename="camel"):
    """An item is gone from one container (topic `item_deleted`)."""

    item_id: ItemId
    container_id: NonEmptyContainerId
    container_type: str
    deleted_at: UtcTime


# ----------------------------------------------------------------------------- commands


class Reply(Protocol):
    """Where the one answer to a takedown goes. A second answer is a defect and raises."""

    def set(self, value: Outcome | None = None) -> None:
        """Answer."""

    def done(self) -> bool:
        """Whether it was answered, or nobody waits any more."""


class TakeDown(Struct, frozen=True):
    """To the coordinator: carry this takedown out and answer the asker with an `Outcome`."""

    takedown: Takedown


class Begin(Struct, frozen=True):
    """Coordinator to an idle censor: this takedown is yours; answer it to `reply`."""

    takedown: Takedown
    reply: Reply


class Flush(Struct, frozen=True, gc=False):
    """Coordinator to a censor that has finished: forget everything, you will be used again."""


class LookAgain(Struct, frozen=True, gc=False):
    """Coordinator to itself: see whether takedowns that wait for Kafka may begin."""


class Drain(Struct, frozen=True):
    """To the coordinator: take nothing new; the answer comes when nothing is in flight."""


# ------------------------------------------------------------------------------- events


UnavailableReason: TypeAlias = Literal[
    "overloaded",
    "not-ready",
    "kafka-unreachable",
    "shutting-down",
    "item-in-doubt",
    "too-many-containers",
]


class ContainersFound(Struct, frozen=True, gc=False):
    """The catalogue knows the item; `containers` is empty if it is in none any more.

    Attributes:
        takedown_id: the takedown that asked.
        containers: the item's list as the catalogue has it.
        listed_at: the list's own time (`publishedAt`); None if the catalogue does not know it.
        proven: the catalogue had read its topic to the end as of the request, so no newer list
            existed then. If False, `CatalogueCaughtUp` follows once that is shown, and no 200 may
            be given before it.
    """

    takedown_id: TakedownId
    containers: tuple[Container, ...]
    listed_at: UtcTime | None = None
    proven: bool = True


class CatalogueCaughtUp(Struct, frozen=True, gc=False):
    """The catalogue has read its topic to the end that it had after the takedown was accepted.

    Every newer list that Kafka had acknowledged by then was told as `ItemListed` (or
    `ItemInDoubt`) before this event.
    """

    takedown_id: TakedownId


class ItemUnknown(Struct, frozen=True, gc=False):
    """The catalogue was caught up with its topic, and does not know the item."""

    takedown_id: TakedownId


class CatalogueUnavailable(Struct, frozen=True):
    """The catalogue could not show in time where the item is.

    Attributes:
        takedown_id: the takedown that asked.
        reason: why, for operators.
        code: the reason that the caller's problem names.
        plain: why, for the caller; empty: `reason` is for callers, too.
    """

    takedown_id: TakedownId
    reason: str
    code: UnavailableReason = "not-ready"
    plain: str = ""


class ItemListed(Struct, frozen=True, gc=False):
    """The catalogue has read a newer complete list of an item. Goes over the event bus.

    It is told when a search would find this list, neither earlier nor later, so that what comes
    before a `ContainersFound` is in it, and what comes after is newer. It is not told while the
    catalogue is filled or rebuilt.

    Attributes:
        item_id: whose list it is.
        containers: the item's containers; empty for a tombstone.
        listed_at: the list's own time (`publishedAt`); for a tombstone the record's.
    """

    item_id: ItemId
    containers: tuple[Container, ...]
    listed_at: UtcTime


class ItemInDoubt(Struct, frozen=True, gc=False):
    """The newest record of an item cannot be read. Goes over the event bus, as `ItemListed` does.

    Where the item is, is not known until a readable list or a null value arrives: until then no
    200 and no 404 may be given.

    Attributes:
        item_id: the item in doubt.
        doubted_at: the record's own time.
    """

    item_id: ItemId
    doubted_at: UtcTime


class RequestsPublished(Struct, frozen=True, gc=False):
    """Kafka has acknowledged every delete request of one publication of a takedown."""

    takedown_id: TakedownId


class PublishFailed(Struct, frozen=True):
    """At least one delete request of one publication of a takedown was not acknowledged by Kafka.

    It describes the whole publication as it is at that moment. As long as `unacknowledged` is not
    empty, another one follows: with the next failure, and when the last request is settled.

    Attributes:
        takedown_id: whose requests they were.
        cause: why, for operators.
        handed_over: False means that no record of this publication can have reached Kafka.
        published: the containers whose request Kafka acknowledged.
        unpublished: those whose request failed. What was sent may be in the topic all the same.
        unacknowledged: those whose request is not settled yet.
        plain: why, for the caller; empty: `cause` is for callers, too.
    """

    takedown_id: TakedownId
    cause: str
    handed_over: bool
    published: tuple[Container, ...]
    unpublished: tuple[Container, ...]
    unacknowledged: tuple[Container, ...] = ()
    plain: str = ""


class DeadlinePassed(Struct, frozen=True, gc=False):
    """The takedown's one absolute deadline is here."""

    takedown_id: TakedownId


# ------------------------------------------------------------------------------ replies


class Deleted(Struct, frozen=True, gc=False):
    """Of every container an `item_deleted` or a newer list without it was read."""

    containers: tuple[DeletedContainer, ...]


class NotFound(Struct, frozen=True):
    """The item is in no container, on evidence."""


class TimedOut(Struct, frozen=True, gc=False):
    """The deadline passed; what happened to `outstanding` is unknown.

    Attributes:
        deleted: the containers that are confirmed.
        outstanding: the others that are known; may be empty if the list of containers was not
            proven or is in doubt.
        proven: it was shown that the list of containers was the newest as of the request.
        doubted: the newest record of the item could not be read.
        too_many: a newer list of the item had more containers than one takedown may have.
    """

    deleted: tuple[Container, ...]
    outstanding: tuple[Container, ...]
    proven: bool = True
    doubted: bool = False
    too_many: bool = False


class Refused(Struct, frozen=True):
    """Kafka refused a publish; what happened to `outstanding` is unknown.

    `cause`, `plain`, `published`, `unpublished` and `unacknowledged` are as in `PublishFailed`.
    """

    cause: str
    published: tuple[Container, ...]
    unpublished: tuple[Container, ...]
    deleted: tuple[Container, ...]
    outstanding: tuple[Container, ...]
    unacknowledged: tuple[Container, ...] = ()
    plain: str = ""


class Unavailable(Struct, frozen=True):
    """Nothing was published.

    The same request may succeed after `retry_after` seconds; None: it will not, by waiting alone.

    Attributes:
        reason: a stable name.
        detail: why, for operators.
        retry_after: see above.
        plain: why, for the caller: it names no server, user or command; empty: `detail` is for
            callers, too.
    """

    reason: UnavailableReason
    detail: str
    retry_after: int | None = 1
    plain: str = ""


class Failed(Struct, frozen=True):
    """A defect: the actor that carried the takedown failed. What was published is unknown."""


Outcome: TypeAlias = Deleted | NotFound | TimedOut | Refused | Unavailable | Failed


class CensorFinished(Struct, frozen=True, gc=False):
    """Censor to coordinator: the caller has its answer, I am idle again."""

    censor_urn: str
    takedown_id: TakedownId
    outcome: Outcome


class CensorFailed(Struct, frozen=True):
    """To the coordinator: a censor raised.

    Attributes:
        censor_urn: which one.
        error: what it raised, for people.
        alive: it was restarted, and goes on with its mailbox.
        takedown_id: what a restarted one carried when it failed, if anything. A takedown that
            was still in its mailbox is not lost. A dead one has lost whatever it was given.
    """

    censor_urn: str
    error: str
    alive: bool
    takedown_id: TakedownId | None = None
