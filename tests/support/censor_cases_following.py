"""What the ItemCensor's table must lead to in Active, for newer lists."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.states import (
    GiveWay,
    PublishRequests,
    State,
    SubscribeToDeletions,
)
from domain.messages import (
    Deleted,
    ItemListed,
)
from support.censor_cases import (
    A_GONE,
    ACTIVE,
    CONFIRMED,
    D_IS_DUE,
    FIRST,
    FOLLOWED,
    IDS,
    LAST,
    MINE,
    NOWHERE,
    ONLY_B_LEFT,
    UNPROVEN,
    A,
    B,
    C,
    Cases,
    D,
    done,
    ids,
    named,
    same,
)
from support.fakes import (
    OTHER_ITEM,
    T0,
    gone,
    listed,
    place,
)

TWO_LEFT = replace(
    FOLLOWED, outstanding=ids("bc"), deleted=(gone("a"),), vanished=frozenset(), published=IDS
)

FOLLOWING: dict[tuple[State, type], Cases] = {
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
}
