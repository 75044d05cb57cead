"""What the ItemCensor's table must lead to in Active."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.states import (
    GiveWay,
    PublishRequests,
    ReportStaleDeletion,
    State,
    SubscribeToDeletions,
)
from domain.messages import (
    CatalogueCaughtUp,
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    ItemDeleted,
    ItemInDoubt,
    ItemListed,
    ItemUnknown,
    NotFound,
    PublishFailed,
    Refused,
    RequestsPublished,
    TimedOut,
    Unavailable,
)
from support.censor_cases import (
    A_GONE,
    ACTIVE,
    CONFIRMED,
    D_IS_DUE,
    EARLIER,
    FOLLOWED,
    IDS,
    MINE,
    NOWHERE,
    ONLY_B_LEFT,
    TID,
    UNPROVEN,
    A,
    B,
    C,
    Cases,
    D,
    done,
    failed,
    ids,
    ignored,
    named,
    same,
)
from support.fakes import (
    OTHER_ITEM,
    T0,
    deletion,
    gone,
    listed,
    place,
)

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

IN_DOUBT = ItemInDoubt(MINE.item_id, T0)
KNOWN_SINCE_5 = replace(ONLY_B_LEFT, listed_at=T0 + timedelta(seconds=5))
TWO_LEFT = replace(
    FOLLOWED, outstanding=ids("bc"), deleted=(gone("a"),), vanished=frozenset(), published=IDS
)


def stale(name: str, *, after: float = 0.0, listed: float) -> ReportStaleDeletion:
    return ReportStaleDeletion(TID, deletion(name, after=after), T0 + timedelta(seconds=listed))


IN_ACTIVE: dict[tuple[State, type], Cases] = {
    (State.ACTIVE, ItemDeleted): {
        "one of several": (ACTIVE, deletion("a"), same(State.ACTIVE, A_GONE)),
        "the last is a 200, in the order of the deletions": (
            ONLY_B_LEFT,
            deletion("b"),
            done(Deleted((gone("c"), gone("a"), gone("b")))),
        ),
        "a duplicate": (A_GONE, deletion("a"), same(State.ACTIVE, A_GONE)),
        "what had vanished is confirmed, and stays so": (
            FOLLOWED,
            deletion("b"),
            same(
                State.ACTIVE,
                replace(FOLLOWED, vanished=frozenset(), deleted=(gone("a"), gone("b"))),
            ),
        ),
        "what had vanished is not confirmed by what is older than the list that named it": (
            FOLLOWED,
            deletion("b", after=-1.001),
            Step(State.ACTIVE, FOLLOWED, (stale("b", after=-1.001, listed=0),)),
        ),
        "one dated before the list that names the container confirms nothing": (
            KNOWN_SINCE_5,
            deletion("b", after=3.999),
            Step(State.ACTIVE, KNOWN_SINCE_5, (stale("b", after=3.999, listed=5),)),
        ),
        "one within the tolerance counts": (
            KNOWN_SINCE_5,
            deletion("b", after=4),
            done(Deleted((gone("c"), gone("a"), gone("b", after=4)))),
        ),
        "one of the first time that there is confirms nothing, and breaks nothing": (
            replace(ONLY_B_LEFT, listed_at=LAST),
            ItemDeleted(MINE.item_id, B.container_id, "group", FIRST),
            Step(
                State.ACTIVE,
                replace(ONLY_B_LEFT, listed_at=LAST),
                (
                    ReportStaleDeletion(
                        TID, ItemDeleted(MINE.item_id, B.container_id, "group", FIRST), LAST
                    ),
                ),
            ),
        ),
        "the newest list that names it counts, not the newest of all": (
            replace(KNOWN_SINCE_5, named_earlier=named(("b", 1))),
            deletion("b"),
            done(Deleted((gone("c"), gone("a"), gone("b")))),
        ),
        "without the time of a list every date counts": (
            ONLY_B_LEFT,
            deletion("b", after=-1e9),
            done(Deleted((gone("c"), gone("a"), gone("b", after=-1e9)))),
        ),
        "an old duplicate is of no interest": (
            KNOWN_SINCE_5,
            deletion("a", after=-1e9),
            same(State.ACTIVE, KNOWN_SINCE_5),
        ),
        "the last is no 200 before there is evidence": (
            replace(CONFIRMED, outstanding=ids("b"), deleted=(gone("a"),)),
            deletion("b", after=5),
            same(State.ACTIVE, CONFIRMED),
        ),
        "the last is no 200 while the item is in doubt": (
            replace(ONLY_B_LEFT, doubted=True),
            deletion("b"),
            same(
                State.ACTIVE,
                replace(
                    ONLY_B_LEFT,
                    doubted=True,
                    outstanding=frozenset(),
                    deleted=(gone("c"), gone("a"), gone("b")),
                ),
            ),
        ),
        "before there is evidence the later of two counts": (
            CONFIRMED,
            deletion("a", after=7),
            same(
                State.ACTIVE, replace(CONFIRMED, deleted=(gone("a", after=7), gone("b", after=5)))
            ),
        ),
        "and not the earlier": (CONFIRMED, deletion("b", after=3), same(State.ACTIVE, CONFIRMED)),
        "what had vanished from another item's container of the same name is not": (
            FOLLOWED,
            deletion("b", OTHER_ITEM),
            same(State.ACTIVE, FOLLOWED),
        ),
        "a container that the item is not in": (
            ONLY_B_LEFT,
            deletion("elsewhere"),
            same(State.ACTIVE, ONLY_B_LEFT),
        ),
        "another item's container of the same name": (
            ONLY_B_LEFT,
            deletion("b", OTHER_ITEM),
            same(State.ACTIVE, ONLY_B_LEFT),
        ),
        "the catalogue's type counts, not the deletion's": (
            ACTIVE,
            deletion("a", kind="nonsense"),
            same(State.ACTIVE, A_GONE),
        ),
    },
    (State.ACTIVE, ItemListed): {
        "a long list gives way to others": (
            FOLLOWED,
            listed(*("a", "c") * 300, after=2),
            Step(State.ACTIVE, FOLLOWED, (GiveWay(),)),
        ),
        "the same list again": (FOLLOWED, listed("a", "c", after=2), same(State.ACTIVE, FOLLOWED)),
        "the first list whose time is known": (
            ACTIVE,
            listed("c", "b", "a"),
            same(State.ACTIVE, replace(ACTIVE, listed_at=T0)),
        ),
        "a newer list with the same containers": (
            FOLLOWED,
            listed("c", after=3),
            same(State.ACTIVE, replace(FOLLOWED, listed_at=T0 + timedelta(seconds=3))),
        ),
        "another item's list": (
            FOLLOWED,
            listed("x", item=OTHER_ITEM, after=3),
            same(State.ACTIVE, FOLLOWED),
        ),
        "what it adds is subscribed to and then asked for": (
            ONLY_B_LEFT,
            listed("b", "d", after=3),
            Step(
                State.ACTIVE,
                replace(
                    ONLY_B_LEFT,
                    containers=(A, B, C, D),
                    outstanding=ids("bd"),
                    publishing=(D,),
                    listed_at=T0 + timedelta(seconds=3),
                ),
                (SubscribeToDeletions(MINE.item_id, (D,)), PublishRequests(MINE, (D,))),
            ),
        ),
        "what it adds twice is added once, and what is known keeps its type": (
            FOLLOWED,
            ItemListed(
                MINE.item_id,
                (place("c", "timeline"), D, place("d", "timeline")),
                T0 + timedelta(seconds=2),
            ),
            Step(
                State.ACTIVE,
                replace(FOLLOWED, containers=(A, B, C, D), outstanding=ids("cd"), publishing=(D,)),
                (SubscribeToDeletions(MINE.item_id, (D,)), PublishRequests(MINE, (D,))),
            ),
        ),
        "what it adds while requests are on their way is subscribed to and due": (
            ACTIVE,
            listed("a", "b", "c", "d"),
            Step(State.ACTIVE, D_IS_DUE, (SubscribeToDeletions(MINE.item_id, (D,)),)),
        ),
        "what is outstanding and not in it is deleted at its time": (
            ACTIVE,
            listed("b", after=3),
            same(
                State.ACTIVE,
                replace(
                    ACTIVE,
                    outstanding=ids("b"),
                    deleted=(gone("a", after=3, by="list"), gone("c", after=3, by="list")),
                    vanished=ids("ac"),
                    listed_at=T0 + timedelta(seconds=3),
                    named_earlier=named(("a", None), ("c", None)),
                ),
            ),
        ),
        "a tombstone leaves nothing: 200": (
            A_GONE,
            listed(after=3),
            done(
                Deleted((gone("a"), gone("b", after=3, by="list"), gone("c", after=3, by="list")))
            ),
        ),
        "a list of what has confirmed leaves nothing either": (
            ONLY_B_LEFT,
            listed("a", "c", after=3),
            done(Deleted((gone("c"), gone("a"), gone("b", after=3, by="list")))),
        ),
        "what has confirmed is not asked again; what had vanished is outstanding again": (
            FOLLOWED,
            listed("a", "b", "c", after=3),
            Step(
                State.ACTIVE,
                replace(
                    FOLLOWED,
                    outstanding=ids("bc"),
                    deleted=(gone("a"),),
                    vanished=frozenset(),
                    publishing=(B,),
                    published=ids("ac"),
                    listed_at=T0 + timedelta(seconds=3),
                    named_earlier=(),
                ),
                (SubscribeToDeletions(MINE.item_id, (B,)), PublishRequests(MINE, (B,))),
            ),
        ),
        "an item that moves is asked for where it is": (
            FOLLOWED,
            listed("d", after=3),
            Step(
                State.ACTIVE,
                replace(
                    FOLLOWED,
                    containers=(A, B, C, D),
                    outstanding=ids("d"),
                    deleted=(
                        gone("a"),
                        gone("b", after=2, by="list"),
                        gone("c", after=3, by="list"),
                    ),
                    vanished=ids("bc"),
                    publishing=(D,),
                    listed_at=T0 + timedelta(seconds=3),
                    named_earlier=named(("b", 0), ("c", 2)),
                ),
                (SubscribeToDeletions(MINE.item_id, (D,)), PublishRequests(MINE, (D,))),
            ),
        ),
        "an older list completes nothing": (
            FOLLOWED,
            listed(after=1.999),
            same(State.ACTIVE, FOLLOWED),
        ),
        "the times of lists may be the first and the last that there are": (
            replace(FOLLOWED, listed_at=FIRST),
            ItemListed(MINE.item_id, (C,), LAST),
            same(State.ACTIVE, replace(FOLLOWED, listed_at=LAST)),
        ),
        "nothing is older than the first time that there is": (
            replace(FOLLOWED, listed_at=FIRST),
            ItemListed(MINE.item_id, (C,), FIRST),
            same(State.ACTIVE, replace(FOLLOWED, listed_at=FIRST)),
        ),
        "within a millisecond none is older": (
            FOLLOWED,
            listed(after=1.9991),
            done(
                Deleted(
                    (
                        gone("a"),
                        gone("b", after=2, by="list"),
                        gone("c", after=1.9991, by="list"),
                    )
                )
            ),
        ),
        "what an older list has is asked for all the same, and its time is not taken": (
            FOLLOWED,
            listed("d", after=1),
            Step(
                State.ACTIVE,
                replace(
                    FOLLOWED,
                    containers=(A, B, C, D),
                    outstanding=ids("cd"),
                    publishing=(D,),
                    named_earlier=named(("b", 0), ("d", 1)),
                ),
                (SubscribeToDeletions(MINE.item_id, (D,)), PublishRequests(MINE, (D,))),
            ),
        ),
        "what an older list has again was named by that": (
            replace(FOLLOWED, named_earlier=named(("b", 0.5))),
            listed("b", "c", after=1),
            Step(
                State.ACTIVE,
                replace(
                    FOLLOWED,
                    outstanding=ids("bc"),
                    deleted=(gone("a"),),
                    vanished=frozenset(),
                    publishing=(B,),
                    published=ids("ac"),
                    named_earlier=named(("b", 1)),
                ),
                (SubscribeToDeletions(MINE.item_id, (B,)), PublishRequests(MINE, (B,))),
            ),
        ),
        "what is named once more by an older list keeps the later time": (
            replace(TWO_LEFT, named_earlier=named(("b", 1.5), ("c", 1))),
            listed("b", "c", after=1.25),
            same(
                State.ACTIVE,
                replace(TWO_LEFT, named_earlier=named(("b", 1.5), ("c", 1.25))),
            ),
        ),
        "before there is evidence, one that is empty is no 200": (
            UNPROVEN,
            listed(after=3),
            same(
                State.ACTIVE,
                replace(
                    UNPROVEN,
                    outstanding=frozenset(),
                    deleted=(*UNPROVEN.deleted, gone("c", after=3, by="list")),
                    vanished=ids("bc"),
                    listed_at=T0 + timedelta(seconds=3),
                    named_earlier=named(("b", 0), ("c", 2)),
                ),
            ),
        ),
        "before there is evidence, what is confirmed by an older deletion is outstanding again": (
            UNPROVEN,
            listed("a", "c", after=3),
            Step(
                State.ACTIVE,
                replace(
                    UNPROVEN,
                    outstanding=ids("ac"),
                    deleted=(gone("b", after=2, by="list"),),
                    publishing=(A,),
                    published=ids("bc"),
                    listed_at=T0 + timedelta(seconds=3),
                ),
                (SubscribeToDeletions(MINE.item_id, (A,)), PublishRequests(MINE, (A,))),
            ),
        ),
        "an older list shows the same, with its own time": (
            UNPROVEN,
            listed("a", after=1.5),
            Step(
                State.ACTIVE,
                replace(
                    UNPROVEN,
                    outstanding=ids("ac"),
                    deleted=(gone("b", after=2, by="list"),),
                    publishing=(A,),
                    published=ids("bc"),
                    named_earlier=named(("a", 1.5), ("b", 0)),
                ),
                (SubscribeToDeletions(MINE.item_id, (A,)), PublishRequests(MINE, (A,))),
            ),
        ),
        "a deletion within the tolerance of it stays": (
            replace(UNPROVEN, deleted=(gone("a", after=2), gone("b", after=2, by="list"))),
            listed("a", "c", after=3),
            same(
                State.ACTIVE,
                replace(
                    UNPROVEN,
                    deleted=(gone("a", after=2), gone("b", after=2, by="list")),
                    listed_at=T0 + timedelta(seconds=3),
                ),
            ),
        ),
        "with the last and the first time that there are": (
            replace(
                CONFIRMED,
                deleted=(replace(gone("a"), deleted_at=FIRST), gone("b")),
                listed_at=FIRST,
            ),
            ItemListed(MINE.item_id, (A,), LAST),
            Step(
                State.ACTIVE,
                replace(
                    CONFIRMED,
                    outstanding=ids("a"),
                    deleted=(gone("b"),),
                    publishing=(A,),
                    published=ids("b"),
                    listed_at=LAST,
                ),
                (SubscribeToDeletions(MINE.item_id, (A,)), PublishRequests(MINE, (A,))),
            ),
        ),
        "where it is, before there is evidence that it is nowhere": (
            NOWHERE,
            listed("d", after=1),
            Step(
                State.ACTIVE,
                replace(
                    NOWHERE,
                    containers=(D,),
                    outstanding=ids("d"),
                    publishing=(D,),
                    listed_at=T0 + timedelta(seconds=1),
                ),
                (SubscribeToDeletions(MINE.item_id, (D,)), PublishRequests(MINE, (D,))),
            ),
        ),
        "a readable list ends the doubt": (
            replace(FOLLOWED, doubted=True),
            listed("c", after=2),
            same(State.ACTIVE, FOLLOWED),
        ),
        "and is a 200 if nothing is outstanding": (
            replace(CONFIRMED, doubted=True, proven=True),
            listed(),
            done(Deleted(tuple(CONFIRMED.deleted))),
        ),
        "an older list does not end it": (
            replace(FOLLOWED, doubted=True),
            listed("c", after=1.9),
            same(State.ACTIVE, replace(FOLLOWED, doubted=True)),
        ),
    },
    (State.ACTIVE, ItemInDoubt): {
        "no 200 from now on": (
            FOLLOWED,
            IN_DOUBT,
            same(State.ACTIVE, replace(FOLLOWED, doubted=True)),
        ),
        "another item": (
            FOLLOWED,
            ItemInDoubt(OTHER_ITEM, T0),
            same(State.ACTIVE, FOLLOWED),
        ),
    },
    (State.ACTIVE, CatalogueCaughtUp): {
        "others are outstanding": (
            UNPROVEN,
            CatalogueCaughtUp(TID),
            same(State.ACTIVE, FOLLOWED),
        ),
        "all are confirmed: 200": (
            CONFIRMED,
            CatalogueCaughtUp(TID),
            done(Deleted(tuple(CONFIRMED.deleted))),
        ),
        "in no container: 404": (NOWHERE, CatalogueCaughtUp(TID), done(NotFound())),
        "no 200 and no 404 while the item is in doubt": (
            replace(CONFIRMED, doubted=True),
            CatalogueCaughtUp(TID),
            same(State.ACTIVE, replace(CONFIRMED, doubted=True, proven=True)),
        ),
        "of an earlier takedown": (
            CONFIRMED,
            CatalogueCaughtUp(EARLIER),
            same(State.ACTIVE, CONFIRMED),
        ),
    },
    (State.ACTIVE, RequestsPublished): {
        "remembered": (
            A_GONE,
            RequestsPublished(TID),
            same(
                State.ACTIVE,
                replace(A_GONE, publishing=(), published=IDS, handed_over=True),
            ),
        ),
        "what is due is asked for now": (
            D_IS_DUE,
            RequestsPublished(TID),
            Step(
                State.ACTIVE,
                replace(
                    D_IS_DUE, publishing=(D,), due=frozenset(), published=IDS, handed_over=True
                ),
                (PublishRequests(MINE, (D,)),),
            ),
        ),
        "what was due and is deleted by now is not asked for": (
            replace(D_IS_DUE, outstanding=IDS, deleted=(gone("d"),)),
            RequestsPublished(TID),
            same(
                State.ACTIVE,
                replace(
                    D_IS_DUE,
                    outstanding=IDS,
                    deleted=(gone("d"),),
                    publishing=(),
                    due=frozenset(),
                    published=IDS,
                    handed_over=True,
                ),
            ),
        ),
        "what vanished and came back meanwhile is asked for once more": (
            replace(ACTIVE, due=ids("b")),
            RequestsPublished(TID),
            Step(
                State.ACTIVE,
                replace(ACTIVE, publishing=(B,), published=ids("ac"), handed_over=True),
                (PublishRequests(MINE, (B,)),),
            ),
        ),
        "of an earlier takedown": (
            A_GONE,
            RequestsPublished(EARLIER),
            same(State.ACTIVE, A_GONE),
        ),
    },
    (State.ACTIVE, PublishFailed): {
        "nothing handed over is a 503": (
            ACTIVE,
            failed(unpublished="abc", handed_over=False),
            done(Unavailable("kafka-unreachable", "broken")),
        ),
        "a 503 has what the caller is told": (
            ACTIVE,
            failed(unpublished="abc", handed_over=False, plain="away"),
            done(Unavailable("kafka-unreachable", "broken", plain="away")),
        ),
        "a 502 has what the caller is told": (
            ACTIVE,
            failed(unpublished="abc", plain="away"),
            done(Refused("broken", (), (A, B, C), (), (A, B, C), plain="away")),
        ),
        "handed over is a 502 with true lists": (
            A_GONE,
            failed(published="a", unpublished="bc"),
            done(Refused("broken", (A,), (B, C), (A,), (B, C))),
        ),
        "handed over and none acknowledged is a 502 too": (
            ACTIVE,
            failed(unpublished="abc"),
            done(Refused("broken", (), (A, B, C), (), (A, B, C))),
        ),
        "deleted and outstanding are those of this moment": (
            replace(ONLY_B_LEFT, publishing=(A, B, C), published=frozenset()),
            failed(published="c", unpublished="ab"),
            done(Refused("broken", (C,), (A, B), (C, A), (B,))),
        ),
        "what failed is deleted already": (
            replace(ONLY_B_LEFT, publishing=(A, B, C), published=frozenset()),
            failed(published="b", unpublished="ac"),
            same(State.ACTIVE, replace(ONLY_B_LEFT, published=ids("b"))),
        ),
        "what failed is deleted already, and what is due is asked for now": (
            replace(D_IS_DUE, outstanding=ids("bcd"), deleted=(gone("a"),)),
            failed(published="bc", unpublished="a"),
            Step(
                State.ACTIVE,
                replace(
                    D_IS_DUE,
                    outstanding=ids("bcd"),
                    deleted=(gone("a"),),
                    publishing=(D,),
                    due=frozenset(),
                    published=ids("bc"),
                    handed_over=True,
                ),
                (PublishRequests(MINE, (D,)),),
            ),
        ),
        "what failed has come back meanwhile and is asked for once more": (
            replace(ACTIVE, due=ids("b")),
            failed(published="ac", unpublished="b"),
            Step(
                State.ACTIVE,
                replace(ACTIVE, publishing=(B,), published=ids("ac"), handed_over=True),
                (PublishRequests(MINE, (B,)),),
            ),
        ),
        "nothing handed over is a 503, whatever is due": (
            D_IS_DUE,
            failed(unpublished="abc", handed_over=False),
            done(Unavailable("kafka-unreachable", "broken")),
        ),
        "what is due is among the unpublished": (
            D_IS_DUE,
            failed(published="ab", unpublished="c"),
            done(Refused("broken", (A, B), (C, D), (), (A, B, C, D))),
        ),
        "no 503 for what was added once something was handed over": (
            replace(FOLLOWED, containers=(A, B, C, D), outstanding=ids("cd"), publishing=(D,)),
            failed(unpublished="d", handed_over=False),
            done(Refused("broken", (A, B, C), (D,), (A, B), (C, D))),
        ),
        "a 502 at once, and what is not settled is named": (
            A_GONE,
            failed(published="a", unpublished="b", unacknowledged="c"),
            done(Refused("broken", (A,), (B,), (A,), (B, C), (C,))),
        ),
        "what is due is not sent, and what is not settled is not acknowledged": (
            D_IS_DUE,
            failed(unpublished="b", unacknowledged="ac"),
            done(Refused("broken", (), (B, D), (), (A, B, C, D), (A, C))),
        ),
        "what failed is deleted already, and the others are still on their way": (
            replace(A_GONE, due=ids("d"), outstanding=ids("bcd"), containers=(A, B, C, D)),
            failed(published="b", unpublished="a", unacknowledged="c"),
            same(
                State.ACTIVE,
                replace(
                    A_GONE,
                    due=ids("d"),
                    outstanding=ids("bcd"),
                    containers=(A, B, C, D),
                    published=ids("b"),
                    handed_over=True,
                ),
            ),
        ),
        "of an earlier takedown": (
            ACTIVE,
            failed(unpublished="abc", tid=EARLIER),
            same(State.ACTIVE, ACTIVE),
        ),
        "of an earlier takedown, nothing handed over": (
            ACTIVE,
            failed(unpublished="abc", handed_over=False, tid=EARLIER),
            same(State.ACTIVE, ACTIVE),
        ),
    },
    (State.ACTIVE, DeadlinePassed): {
        "504 with nothing deleted": (
            ACTIVE,
            DeadlinePassed(TID),
            done(TimedOut((), (A, B, C))),
        ),
        "504 with what is deleted and what is not": (
            ONLY_B_LEFT,
            DeadlinePassed(TID),
            done(TimedOut((C, A), (B,))),
        ),
        "504 without evidence": (
            CONFIRMED,
            DeadlinePassed(TID),
            done(TimedOut((A, B), (), proven=False)),
        ),
        "504 in doubt": (
            replace(CONFIRMED, doubted=True, proven=True),
            DeadlinePassed(TID),
            done(TimedOut((A, B), (), doubted=True)),
        ),
        "503 without evidence for an item that may be nowhere: nothing was published": (
            NOWHERE,
            DeadlinePassed(TID),
            done(
                Unavailable(
                    "not-ready",
                    "It could not be shown in time that the list of the item's containers is the "
                    "newest",
                )
            ),
        ),
        "503 in doubt for an item that may be nowhere": (
            replace(NOWHERE, doubted=True),
            DeadlinePassed(TID),
            done(Unavailable("item-in-doubt", "The newest record of the item cannot be read")),
        ),
    },
    (State.ACTIVE, ContainersFound): ignored(
        State.ACTIVE, ACTIVE, ContainersFound(EARLIER, (A,)), ContainersFound(EARLIER, ())
    ),
    (State.ACTIVE, ItemUnknown): ignored(State.ACTIVE, ACTIVE, ItemUnknown(EARLIER)),
    (State.ACTIVE, CatalogueUnavailable): ignored(
        State.ACTIVE, ACTIVE, CatalogueUnavailable(EARLIER, "behind")
    ),
}
