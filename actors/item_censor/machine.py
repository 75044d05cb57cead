"""The ItemCensor's machine: what one takedown does, and nothing about how.

Theory of operation
-------------------
A censor is idle until the coordinator gives it a takedown. It starts the one timer of the
takedown, its absolute deadline, and asks the catalogue in which containers the item is
(Locating). Then it subscribes to each container's deletion and only afterwards has the delete
requests published (Active): a deletion may arrive before Kafka acknowledges its request.

The item may be published elsewhere meanwhile. So the censor follows the item's lists, from before
it asks the catalogue: what comes while it is Locating is in the answer already, what comes while
it is Active is newer. A container that a list adds is subscribed to and requested like the others;
one that is outstanding and not in a list any more counts as deleted at the list's time, unless
that is older than a list's before. What a deletion has confirmed stays confirmed, whatever lists
say; what only vanished and is listed again is outstanding again. There is one publication at a
time: containers that are added while requests are in flight are requested together once those are
settled.

It is done when the *set* of outstanding containers is empty: for each container an `item_deleted`
or a newer list without it was read. Nothing is ever counted, so that duplicates are harmless.
Two more things must hold before a 200. The catalogue has shown that it had read its topic to the
end as of the request (`proven`): a takedown begins with the list that is known, and a newer one may
still be in flight. And the newest record of the item is readable (not `doubted`).

A deletion dated before the list that names its container confirms nothing (`evidence`). While it
is not proven that the list is the newest, a list that is read may be: it makes what an older
deletion has confirmed outstanding again.

Whatever ends a takedown does the same things in the same order: cancel the timer, stop publishing,
unsubscribe, answer the caller, tell the coordinator, be idle.

Events carry the takedown they belong to where they can (the catalogue's and the producer's); one
that belongs to an earlier takedown of the same actor changes nothing (`accepts`). Deletions cannot
carry it, since nothing needs to be echoed by the Items service: they count if the container is
outstanding.

What each row does is in `locating`, `confirming`, `following`, `publishing` and `ending`.
Why lists are trusted as they are: docs/decisions/0011-following-an-item.md; what a 200 needs:
docs/decisions/0018-evidence-before-a-200.md.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from actors.fsm.machine import CancelTimer, Machine, Row, StartTimer, Step, ignore
from actors.item_censor.confirming import caught_up, deleted, in_doubt
from actors.item_censor.ending import FINISH, leave_no_trace, not_located_in_time, timed_out
from actors.item_censor.following import listed
from actors.item_censor.locating import (
    begin,
    begin_to_follow,
    flush,
    found,
    no_catalogue,
    unknown,
)
from actors.item_censor.publishing import publish_failed, published
from actors.item_censor.states import (
    CLOCK_TOLERANCE,
    CONTAINERS_MAX,
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
    ContainersFound,
    DeadlinePassed,
    Flush,
    ItemDeleted,
    ItemInDoubt,
    ItemListed,
    ItemUnknown,
    PublishFailed,
    RequestsPublished,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from actors.fsm.machine import Action

_LATE = "late: its takedown has been answered"
_EARLIER = "it can only belong to an earlier takedown of this actor"
_INCLUDED = "the catalogue has read it before it answers"


def _of_this_takedown(
    data: ItemToBeLocated | ItemsToBeDeleted,
    event: ContainersFound
    | ItemUnknown
    | CatalogueUnavailable
    | CatalogueCaughtUp
    | RequestsPublished
    | PublishFailed,
) -> bool:
    return event.takedown_id == data.takedown.takedown_id


def _of_this_item(data: ItemsToBeDeleted, event: ItemDeleted | ItemListed | ItemInDoubt) -> bool:
    return event.item_id == data.takedown.item_id


_BEGIN: Row[State] = Row(
    State.IDLE, Begin, begin, {State.LOCATING: ""}, (StartTimer, FindContainers)
)
_BEGIN_TO_FOLLOW: Row[State] = Row(
    State.IDLE,
    Begin,
    begin_to_follow,
    {State.LOCATING: ""},
    (StartTimer, FollowItem, FindContainers),
)

TABLE: tuple[Row[State], ...] = (
    # ----------------------------------------------------------------- Idle
    Row(
        State.IDLE,
        Flush,
        flush,
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
        (SubscribeToDeletions, PublishRequests, GiveWay, *FINISH),
        accepts=_of_this_takedown,
    ),
    Row(
        State.LOCATING,
        ItemUnknown,
        unknown,
        {State.IDLE: "404", State.LOCATING: "for an earlier takedown"},
        FINISH,
        accepts=_of_this_takedown,
    ),
    Row(
        State.LOCATING,
        CatalogueUnavailable,
        no_catalogue,
        {State.IDLE: "503", State.LOCATING: "for an earlier takedown"},
        FINISH,
        accepts=_of_this_takedown,
    ),
    Row(State.LOCATING, DeadlinePassed, not_located_in_time, {State.IDLE: "503"}, FINISH),
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
        (ReportStaleDeletion, *FINISH),
        accepts=_of_this_item,
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
        (SubscribeToDeletions, PublishRequests, GiveWay, *FINISH),
        accepts=_of_this_item,
    ),
    Row(
        State.ACTIVE,
        ItemInDoubt,
        in_doubt,
        {State.ACTIVE: "no 200 until a list"},
        accepts=_of_this_item,
    ),
    Row(
        State.ACTIVE,
        CatalogueCaughtUp,
        caught_up,
        {
            State.IDLE: "nothing is outstanding: 200, or 404 if in no container",
            State.ACTIVE: "the list is proven, or for an earlier takedown",
        },
        FINISH,
        accepts=_of_this_takedown,
    ),
    Row(
        State.ACTIVE,
        RequestsPublished,
        published,
        {State.ACTIVE: ""},
        (PublishRequests,),
        accepts=_of_this_takedown,
    ),
    Row(
        State.ACTIVE,
        PublishFailed,
        publish_failed,
        {
            State.IDLE: "nothing was handed over: 503; otherwise 502",
            State.ACTIVE: "what failed is deleted, or for an earlier takedown",
        },
        (PublishRequests, *FINISH),
        accepts=_of_this_takedown,
    ),
    Row(
        State.ACTIVE,
        DeadlinePassed,
        timed_out,
        {State.IDLE: "504, or 503 if in no container"},
        FINISH,
    ),
    *ignore(State.ACTIVE, ContainersFound, ItemUnknown, CatalogueUnavailable, why=_EARLIER),
)
"""Every row but the first one, with the default parameters; `item_censor` binds others."""


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
    bound: dict[Action, Action] = {
        found: partial(found, containers_max=containers_max),
        deleted: partial(deleted, tolerance=clock_tolerance),
        listed: partial(listed, tolerance=clock_tolerance, containers_max=containers_max),
    }
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
            _BEGIN_TO_FOLLOW if follow_changes else _BEGIN,
            *(replace(row, action=bound.get(row.action, row.action)) for row in TABLE),
        ),
        on_termination=leave_no_trace,
    )


ITEM_CENSOR = item_censor(follow_changes=True)
"""The machine. Its picture is docs/machines/item-censor.md, drawn from this table."""
