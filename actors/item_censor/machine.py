"""The ItemCensor's machine: what one takedown does, and nothing about how.

Theory of operation
-------------------
A censor is idle until the coordinator gives it a takedown. It starts the one timer of the
takedown, its absolute deadline, and asks the catalogue in which containers the item is
(Locating). Then it subscribes to each container's deletion and only afterwards has the delete
requests published (Active): a deletion may be heard of before Kafka acknowledges its request.

The item may be published elsewhere meanwhile. So the censor follows the item's lists, from before
it asks the catalogue: what comes while it is Locating is in the answer already, what comes while
it is Active is newer. A container that a list adds is subscribed to and asked for like the others;
one that is outstanding and not in a list any more counts as deleted at the list's time, unless
that is older than a list's before. What a deletion has confirmed stays confirmed, whatever lists
say; what only vanished and is listed again is outstanding again. There is one publication at a
time: containers that are added while requests are on their way are asked for together once those
are settled.

It is done when the *set* of outstanding containers is empty: for each container an `item_deleted`
or a newer list without it was read. Nothing is ever counted, so that duplicates are harmless.
Two more things must hold before a 200. The catalogue has shown that it had read its topic to the
end as of the request (`proven`): a takedown begins with the list that is known, and a newer one may
still be on its way. And the newest record of the item is readable (not `doubted`).

A deletion dated before the list that names its container confirms nothing (`censor_evidence`).
While it is not proven that the list is the newest, a list that is read may be: it makes what an
older deletion has confirmed outstanding again.
Whatever ends a takedown does the same things in the same order: cancel the timer, stop publishing,
unsubscribe, answer the caller, tell the coordinator, be idle.

Events carry the takedown they belong to where they can (the catalogue's and the producer's); one
that belongs to an earlier takedown of the same actor changes nothing. Deletions cannot carry it,
since nothing needs to be echoed by the Items service: they count if the container is outstanding.
Why lists are believed as they are: docs/decisions/0011-following-an-item.md; what a 200 needs:
docs/decisions/0018-evidence-before-a-200.md.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from actors.fsm.machine import CancelTimer, Effect, Machine, Row, StartTimer, Step, ignore
from actors.item_censor.evidence import (
    confirmed,
    confirmed_again,
    is_complete,
    refuted,
    stale_since,
    times_after,
)
from actors.item_censor.persistent import containers_of, names_of, type_of, with_entry, without
from actors.item_censor.states import (
    Answer,
    Data,
    FindContainers,
    FollowItem,
    GiveWay,
    ItemsToBeDeleted,
    ItemToBeLocated,
    PublishRequests,
    Release,
    ReportStaleDeletion,
    State,
    StopPublishing,
    SubscribeToDeletions,
    Uninitialized,
    UnsubscribeAll,
)
from domain.messages import (
    Begin,
    CatalogueCaughtUp,
    CatalogueUnavailable,
    Container,
    ContainerId,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    DeletedContainer,
    Flush,
    ItemDeleted,
    ItemInDoubt,
    ItemListed,
    ItemUnknown,
    NotFound,
    Outcome,
    PublishFailed,
    Refused,
    RequestsPublished,
    Takedown,
    TimedOut,
    Unavailable,
    UnavailableReason,
)

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

DEADLINE = "deadline"
"""The name of the takedown's timer."""

CLOCK_TOLERANCE = timedelta(seconds=1)
"""By how much a deletion may be dated before the list that names its container, unless set."""

CONTAINERS_MAX = 10_000
"""In how many containers an item may be, unless set."""

LONG = 500
"""Containers from which on a list gives others on the loop their turn."""

_PRECISION = timedelta(milliseconds=1)
"""A tombstone's time is its record's, in whole milliseconds: less than one apart, none is older."""

_Reason: TypeAlias = tuple[str, UnavailableReason]
_UNPROVEN: _Reason = (
    "It could not be shown in time that the list of the item's containers is the newest",
    "not-ready",
)
_UNREADABLE: _Reason = ("The newest record of the item cannot be read", "item-in-doubt")

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


def _begin_to_follow(data: Uninitialized, event: Begin) -> _Step:
    step = _begin(data, event)
    timer, find = step.effects
    # Before the search: no list can come between its answer and the subscription.
    return Step(step.state, step.data, (timer, FollowItem(event.takedown.item_id), find))


def _flush(data: Uninitialized, _event: Flush) -> _Step:
    return Step(State.IDLE, data, (CancelTimer(DEADLINE), StopPublishing(), UnsubscribeAll()))


def _found(data: ItemToBeLocated, event: ContainersFound, *, containers_max: int) -> _Step:
    takedown = data.takedown
    if event.takedown_id != takedown.takedown_id:
        return Step(State.LOCATING, data)
    if not event.containers and event.proven:
        return _finish(takedown, NotFound())
    # A list that names a container twice means one container: first come, first kept.
    first: dict[ContainerId, Container] = {}
    for container in event.containers:
        first.setdefault(container.container_id, container)
    if len(first) > containers_max:
        return _finish(takedown, _too_many(containers_max))
    containers = containers_of(tuple(first.values()))
    found = ItemsToBeDeleted(
        takedown,
        containers,
        outstanding=names_of(first),
        publishing=containers,
        listed_at=event.listed_at,
        proven=event.proven,
    )
    if not containers:  # in none by a list that need not be the newest: wait for the evidence
        return Step(State.ACTIVE, found)
    return Step(
        State.ACTIVE,
        found,
        (
            SubscribeToDeletions(takedown.item_id, containers),
            PublishRequests(takedown, containers),
            *_give_way(event),
        ),
    )


def _give_way(event: ContainersFound | ItemListed) -> tuple[GiveWay, ...]:
    return (GiveWay(),) if len(event.containers) > LONG else ()


def _too_many(containers_max: int) -> Unavailable:
    # Waiting changes nothing: so there is no time after which to try again.
    reason = f"The item is in more than {containers_max} containers (TAKEDOWN_CONTAINERS_MAX)"
    return Unavailable("too-many-containers", reason, None)


def _unknown(data: ItemToBeLocated, event: ItemUnknown) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.LOCATING, data)
    return _finish(data.takedown, NotFound())


def _no_catalogue(data: ItemToBeLocated, event: CatalogueUnavailable) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.LOCATING, data)
    return _finish(data.takedown, Unavailable(event.code, event.reason, plain=event.plain))


def _not_located_in_time(data: ItemToBeLocated, _event: DeadlinePassed) -> _Step:
    reason = "The catalogue did not answer before the deadline; nothing was published"
    return _finish(data.takedown, Unavailable("not-ready", reason))


def _go_on(data: ItemsToBeDeleted, *effects: Effect) -> _Step:
    """Finish with what is known, or stay and do `effects`."""
    if not is_complete(data):
        return Step(State.ACTIVE, data, effects)
    outcome = Deleted(tuple(data.deleted)) if data.containers else NotFound()
    return _finish(data.takedown, outcome)


def _deleted(data: ItemsToBeDeleted, event: ItemDeleted, *, tolerance: timedelta) -> _Step:
    if event.item_id != data.takedown.item_id:
        return Step(State.ACTIVE, data)
    vanished = event.container_id in data.vanished
    if event.container_id not in data.outstanding and not vanished:
        return Step(State.ACTIVE, confirmed_again(data, event))
    if (listed_at := stale_since(data, event, tolerance)) is not None:
        stale = ReportStaleDeletion(data.takedown.takedown_id, event, listed_at)
        return Step(State.ACTIVE, data, (stale,))
    if vanished:
        # By a list it was deleted already; now it is confirmed, also if it is listed again.
        others = without(data.vanished, event.container_id)
        return Step(State.ACTIVE, replace(data, vanished=others, deleted=confirmed(data, event)))
    container_type = type_of(event.container_id, data.containers)
    entry = DeletedContainer(event.container_id, container_type, event.deleted_at)
    deleted = with_entry(data.deleted, entry)
    outstanding = without(data.outstanding, event.container_id)
    return _go_on(replace(data, outstanding=outstanding, deleted=deleted))


def _listed(
    data: ItemsToBeDeleted, event: ItemListed, *, tolerance: timedelta, containers_max: int
) -> _Step:
    if event.item_id != data.takedown.item_id:
        return Step(State.ACTIVE, data)
    listed = {c.container_id for c in event.containers}
    newest, doubted, too_long_at = data.listed_at, data.doubted, data.too_long_at
    gone: AbstractSet[ContainerId] = frozenset()
    is_newest = newest is None or newest - event.listed_at < _PRECISION
    if is_newest:
        gone, doubted = data.outstanding - listed, False
        if too_long_at is not None and too_long_at - event.listed_at < _PRECISION:
            too_long_at = None
        newest = event.listed_at if newest is None else max(newest, event.listed_at)
    known = {c.container_id for c in data.containers}
    new: dict[ContainerId, Container] = {}
    for container in event.containers:
        if container.container_id not in known:
            new.setdefault(container.container_id, container)
    if len(known) + len(new) > containers_max:
        if not data.containers:  # nothing was published
            return _finish(data.takedown, _too_many(containers_max))
        last = (
            event.listed_at if data.too_long_at is None else max(data.too_long_at, event.listed_at)
        )
        return Step(State.ACTIVE, replace(data, too_long_at=last), _give_way(event))
    again = (data.vanished & listed) | refuted(data, event, listed, tolerance)
    added = again | new.keys()
    data = replace(
        data,
        listed_at=newest,
        named_earlier=times_after(
            data, event, listed=listed, gone=gone, added=added, is_newest=is_newest
        ),
        doubted=doubted,
        too_long_at=too_long_at,
    )
    if gone or added:
        data = _with_changes(data, event, gone=gone, added=added, new=tuple(new.values()))
    if not added:
        return _go_on(data, *_give_way(event))
    more = tuple(c for c in data.containers if c.container_id in added)
    subscribe = SubscribeToDeletions(data.takedown.item_id, more)
    return _publish_what_is_due(data, *_give_way(event), subscribe)


def _with_changes(
    data: ItemsToBeDeleted,
    event: ItemListed,
    *,
    gone: AbstractSet[ContainerId],
    added: AbstractSet[ContainerId],
    new: tuple[Container, ...],
) -> ItemsToBeDeleted:
    """What a list changes: `gone` vanishes, `added` is outstanding (again), `new` was unknown."""
    deleted = (
        *(d for d in data.deleted if d.container_id not in added),
        *(
            DeletedContainer(c.container_id, c.container_type, event.listed_at, "list")
            for c in data.containers
            if c.container_id in gone
        ),
    )
    return replace(
        data,
        containers=containers_of((*data.containers, *new)),
        outstanding=names_of((data.outstanding - gone) | added),
        deleted=deleted,
        vanished=names_of((data.vanished - added) | gone),
        due=data.due | added,
        published=data.published - added,
    )


def _in_doubt(data: ItemsToBeDeleted, event: ItemInDoubt) -> _Step:
    if event.item_id != data.takedown.item_id:
        return Step(State.ACTIVE, data)
    return Step(State.ACTIVE, replace(data, doubted=True))


def _caught_up(data: ItemsToBeDeleted, event: CatalogueCaughtUp) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.ACTIVE, data)
    return _go_on(replace(data, proven=True))


def _publish_what_is_due(data: ItemsToBeDeleted, *before: Effect) -> _Step:
    if data.publishing or not data.due:
        return Step(State.ACTIVE, data, before)
    due = data.due & data.outstanding
    requests = tuple(c for c in data.containers if c.container_id in due)
    data = replace(data, publishing=requests, due=frozenset())
    if not requests:
        return Step(State.ACTIVE, data, before)
    return Step(State.ACTIVE, data, (*before, PublishRequests(data.takedown, requests)))


def _published(data: ItemsToBeDeleted, event: RequestsPublished) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.ACTIVE, data)
    return _publish_what_is_due(_settled(data, data.publishing))


def _settled(
    data: ItemsToBeDeleted,
    published: tuple[Container, ...],
    unacknowledged: tuple[Container, ...] = (),
) -> ItemsToBeDeleted:
    """Kafka has acknowledged these requests; only the `unacknowledged` ones are not settled."""
    # Who is due again has not been asked by what was published before.
    acknowledged = frozenset(c.container_id for c in published) - data.due
    return replace(
        data,
        publishing=data.publishing if unacknowledged else (),
        published=data.published | acknowledged,
        handed_over=True,
    )


def _publish_failed(data: ItemsToBeDeleted, event: PublishFailed) -> _Step:
    if event.takedown_id != data.takedown.takedown_id:
        return Step(State.ACTIVE, data)
    if not event.handed_over and not data.handed_over:
        unavailable = Unavailable("kafka-unreachable", event.cause, plain=event.plain)
        return _finish(data.takedown, unavailable)
    data = _settled(data, event.published, event.unacknowledged)
    asked = data.outstanding - data.due
    if all(c.container_id not in asked for c in event.unpublished):
        # What Kafka did not acknowledge is known to be deleted: the rest may still come.
        return _publish_what_is_due(data)
    unsettled = {c.container_id for c in event.unacknowledged}
    refused = Refused(
        cause=event.cause,
        published=tuple(c for c in data.containers if c.container_id in data.published),
        unpublished=tuple(
            c
            for c in data.containers
            if c.container_id not in data.published and c.container_id not in unsettled
        ),
        deleted=data.already_deleted(),
        outstanding=data.still_outstanding(),
        unacknowledged=event.unacknowledged,
        plain=event.plain,
    )
    return _finish(data.takedown, refused)


def _timed_out(data: ItemsToBeDeleted, _event: DeadlinePassed) -> _Step:
    if not data.containers:  # nothing was published
        reason, code = _UNREADABLE if data.doubted else _UNPROVEN
        return _finish(data.takedown, Unavailable(code, reason))
    return _finish(
        data.takedown,
        TimedOut(
            data.already_deleted(),
            data.still_outstanding(),
            data.proven,
            data.doubted,
            data.too_long_at is not None,
        ),
    )


def _leave_no_trace(_state: State, _data: Data) -> tuple[Effect, ...]:
    # The answer is not given here: the coordinator gives it, since it also knows of a takedown
    # that never came out of the mailbox.
    return (StopPublishing(), UnsubscribeAll())


# --------------------------------------------------------------------------------- table

_LATE = "late: its takedown has been answered"
_EARLIER = "it can only belong to an earlier takedown of this actor"
_INCLUDED = "the catalogue has read it before it answers"

_BEGIN: Row[State] = Row(
    State.IDLE, Begin, _begin, {State.LOCATING: ""}, (StartTimer, FindContainers)
)
_BEGIN_TO_FOLLOW: Row[State] = Row(
    State.IDLE,
    Begin,
    _begin_to_follow,
    {State.LOCATING: ""},
    (StartTimer, FollowItem, FindContainers),
)


def item_censor(
    *,
    follow_changes: bool,
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
    containers_max: int = CONTAINERS_MAX,
) -> Machine[State, Data]:
    """The machine, with or without following the item's lists.

    One that does not follow never subscribes to them, so that its rows for them are not used.

    Args:
        follow_changes: whether the item's newer lists are followed.
        clock_tolerance: by how much a deletion may be dated before the list that names its
            container and still confirm it.
        containers_max: in how many containers an item may be.
    """
    found = partial(_found, containers_max=containers_max)
    deleted = partial(_deleted, tolerance=clock_tolerance)
    listed = partial(_listed, tolerance=clock_tolerance, containers_max=containers_max)
    return Machine(
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
            FollowItem,
            FindContainers,
            SubscribeToDeletions,
            PublishRequests,
            GiveWay,
            StopPublishing,
            UnsubscribeAll,
            ReportStaleDeletion,
            Answer,
            Release,
        ),
        rows=(
            # ----------------------------------------------------------------- Idle
            _BEGIN_TO_FOLLOW if follow_changes else _BEGIN,
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
                ItemListed,
                ItemInDoubt,
                ContainersFound,
                CatalogueCaughtUp,
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
                found,
                {
                    State.ACTIVE: "in at least one container, or not proven",
                    State.IDLE: "in no container: 404, or in too many: 503",
                    State.LOCATING: "for an earlier takedown",
                },
                (SubscribeToDeletions, PublishRequests, GiveWay, *_FINISH),
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
            *ignore(State.LOCATING, ItemListed, ItemInDoubt, why=_INCLUDED),
            *ignore(
                State.LOCATING,
                ItemDeleted,
                CatalogueCaughtUp,
                RequestsPublished,
                PublishFailed,
                why=_EARLIER,
            ),
            # --------------------------------------------------------------- Active
            Row(
                State.ACTIVE,
                ItemDeleted,
                deleted,
                {
                    State.IDLE: "it was the last, and the list is proven: 200",
                    State.ACTIVE: "others are outstanding, or it is stale",
                },
                (ReportStaleDeletion, *_FINISH),
            ),
            Row(
                State.ACTIVE,
                ItemListed,
                listed,
                {
                    State.IDLE: (
                        "nothing that is outstanding is in it, and it is proven: 200, or it is too "
                        "long and nothing was published: 503"
                    ),
                    State.ACTIVE: "what it adds is asked for, what it lacks is deleted",
                },
                (SubscribeToDeletions, PublishRequests, GiveWay, *_FINISH),
            ),
            Row(State.ACTIVE, ItemInDoubt, _in_doubt, {State.ACTIVE: "no 200 until a list"}),
            Row(
                State.ACTIVE,
                CatalogueCaughtUp,
                _caught_up,
                {
                    State.IDLE: "nothing is outstanding: 200, or 404 if in no container",
                    State.ACTIVE: "the list is proven, or for an earlier takedown",
                },
                _FINISH,
            ),
            Row(
                State.ACTIVE, RequestsPublished, _published, {State.ACTIVE: ""}, (PublishRequests,)
            ),
            Row(
                State.ACTIVE,
                PublishFailed,
                _publish_failed,
                {
                    State.IDLE: "nothing was handed over: 503; otherwise 502",
                    State.ACTIVE: "what failed is deleted, or for an earlier takedown",
                },
                (PublishRequests, *_FINISH),
            ),
            Row(
                State.ACTIVE,
                DeadlinePassed,
                _timed_out,
                {State.IDLE: "504, or 503 if in no container"},
                _FINISH,
            ),
            *ignore(State.ACTIVE, ContainersFound, ItemUnknown, CatalogueUnavailable, why=_EARLIER),
        ),
        on_termination=_leave_no_trace,
    )


ITEM_CENSOR = item_censor(follow_changes=True)
"""The machine. Its picture is docs/machines/item-censor.md, drawn from this table."""
