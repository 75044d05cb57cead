"""Every row of the ItemCensor's table, and every pair that the table does not have."""

from __future__ import annotations

from typing import Any

import pytest
from support.censor_cases import (
    A_GONE,
    BEFORE_ACTIVE,
    BEGIN,
    LOCATING,
    MINE,
    NONE,
    ONLY_B_LEFT,
    TID,
    A,
    failed,
)
from support.censor_cases_confirming import CONFIRMING
from support.censor_cases_ending import ENDING
from support.censor_cases_following import FOLLOWING
from support.censor_cases_publishing import PUBLISHING
from support.fakes import T0, deletion, gone, listed, places

from actors.fsm.machine import CancelTimer, IllegalTransition, StartTimer, StateTimeout, Step
from actors.item_censor.machine import ITEM_CENSOR, item_censor
from actors.item_censor.states import (
    DEADLINE,
    Answer,
    Data,
    FindContainers,
    FollowItem,
    ItemsToBeDeleted,
    Release,
    State,
    StopPublishing,
    UnsubscribeAll,
)
from domain.messages import (
    Begin,
    CatalogueCaughtUp,
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    Drain,
    Flush,
    ItemId,
    ItemInDoubt,
    ItemUnknown,
    NotFound,
    RequestsPublished,
    TakeDown,
)

EXPECTED = {**BEFORE_ACTIVE, **CONFIRMING, **FOLLOWING, **PUBLISHING, **ENDING}

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
    listed("b"),
    ItemInDoubt(MINE.item_id, T0),
    ContainersFound(TID, (A,)),
    CatalogueCaughtUp(TID),
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
    assert len(endings) == 33
    for step in endings:
        assert [type(effect) for effect in step.effects] == five
        *_, answer, release = step.effects
        assert answer.outcome == release.outcome
        assert release.takedown == MINE


def test_only_the_first_row_starts_a_timer_so_that_no_event_moves_the_deadline() -> None:
    starting = [pair for pair, row in ITEM_CENSOR.table.items() if StartTimer in row.emits]
    assert starting == [(State.IDLE, Begin)]


def test_one_that_does_not_follow_differs_in_its_first_row_alone_and_never_hears_of_a_list() -> (
    None
):
    unfollowing = item_censor(follow_changes=False)
    assert unfollowing.transition(State.IDLE, NONE, BEGIN) == Step(
        State.LOCATING,
        LOCATING,
        (StartTimer(DEADLINE, 110.0, DeadlinePassed(TID)), FindContainers(MINE)),
    )
    assert not any(FollowItem in row.emits for row in unfollowing.table.values())
    begin = (State.IDLE, Begin)
    for pair, cases in EXPECTED.items():
        for data, event, step in cases.values() if pair != begin else ():
            assert unfollowing.transition(pair[0], data, event) == step


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
