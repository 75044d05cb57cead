"""A machine's table is checked when it is built, and its transitions are pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.door import (
    DOOR,
    ROWS,
    Alarm,
    Break,
    Door,
    Key,
    Knock,
    Lock,
    Pull,
    Push,
    Rubble,
    Say,
    TearDown,
    Unheard,
    Unlock,
    Uses,
)

from actors.fsm.machine import (
    BadMachine,
    BadStep,
    CancelTimer,
    IllegalTransition,
    Machine,
    Row,
    StartTimer,
    StateTimeout,
    Step,
    ignore,
)

Fields = dict[str, Any]


def stay(data: Any, _event: object) -> Step[Door, Any]:
    return Step(Door.CLOSED, data)


def never(_data: Any, _event: object) -> bool:
    return False


def two_states(**changes: Any) -> Machine[Door, Any]:
    """A sound machine of two states, with changes that may make it unsound."""
    fields: Fields = {
        "name": "Two",
        "data": {Door.CLOSED: Uses, Door.OPEN: Uses},
        "initial": Step(Door.CLOSED, Uses()),
        "effects": (Say,),
        "rows": (
            Row(Door.CLOSED, Push, stay, {Door.OPEN: ""}, (Say,)),
            Row(Door.OPEN, Pull, stay, {Door.CLOSED: ""}),
        ),
    }
    return Machine(**(fields | changes))


def more_rows(*rows: Row[Door]) -> tuple[Row[Door], ...]:
    return (*two_states().rows, *rows)


UNSOUND: dict[str, tuple[Fields, str]] = {
    "a row given twice": (
        {"rows": more_rows(Row(Door.CLOSED, Push, stay, {Door.CLOSED: ""}))},
        r"Two: row CLOSED \+ Push is given twice",
    ),
    "a row without a state": (
        {"rows": more_rows(Row(None, Lock, stay, {Door.CLOSED: ""}))},
        r"Two: row \(any\) \+ Lock needs a state",
    ),
    "an unhandled row with a state": (
        {"when_unhandled": (Row(Door.CLOSED, Lock, stay, {Door.CLOSED: ""}),)},
        "row CLOSED . Lock is given twice, or names a state",
    ),
    "an unhandled row given twice": (
        {
            "when_unhandled": (
                Row(None, Lock, stay, {Door.CLOSED: ""}),
                Row(None, Lock, stay, {Door.OPEN: ""}),
            )
        },
        "is given twice",
    ),
    "an unreachable state": (
        {
            "data": {Door.CLOSED: Uses, Door.OPEN: Uses, Door.LOCKED: Key},
            "rows": more_rows(Row(Door.LOCKED, Unlock, stay, {Door.CLOSED: ""})),
        },
        "unreachable: LOCKED",
    ),
    "a state without a way out": (
        {"rows": (Row(Door.CLOSED, Push, stay, {Door.OPEN: ""}),)},
        "OPEN has no way out and is not final",
    ),
    "a state that only leads to itself": (
        {
            "rows": (
                Row(Door.CLOSED, Push, stay, {Door.OPEN: ""}),
                Row(Door.OPEN, Push, stay, {Door.OPEN: ""}),
            )
        },
        "OPEN has no way out",
    ),
    "an effect outside the closed set": (
        {"rows": more_rows(Row(Door.CLOSED, Lock, stay, {Door.OPEN: ""}, (Say, Unheard)))},
        "CLOSED . Lock emits unknown Unheard",
    ),
    "an initial effect outside the closed set": (
        {"initial": Step(Door.CLOSED, Uses(), (Unheard(),))},
        "the initial step asks for unknown Unheard",
    ),
    "an unhandled row with an effect outside the closed set": (
        {"when_unhandled": (Row(None, Lock, stay, {Door.CLOSED: ""}, (Unheard,)),)},
        "emits unknown Unheard",
    ),
    "a row of an unknown state": (
        {"rows": more_rows(Row(Door.LOCKED, Unlock, stay, {Door.CLOSED: ""}))},
        "LOCKED is not among its states",
    ),
    "a row to an unknown state": (
        {"rows": more_rows(Row(Door.CLOSED, Lock, stay, {Door.LOCKED: ""}))},
        "LOCKED is not among its states",
    ),
    "a row that leads nowhere": (
        {"rows": more_rows(Row(Door.CLOSED, Lock, stay, {}))},
        "Lock leads nowhere",
    ),
    "a row that may not accept its event and does not declare that it stays": (
        {"rows": more_rows(Row(Door.CLOSED, Lock, stay, {Door.OPEN: ""}, accepts=never))},
        "CLOSED \\+ Lock may stay, which it does not declare",
    ),
    "an unknown initial state": (
        {"initial": Step(Door.LOCKED, Key(1))},
        "LOCKED is not among its states",
    ),
    "initial data of the wrong type": (
        {"initial": Step(Door.CLOSED, Key(1))},
        "initial data is not of the initial state's type",
    ),
    "an unknown final state": (
        {"final": frozenset({Door.GONE})},
        "GONE is not among its states",
    ),
    "a final state with a row": (
        {"final": frozenset({Door.OPEN})},
        "final state OPEN has a row for Pull",
    ),
    "a timeout of an unknown state": (
        {"timeouts": {Door.LOCKED: 1.0}},
        "LOCKED is not among its states",
    ),
    "a timeout without a row for it": (
        {"timeouts": {Door.OPEN: 1.0}},
        "OPEN has a timeout and no row for StateTimeout",
    ),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_table_is_refused_when_it_is_built(what: str) -> None:
    changes, problem = UNSOUND[what]
    with pytest.raises(BadMachine, match=problem) as raised:
        two_states(**changes)
    assert str(raised.value).startswith("Two:")


def test_the_sound_table_that_the_unsound_ones_are_made_of_is_accepted() -> None:
    assert set(two_states().table) == {(Door.CLOSED, Push), (Door.OPEN, Pull)}


@pytest.mark.parametrize("accepted", [False, True])
def test_an_event_that_its_row_does_not_accept_changes_nothing(accepted: bool) -> None:
    asked: list[tuple[Any, object]] = []

    def accepts(data: Any, event: object) -> bool:
        asked.append((data, event))
        return accepted

    row = Row(
        Door.CLOSED,
        Lock,
        lambda data, _event: Step(Door.OPEN, data, (Say("locked"),)),
        {Door.OPEN: "", Door.CLOSED: "for another door"},
        (Say,),
        accepts=accepts,
    )
    machine, data, event = two_states(rows=more_rows(row)), Uses(), Lock(1)
    step = machine.transition(Door.CLOSED, data, event)
    assert asked == [(data, event)]
    assert step == (
        Step(Door.OPEN, data, (Say("locked"),)) if accepted else Step(Door.CLOSED, data)
    )


def test_a_final_state_needs_no_way_out_and_takes_no_event() -> None:
    assert not [event for state, event in DOOR.table if state is Door.GONE]
    with pytest.raises(IllegalTransition):
        DOOR.transition(Door.GONE, Rubble(), TearDown())


def test_rows_for_any_state_are_expanded_to_every_state_that_is_not_final() -> None:
    assert {state for state, event in DOOR.table if event is TearDown} == {
        Door.CLOSED,
        Door.OPEN,
        Door.LOCKED,
    }


def test_a_states_own_row_takes_precedence_over_the_row_for_any_state() -> None:
    own = ignore(Door.OPEN, TearDown, why="held open")
    machine = replace(DOOR, rows=(*ROWS, *own))
    assert machine.table[Door.OPEN, TearDown] is own[0]
    assert machine.transition(Door.OPEN, Uses(), TearDown()).state is Door.OPEN
    assert machine.transition(Door.CLOSED, Uses(), TearDown()).state is Door.GONE


def test_a_timeout_may_be_taken_by_a_row_for_any_state() -> None:
    anywhere = Row(None, StateTimeout, stay, {Door.CLOSED: ""})
    machine = two_states(timeouts={Door.OPEN: 1.0}, when_unhandled=(anywhere,))
    assert (Door.OPEN, StateTimeout) in machine.table


def test_a_machine_lists_its_states_and_events() -> None:
    assert DOOR.states == (Door.CLOSED, Door.OPEN, Door.LOCKED, Door.GONE)
    assert DOOR.events == (
        Push,
        Lock,
        Break,
        Pull,
        StateTimeout,
        Knock,
        Unlock,
        Alarm,
        TearDown,
    )


def test_a_transition_gives_state_data_and_effects_in_order() -> None:
    assert DOOR.transition(Door.CLOSED, Uses(4), Push()) == Step(
        Door.OPEN, Uses(5), (Say("creak"), Say("draught"))
    )


def test_a_transition_is_pure() -> None:
    data = Uses(4)
    first = DOOR.transition(Door.CLOSED, data, Push())
    second = DOOR.transition(Door.CLOSED, data, Push())
    assert first == second
    assert data == Uses(4)
    assert DOOR.initial.state is Door.CLOSED


def test_a_row_may_lead_to_one_of_several_states() -> None:
    assert DOOR.transition(Door.LOCKED, Key(7), Unlock(8)).state is Door.LOCKED
    assert DOOR.transition(Door.LOCKED, Key(7), Unlock(7)).state is Door.CLOSED


def test_an_ignored_event_changes_nothing_and_says_why() -> None:
    assert DOOR.transition(Door.OPEN, Uses(2), Knock()) == Step(Door.OPEN, Uses(2))
    assert DOOR.table[Door.OPEN, Knock].why == "it is open"
    assert DOOR.table[Door.OPEN, Knock].emits == ()


def test_an_event_without_a_row_names_machine_state_and_event() -> None:
    with pytest.raises(IllegalTransition) as raised:
        DOOR.transition(Door.LOCKED, Key(7), Push())
    assert str(raised.value) == "Door in state LOCKED does not take Push()"
    assert (raised.value.machine, raised.value.state) == ("Door", Door.LOCKED)
    assert raised.value.event == Push()


def test_an_event_counts_by_its_exact_type() -> None:
    class Shove(Push, frozen=True):
        pass

    with pytest.raises(IllegalTransition):
        DOOR.transition(Door.CLOSED, Uses(), Shove())


BAD_STEPS: dict[str, tuple[Step[Door, Any], str]] = {
    "an undeclared state": (
        Step(Door.LOCKED, Key(1)),
        "Two: row CLOSED . Push led to LOCKED, which it does not declare",
    ),
    "a declared state with another's data": (
        Step(Door.OPEN, Key(1)),
        r"paired OPEN with Key\(code=1\)",
    ),
    "an undeclared effect": (
        Step(Door.OPEN, Uses(), (Say("x"), CancelTimer("t"))),
        r"asked for CancelTimer\(name='t'\), which it does not declare",
    ),
}


@pytest.mark.parametrize("what", BAD_STEPS)
def test_an_action_that_breaks_its_rows_declaration_is_a_bad_step(what: str) -> None:
    step, problem = BAD_STEPS[what]
    machine = two_states(
        data={Door.CLOSED: Uses, Door.OPEN: Uses, Door.LOCKED: Key},
        effects=(Say, StartTimer, CancelTimer),
        rows=(
            Row(Door.CLOSED, Push, lambda _data, _event: step, {Door.OPEN: ""}, (Say,)),
            Row(Door.OPEN, Pull, stay, {Door.CLOSED: ""}),
            Row(Door.OPEN, Lock, stay, {Door.LOCKED: ""}),
            Row(Door.LOCKED, Unlock, stay, {Door.CLOSED: ""}),
        ),
    )
    with pytest.raises(BadStep, match=problem):
        machine.transition(Door.CLOSED, Uses(), Push())


def test_a_state_may_have_one_of_several_types_of_data() -> None:
    machine = two_states(
        data={Door.CLOSED: (Uses, Key), Door.OPEN: Uses},
        rows=(
            Row(Door.CLOSED, Push, lambda _d, _e: Step(Door.OPEN, Uses()), {Door.OPEN: ""}),
            Row(Door.OPEN, Pull, lambda _d, _e: Step(Door.CLOSED, Key(1)), {Door.CLOSED: ""}),
        ),
    )
    assert machine.transition(Door.OPEN, Uses(), Pull()).data == Key(1)
    assert machine.transition(Door.CLOSED, Key(1), Push()).data == Uses()
