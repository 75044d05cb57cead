"""What the ItemCensor's table must lead to: the data, and the cases of Idle and Locating."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from actors.fsm.machine import CancelTimer, Effect, StartTimer, Step
from actors.item_censor.states import (
    DEADLINE,
    Answer,
    Data,
    FindContainers,
    FollowItem,
    GiveWay,
    ItemsToBeDeleted,
    ItemToBeLocated,
    PublishRequests,
    Release,
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
    ContainerId,
    ContainersFound,
    DeadlinePassed,
    Flush,
    ItemDeleted,
    ItemInDoubt,
    ItemListed,
    ItemUnknown,
    NotFound,
    Outcome,
    PublishFailed,
    RequestsPublished,
    TakedownId,
    Unavailable,
)
from support.fakes import (
    T0,
    FakeReply,
    deletion,
    gone,
    listed,
    place,
    places,
    takedown,
)

MINE = takedown(name="mine", now=100.0, seconds=10.0)
TID = MINE.takedown_id
EARLIER = TakedownId("earlier")
A, B, C, D = places("a", "b", "c", "d")
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
IDS = frozenset(c.container_id for c in (A, B, C))


def ids(names: str) -> frozenset[ContainerId]:
    return frozenset(map(ContainerId, names))


NONE = Uninitialized()
LOCATING = ItemToBeLocated(MINE)
ACTIVE = ItemsToBeDeleted(MINE, (A, B, C), IDS, publishing=(A, B, C))
A_GONE = replace(ACTIVE, outstanding=ids("bc"), deleted=(gone("a"),))
ONLY_B_LEFT = ItemsToBeDeleted(
    MINE, (A, B, C), ids("b"), (gone("c"), gone("a")), published=IDS, handed_over=True
)
# Found at T0; A has confirmed, B vanished after 2 s, C is outstanding; all requests are settled.
FOLLOWED = ItemsToBeDeleted(
    MINE,
    (A, B, C),
    ids("c"),
    (gone("a"), gone("b", after=2, by="list")),
    vanished=ids("b"),
    published=IDS,
    handed_over=True,
    listed_at=T0 + timedelta(seconds=2),
    named_earlier=((ContainerId("b"), T0),),
)
# As FOLLOWED, before there is evidence that the list is the newest.
UNPROVEN = replace(FOLLOWED, proven=False)
# All are confirmed, and there is no evidence yet.
CONFIRMED = ItemsToBeDeleted(
    MINE,
    (A, B),
    frozenset(),
    (gone("a"), gone("b", after=5)),
    published=ids("ab"),
    handed_over=True,
    listed_at=T0,
    proven=False,
)
# In no container, by a list that need not be the newest.
NOWHERE = ItemsToBeDeleted(MINE, (), frozenset(), listed_at=T0, proven=False)
# D was added while the requests for the others are on their way.
D_IS_DUE = replace(
    ACTIVE, containers=(A, B, C, D), outstanding=ids("abcd"), due=ids("d"), listed_at=T0
)

BEGIN = Begin(MINE, FakeReply())


def done(outcome: Outcome) -> Step[State, Data]:
    """The five things that end a takedown, in their order."""
    five: tuple[Effect, ...] = (
        CancelTimer(DEADLINE),
        StopPublishing(),
        UnsubscribeAll(),
        Answer(outcome),
        Release(MINE, outcome),
    )
    return Step(State.IDLE, NONE, five)


def same(state: State, data: Data) -> Step[State, Data]:
    return Step(state, data)


def failed(
    *,
    unpublished: str,
    published: str = "",
    unacknowledged: str = "",
    handed_over: bool = True,
    tid: TakedownId = TID,
    plain: str = "",
) -> PublishFailed:
    return PublishFailed(
        tid,
        "broken",
        handed_over,
        places(*published),
        places(*unpublished),
        places(*unacknowledged),
        plain,
    )


def named(*times: tuple[str, float | None]) -> tuple[tuple[ContainerId, datetime | None], ...]:
    """`named_earlier`, in seconds after `T0`."""
    return tuple(
        (ContainerId(name), None if after is None else T0 + timedelta(seconds=after))
        for name, after in times
    )


def ignored(state: State, data: Data, *events: Any) -> dict[str, tuple[Data, Any, Any]]:
    return {f"case {n}": (data, event, same(state, data)) for n, event in enumerate(events)}


Cases = dict[str, tuple[Data, Any, Any]]

LATE_FOUND = "The catalogue did not answer before the deadline; nothing was published"

# For each row of the table: what it is given, and the whole of what it must lead to.
BEFORE_ACTIVE: dict[tuple[State, type], Cases] = {
    # ------------------------------------------------------------------------------- Idle
    (State.IDLE, Begin): {
        "starts the one timer, then searches": (
            NONE,
            BEGIN,
            Step(
                State.LOCATING,
                LOCATING,
                (
                    StartTimer(DEADLINE, 110.0, DeadlinePassed(TID)),
                    FollowItem(MINE.item_id),
                    FindContainers(MINE),
                ),
            ),
        )
    },
    (State.IDLE, Flush): {
        "leaves nothing behind": (
            NONE,
            Flush(),
            Step(State.IDLE, NONE, (CancelTimer(DEADLINE), StopPublishing(), UnsubscribeAll())),
        )
    },
    (State.IDLE, ItemDeleted): ignored(State.IDLE, NONE, deletion("a")),
    (State.IDLE, ItemListed): ignored(State.IDLE, NONE, listed("a"), listed()),
    (State.IDLE, ItemInDoubt): ignored(State.IDLE, NONE, ItemInDoubt(MINE.item_id, T0)),
    (State.IDLE, CatalogueCaughtUp): ignored(State.IDLE, NONE, CatalogueCaughtUp(TID)),
    (State.IDLE, ContainersFound): ignored(State.IDLE, NONE, ContainersFound(TID, (A,))),
    (State.IDLE, ItemUnknown): ignored(State.IDLE, NONE, ItemUnknown(TID)),
    (State.IDLE, CatalogueUnavailable): ignored(
        State.IDLE, NONE, CatalogueUnavailable(TID, "behind")
    ),
    (State.IDLE, RequestsPublished): ignored(State.IDLE, NONE, RequestsPublished(TID)),
    (State.IDLE, PublishFailed): ignored(State.IDLE, NONE, failed(unpublished="a")),
    # --------------------------------------------------------------------------- Locating
    (State.LOCATING, ContainersFound): {
        "subscribes and only then publishes": (
            LOCATING,
            ContainersFound(TID, (A, B, C)),
            Step(
                State.ACTIVE,
                ACTIVE,
                (
                    SubscribeToDeletions(MINE.item_id, (A, B, C)),
                    PublishRequests(MINE, (A, B, C)),
                ),
            ),
        ),
        "a container named twice is one": (
            LOCATING,
            ContainersFound(TID, (A, B, place("a", "timeline"), C, B)),
            Step(
                State.ACTIVE,
                ACTIVE,
                (
                    SubscribeToDeletions(MINE.item_id, (A, B, C)),
                    PublishRequests(MINE, (A, B, C)),
                ),
            ),
        ),
        "a long list gives way to others": (
            LOCATING,
            ContainersFound(TID, (A, B, C) * 200),
            Step(
                State.ACTIVE,
                ACTIVE,
                (
                    SubscribeToDeletions(MINE.item_id, (A, B, C)),
                    PublishRequests(MINE, (A, B, C)),
                    GiveWay(),
                ),
            ),
        ),
        "the list's own time is kept": (
            LOCATING,
            ContainersFound(TID, (A, B, C), T0),
            Step(
                State.ACTIVE,
                replace(ACTIVE, listed_at=T0),
                (
                    SubscribeToDeletions(MINE.item_id, (A, B, C)),
                    PublishRequests(MINE, (A, B, C)),
                ),
            ),
        ),
        "without evidence it begins all the same": (
            LOCATING,
            ContainersFound(TID, (A, B, C), T0, proven=False),
            Step(
                State.ACTIVE,
                replace(ACTIVE, listed_at=T0, proven=False),
                (
                    SubscribeToDeletions(MINE.item_id, (A, B, C)),
                    PublishRequests(MINE, (A, B, C)),
                ),
            ),
        ),
        "no container is no 404 without evidence": (
            LOCATING,
            ContainersFound(TID, (), T0, proven=False),
            same(State.ACTIVE, NOWHERE),
        ),
        "no container is a 404": (LOCATING, ContainersFound(TID, ()), done(NotFound())),
        "an earlier search": (
            LOCATING,
            ContainersFound(EARLIER, (A,)),
            same(State.LOCATING, LOCATING),
        ),
        "an earlier search without result": (
            LOCATING,
            ContainersFound(EARLIER, ()),
            same(State.LOCATING, LOCATING),
        ),
    },
    (State.LOCATING, ItemUnknown): {
        "404": (LOCATING, ItemUnknown(TID), done(NotFound())),
        "an earlier search": (LOCATING, ItemUnknown(EARLIER), same(State.LOCATING, LOCATING)),
    },
    (State.LOCATING, CatalogueUnavailable): {
        "503": (
            LOCATING,
            CatalogueUnavailable(TID, "behind"),
            done(Unavailable("not-ready", "behind")),
        ),
        "503 with what the caller is told": (
            LOCATING,
            CatalogueUnavailable(TID, "10.0.0.7 is away", plain="behind"),
            done(Unavailable("not-ready", "10.0.0.7 is away", plain="behind")),
        ),
        "503 for an item in doubt": (
            LOCATING,
            CatalogueUnavailable(TID, "unreadable", "item-in-doubt"),
            done(Unavailable("item-in-doubt", "unreadable")),
        ),
        "an earlier search": (
            LOCATING,
            CatalogueUnavailable(EARLIER, "behind"),
            same(State.LOCATING, LOCATING),
        ),
    },
    (State.LOCATING, DeadlinePassed): {
        "503, since nothing was published": (
            LOCATING,
            DeadlinePassed(TID),
            done(Unavailable("not-ready", LATE_FOUND)),
        )
    },
    (State.LOCATING, ItemListed): ignored(State.LOCATING, LOCATING, listed("a"), listed()),
    (State.LOCATING, ItemInDoubt): ignored(State.LOCATING, LOCATING, ItemInDoubt(MINE.item_id, T0)),
    (State.LOCATING, CatalogueCaughtUp): ignored(
        State.LOCATING, LOCATING, CatalogueCaughtUp(EARLIER), CatalogueCaughtUp(TID)
    ),
    (State.LOCATING, ItemDeleted): ignored(State.LOCATING, LOCATING, deletion("a")),
    (State.LOCATING, RequestsPublished): ignored(
        State.LOCATING, LOCATING, RequestsPublished(EARLIER)
    ),
    (State.LOCATING, PublishFailed): ignored(
        State.LOCATING, LOCATING, failed(unpublished="a", tid=EARLIER)
    ),
}
