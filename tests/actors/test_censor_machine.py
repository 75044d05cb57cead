"""Every row of the ItemCensor's table, and every pair that the table does not have."""

from __future__ import annotations

from typing import Any

import pytest
from support.fakes import OTHER_ITEM, FakeReply, deletion, gone, place, places, takedown

from actors.censor_machine import (
    DEADLINE,
    ITEM_CENSOR,
    Answer,
    Data,
    FindContainers,
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
from actors.fsm import CancelTimer, Effect, IllegalTransition, StartTimer, StateTimeout, Step
from messages import (
    Begin,
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    Drain,
    Flush,
    ItemDeleted,
    ItemId,
    ItemUnknown,
    NotFound,
    Outcome,
    PublishFailed,
    Refused,
    RequestsPublished,
    TakeDown,
    TakedownId,
    TimedOut,
    Unavailable,
)

MINE = takedown(name="mine", now=100.0, seconds=10.0)
TID = MINE.takedown_id
EARLIER = TakedownId("earlier")
A, B, C = places("a", "b", "c")
IDS = frozenset(c.container_id for c in (A, B, C))

NONE = Uninitialized()
LOCATING = ItemToBeLocated(MINE)
ACTIVE = ItemsToBeDeleted(MINE, (A, B, C), IDS)
A_GONE = ItemsToBeDeleted(MINE, (A, B, C), IDS - {A.container_id}, (gone("a"),))
ONLY_B_LEFT = ItemsToBeDeleted(
    MINE, (A, B, C), frozenset({B.container_id}), (gone("c"), gone("a")), published=True
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
    *, unpublished: str, published: str = "", handed_over: bool = True, tid: TakedownId = TID
) -> PublishFailed:
    return PublishFailed(tid, "broken", handed_over, places(*published), places(*unpublished))


def ignored(state: State, data: Data, *events: Any) -> dict[str, tuple[Data, Any, Any]]:
    return {f"case {n}": (data, event, same(state, data)) for n, event in enumerate(events)}


Cases = dict[str, tuple[Data, Any, Any]]

LATE_FOUND = "The catalogue did not answer before the deadline; nothing was published"

# For each row of the table: what it is given, and the whole of what it must lead to.
EXPECTED: dict[tuple[State, type], Cases] = {
    # ------------------------------------------------------------------------------- Idle
    (State.IDLE, Begin): {
        "starts the one timer, then searches": (
            NONE,
            BEGIN,
            Step(
                State.LOCATING,
                LOCATING,
                (StartTimer(DEADLINE, 110.0, DeadlinePassed(TID)), FindContainers(MINE)),
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
    (State.LOCATING, ItemDeleted): ignored(State.LOCATING, LOCATING, deletion("a")),
    (State.LOCATING, RequestsPublished): ignored(
        State.LOCATING, LOCATING, RequestsPublished(EARLIER)
    ),
    (State.LOCATING, PublishFailed): ignored(
        State.LOCATING, LOCATING, failed(unpublished="a", tid=EARLIER)
    ),
    # ----------------------------------------------------------------------------- Active
    (State.ACTIVE, ItemDeleted): {
        "one of several": (ACTIVE, deletion("a"), same(State.ACTIVE, A_GONE)),
        "the last is a 200, in the order of the deletions": (
            ONLY_B_LEFT,
            deletion("b"),
            done(Deleted((gone("c"), gone("a"), gone("b")))),
        ),
        "a duplicate": (A_GONE, deletion("a"), same(State.ACTIVE, A_GONE)),
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
    (State.ACTIVE, RequestsPublished): {
        "remembered": (
            A_GONE,
            RequestsPublished(TID),
            same(
                State.ACTIVE,
                ItemsToBeDeleted(MINE, (A, B, C), A_GONE.outstanding, A_GONE.deleted, True),
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
            ONLY_B_LEFT,
            failed(published="c", unpublished="ab"),
            done(Refused("broken", (C,), (A, B), (C, A), (B,))),
        ),
        "what failed is deleted already": (
            ONLY_B_LEFT,
            failed(published="b", unpublished="ac"),
            same(State.ACTIVE, ONLY_B_LEFT),
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

DATA: dict[State, Data] = {
    State.IDLE: NONE,
    State.LOCATING: LOCATING,
    State.ACTIVE: A_GONE,
}

# One of each kind of message in the system, whether or not the machine has a row for it.
EVENTS: tuple[Any, ...] = (
    BEGIN,
    Flush(),
    deletion("b"),
    ContainersFound(TID, (A,)),
    ItemUnknown(TID),
    CatalogueUnavailable(TID, "behind"),
    DeadlinePassed(TID),
    RequestsPublished(TID),
    failed(unpublished="b"),
    Drain(),
    TakeDown(MINE),
    StateTimeout(),
    NotFound(),
    "text",
    None,
)

ABSENT = [
    (state, event)
    for state in State
    for event in EVENTS
    if (state, type(event)) not in ITEM_CENSOR.table
]


def test_every_row_of_the_table_is_expected_and_nothing_else() -> None:
    assert set(EXPECTED) == set(ITEM_CENSOR.table)
    assert all(EXPECTED.values())


def test_every_event_of_the_table_is_tried_in_every_state() -> None:
    assert set(ITEM_CENSOR.events) <= {type(event) for event in EVENTS}
    assert set(DATA) == set(State) == set(ITEM_CENSOR.states)
    assert len(ABSENT) == len(State) * len(EVENTS) - len(ITEM_CENSOR.table)


def test_the_cases_of_each_row_lead_to_each_state_that_the_row_declares() -> None:
    for pair, row in ITEM_CENSOR.table.items():
        assert {step.state for _, _, step in EXPECTED[pair].values()} == set(row.to), pair


def test_the_cases_of_each_row_ask_for_each_effect_that_the_row_declares() -> None:
    for pair, row in ITEM_CENSOR.table.items():
        asked = {type(effect) for _, _, step in EXPECTED[pair].values() for effect in step.effects}
        assert asked == set(row.emits), pair


@pytest.mark.parametrize(
    ("state", "data", "event", "expected"),
    [
        pytest.param(state, data, event, step, id=f"{state.value} + {kind.__name__}: {case}")
        for (state, kind), cases in EXPECTED.items()
        for case, (data, event, step) in cases.items()
    ],
)
def test_a_row_leads_to_exactly_this(
    state: State, data: Data, event: Any, expected: Step[State, Data]
) -> None:
    assert ITEM_CENSOR.transition(state, data, event) == expected


@pytest.mark.parametrize(
    ("state", "event"),
    [pytest.param(s, e, id=f"{s.value} + {type(e).__name__}") for s, e in ABSENT],
)
def test_a_pair_that_the_table_does_not_have_raises_and_names_it(state: State, event: Any) -> None:
    with pytest.raises(IllegalTransition) as raised:
        ITEM_CENSOR.transition(state, DATA[state], event)
    assert (raised.value.machine, raised.value.state) == ("ItemCensor", state)
    assert raised.value.event is event
    assert f"ItemCensor in state {state.name} does not take" in str(raised.value)


def test_whatever_ends_a_takedown_does_the_same_five_things_in_the_same_order() -> None:
    five = [CancelTimer, StopPublishing, UnsubscribeAll, Answer, Release]
    endings = [
        step
        for (state, _), cases in EXPECTED.items()
        for _, _, step in cases.values()
        if state is not State.IDLE and step.state is State.IDLE
    ]
    assert len(endings) == 11
    for step in endings:
        assert [type(effect) for effect in step.effects] == five
        *_, answer, release = step.effects
        assert answer.outcome == release.outcome
        assert release.takedown == MINE


def test_only_the_first_row_starts_a_timer_so_that_no_event_moves_the_deadline() -> None:
    starting = [pair for pair, row in ITEM_CENSOR.table.items() if StartTimer in row.emits]
    assert starting == [(State.IDLE, Begin)]


def test_only_what_ends_a_takedown_answers_the_caller() -> None:
    for (state, kind), row in ITEM_CENSOR.table.items():
        if Answer in row.emits:
            assert State.IDLE in row.to, (state, kind)
            assert state is not State.IDLE


@pytest.mark.parametrize("state", State)
def test_an_end_by_stop_or_failure_leaves_nothing_on_the_bus_or_in_the_producer(
    state: State,
) -> None:
    assert ITEM_CENSOR.on_termination is not None
    assert ITEM_CENSOR.on_termination(state, DATA[state]) == (StopPublishing(), UnsubscribeAll())


def test_the_lists_are_in_the_catalogues_order_and_in_the_deletions_order() -> None:
    data = ItemsToBeDeleted(
        MINE,
        places(*"edcba"),
        frozenset(c.container_id for c in places(*"abe")),
        (gone("c"), gone("d")),
    )
    assert data.still_outstanding() == places(*"eba")
    assert data.already_deleted() == places(*"cd")


def test_an_item_id_in_a_deletion_must_be_the_canonical_one() -> None:
    """The codec makes it canonical; the machine compares text."""
    upper = deletion("b", ItemId(MINE.item_id.replace("1", "A")))
    assert ITEM_CENSOR.transition(State.ACTIVE, ONLY_B_LEFT, upper).data == ONLY_B_LEFT
