"""What the ItemCensor's table must lead to in Active."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from actors.censor_parts import (
    PublishRequests,
    State,
    SubscribeToDeletions,
)
from actors.fsm import Step
from messages import (
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    ItemDeleted,
    ItemListed,
    ItemUnknown,
    PublishFailed,
    Refused,
    RequestsPublished,
    TimedOut,
    Unavailable,
)
from support.censor_cases import (
    A_GONE,
    ACTIVE,
    D_IS_DUE,
    EARLIER,
    FOLLOWED,
    IDS,
    MINE,
    ONLY_B_LEFT,
    TID,
    A,
    B,
    C,
    Cases,
    D,
    done,
    failed,
    ids,
    ignored,
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
            same(State.ACTIVE, replace(FOLLOWED, vanished=frozenset())),
        ),
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
                    deleted=(gone("a", after=3), gone("c", after=3)),
                    vanished=ids("ac"),
                    listed_at=T0 + timedelta(seconds=3),
                ),
            ),
        ),
        "a tombstone leaves nothing: 200": (
            A_GONE,
            listed(after=3),
            done(Deleted((gone("a"), gone("b", after=3), gone("c", after=3)))),
        ),
        "a list of what has confirmed leaves nothing either": (
            ONLY_B_LEFT,
            listed("a", "c", after=3),
            done(Deleted((gone("c"), gone("a"), gone("b", after=3)))),
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
                    deleted=(gone("a"), gone("b", after=2), gone("c", after=3)),
                    vanished=ids("bc"),
                    publishing=(D,),
                    listed_at=T0 + timedelta(seconds=3),
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
            done(Deleted((gone("a"), gone("b", after=2), gone("c", after=1.9991)))),
        ),
        "what an older list has is asked for all the same, and its time is not taken": (
            FOLLOWED,
            listed("d", after=1),
            Step(
                State.ACTIVE,
                replace(FOLLOWED, containers=(A, B, C, D), outstanding=ids("cd"), publishing=(D,)),
                (SubscribeToDeletions(MINE.item_id, (D,)), PublishRequests(MINE, (D,))),
            ),
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
    },
    (State.ACTIVE, ContainersFound): ignored(
        State.ACTIVE, ACTIVE, ContainersFound(EARLIER, (A,)), ContainersFound(EARLIER, ())
    ),
    (State.ACTIVE, ItemUnknown): ignored(State.ACTIVE, ACTIVE, ItemUnknown(EARLIER)),
    (State.ACTIVE, CatalogueUnavailable): ignored(
        State.ACTIVE, ACTIVE, CatalogueUnavailable(EARLIER, "behind")
    ),
}
