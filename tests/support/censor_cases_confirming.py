"""What the ItemCensor's table must lead to in Active, for deletions and evidence."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.states import (
    ReportStaleDeletion,
    State,
)
from domain.messages import (
    CatalogueCaughtUp,
    Deleted,
    ItemDeleted,
    ItemInDoubt,
    NotFound,
)
from support.censor_cases import (
    A_GONE,
    ACTIVE,
    CONFIRMED,
    EARLIER,
    FIRST,
    FOLLOWED,
    LAST,
    MINE,
    NOWHERE,
    ONLY_B_LEFT,
    TID,
    UNPROVEN,
    B,
    Cases,
    done,
    ids,
    named,
    same,
)
from support.fakes import (
    OTHER_ITEM,
    T0,
    deletion,
    gone,
)

IN_DOUBT = ItemInDoubt(MINE.item_id, T0)
KNOWN_SINCE_5 = replace(ONLY_B_LEFT, listed_at=T0 + timedelta(seconds=5))


def stale(name: str, *, after: float = 0.0, listed: float) -> ReportStaleDeletion:
    return ReportStaleDeletion(TID, deletion(name, after=after), T0 + timedelta(seconds=listed))


CONFIRMING: dict[tuple[State, type], Cases] = {
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
}
