"""State machines as data, with a pure transition function.

Rules
-----
1. A machine is one literal table: for each (state, type of event) at most one row. A row names
   the states it may lead to and the types of effect it may ask for.
2. `Machine.transition` is pure: `(state, data, event) -> Step(state, data, effects)`. It does
   no I/O and reads no clock. What is to be done in the world is in `effects`, and whoever runs
   the machine does it.
3. The table is checked when it is built, which is at import: rows given twice, states that
   cannot be reached or left, and effects outside the machine's closed set raise `BadMachine`.
4. An event that a state has no row for raises `IllegalTransition`, and nothing has changed.
   What may be ignored is ignored by a row: always (`ignore`), with the reason beside it, or where
   the event belongs to something earlier (`accepts`).
5. State is the label, data is what belongs to that state; each state says which type of data it
   has, and a step that pairs them wrongly raises `BadStep`.

So a machine can be explored exhaustively, replayed, drawn, and resumed from (state, data).
The vocabulary is that of Akka's FSM and Erlang's gen_statem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from msgspec import Struct

S = TypeVar("S", bound=Enum)
D = TypeVar("D")


class Label(Enum):
    """A state's label. Members are single objects and are hashed as such.

    `Enum` hashes a member's name, in Python, and a table is looked into for each event.
    """

    __hash__ = object.__hash__


class Effect(Struct, frozen=True):
    """Something a transition asks its runner to do. Subclasses are small and frozen."""


class StartTimer(Effect, frozen=True):
    """Send `event` to this machine at `at`, seconds of the loop's clock.

    A timer of the same name is replaced, and then never arrives any more.
    """

    name: str
    at: float
    event: Any


class CancelTimer(Effect, frozen=True):
    """Make sure that the timer of this name never arrives; there need be none."""

    name: str


class StateTimeout(Struct, frozen=True):
    """The machine has been in one state for longer than its `timeouts` allow."""


class BadMachine(Exception):
    """A table that makes no sense; raised when it is built."""


class BadStep(Exception):
    """An action returned what its row does not declare."""


class IllegalTransition(Exception):
    """The machine has no row for this event in this state. Nothing has changed."""

    def __init__(self, machine: str, state: Enum, event: object) -> None:
        super().__init__(f"{machine} in state {state.name} does not take {event!r}")
        self.machine = machine
        self.state = state
        self.event = event


class Step(Struct, Generic[S, D], frozen=True):
    """Where a transition leads: the new state, its data, and what is to be done, in order."""

    state: S
    data: D
    effects: tuple[Effect, ...] = ()


Action = Callable[[Any, Any], Step[Any, Any]]
Guard = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Row(Generic[S]):
    """What one state does on one type of event.

    Attributes:
        state: the state; None in `Machine.when_unhandled` means every state without own row.
        event: the exact type of the event.
        action: `(data, event) -> Step`, pure.
        to: each state it may lead to, with the condition for it in words (empty: always).
        emits: the types of effect it may ask for.
        why: for rows that ignore the event: the reason.
        accepts: `(data, event) -> bool`, pure: an event that it does not accept changes nothing,
            as one that belongs to something earlier; None: every event is accepted.
    """

    state: S | None
    event: type
    action: Action
    to: Mapping[S, str]
    emits: tuple[type[Effect], ...] = ()
    why: str = ""
    accepts: Guard | None = None


def ignore(state: S, *events: type, why: str) -> tuple[Row[S], ...]:
    """Rows that take `events` in `state` and do nothing, because of `why`."""

    def stay(data: Any, _event: object) -> Step[S, Any]:
        return Step(state, data)

    return tuple(Row(state, event, stay, {state: ""}, why=why) for event in events)


@dataclass(frozen=True)
class Machine(Generic[S, D]):
    """A validated state machine.

    Args:
        name: what people call it.
        data: every state, with the type of its data.
        initial: where it begins.
        effects: the closed set of effects that its rows may ask for.
        rows: the table.
        when_unhandled: rows for every state that has no row of its own for the event.
        final: states that are not left again; the actor stops there.
        timeouts: seconds after which a state gets a `StateTimeout`, unless it is left before.
        on_termination: the effects that put the world in order when the actor stops, fails or
            is restarted in the given state with the given data.

    Raises:
        BadMachine: the table makes no sense.
    """

    name: str
    data: Mapping[S, type[Any] | tuple[type[Any], ...]]
    initial: Step[S, D]
    effects: tuple[type[Effect], ...]
    rows: tuple[Row[S], ...]
    when_unhandled: tuple[Row[S], ...] = ()
    final: frozenset[S] = frozenset()
    timeouts: Mapping[S, float] = field(default_factory=dict)
    on_termination: Callable[[S, D], tuple[Effect, ...]] | None = None
    table: Mapping[tuple[S, type], Row[S]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _build(self))
        _validate(self)

    @property
    def states(self) -> tuple[S, ...]:
        """Every state, in the order of the declaration."""
        return tuple(self.data)

    @property
    def events(self) -> tuple[type, ...]:
        """Every type of event that some state takes, in the order of the table."""
        return tuple(dict.fromkeys(event for _, event in self.table))

    def transition(self, state: S, data: D, event: object) -> Step[S, D]:
        """What `event` leads to. Pure.

        Raises:
            IllegalTransition: the state has no row for it.
            BadStep: the row's action broke the row's own declaration.
        """
        row = self.table.get((state, type(event)))
        if row is None:
            raise IllegalTransition(self.name, state, event)
        if row.accepts is not None and not row.accepts(data, event):
            return Step(state, data)
        step = row.action(data, event)
        target, emits = step.state, row.emits
        if target not in row.to:
            raise BadStep(f"{self.at(row)} led to {target.name}, which it does not declare")
        if not isinstance(step.data, self.data[target]):
            raise BadStep(f"{self.at(row)} paired {target.name} with {step.data!r}")
        for effect in step.effects:
            if type(effect) not in emits:
                raise BadStep(f"{self.at(row)} asked for {effect!r}, which it does not declare")
        return step

    def at(self, row: Row[S]) -> str:
        """A row's place in the table, for messages."""
        state = row.state.name if row.state is not None else "(any)"
        return f"{self.name}: row {state} + {row.event.__name__}"


def _build(machine: Machine[S, Any]) -> dict[tuple[S, type], Row[S]]:
    table: dict[tuple[S, type], Row[S]] = {}
    for row in machine.rows:
        if row.state is None:
            raise BadMachine(f"{machine.at(row)} needs a state")
        if (row.state, row.event) in table:
            raise BadMachine(f"{machine.at(row)} is given twice")
        table[row.state, row.event] = row
    seen: set[type] = set()
    for row in machine.when_unhandled:
        if row.state is not None or row.event in seen:
            raise BadMachine(f"{machine.at(row)} is given twice, or names a state")
        seen.add(row.event)
        for state in machine.data:
            if state not in machine.final:
                table.setdefault((state, row.event), row)
    return table


def _validate(machine: Machine[S, Any]) -> None:
    def bad(problem: str) -> BadMachine:
        return BadMachine(f"{machine.name}: {problem}")

    _require_known_states(machine, bad)
    _require_known_effects(machine, bad)
    leaving: dict[S, set[S]] = {state: set() for state in machine.data}
    for (state, event), row in machine.table.items():
        if state in machine.final:
            raise bad(f"final state {state.name} has a row for {event.__name__}")
        if row.accepts is not None and state not in row.to:
            raise bad(f"{state.name} + {event.__name__} may stay, which it does not declare")
        leaving[state] |= set(row.to)
    for state, targets in leaving.items():
        if state not in machine.final and not targets - {state}:
            raise bad(f"{state.name} has no way out and is not final")
    reached = _reachable(machine.initial.state, leaving)
    if lost := [state.name for state in machine.data if state not in reached]:
        raise bad(f"unreachable: {', '.join(lost)}")
    for state in machine.timeouts:
        if (state, StateTimeout) not in machine.table:
            raise bad(f"{state.name} has a timeout and no row for StateTimeout")


def _require_known_states(machine: Machine[S, Any], bad: Callable[[str], BadMachine]) -> None:
    named: list[S] = [machine.initial.state, *machine.final, *machine.timeouts]
    for row in (*machine.rows, *machine.when_unhandled):
        named += [*row.to, *([] if row.state is None else [row.state])]
        if not row.to:
            raise bad(f"{row.event.__name__} leads nowhere")
    for state in named:
        if state not in machine.data:
            raise bad(f"{state} is not among its states")
    if not isinstance(machine.initial.data, machine.data[machine.initial.state]):
        raise bad("the initial data is not of the initial state's type")


def _require_known_effects(machine: Machine[S, Any], bad: Callable[[str], BadMachine]) -> None:
    closed = frozenset(machine.effects)
    if foreign := [type(e).__name__ for e in machine.initial.effects if type(e) not in closed]:
        raise bad(f"the initial step asks for unknown {', '.join(foreign)}")
    for (state, event), row in machine.table.items():
        if unknown := [effect.__name__ for effect in row.emits if effect not in closed]:
            raise bad(f"{state.name} + {event.__name__} emits unknown {', '.join(unknown)}")


def _reachable(start: S, leaving: Mapping[S, Iterable[S]]) -> set[S]:
    reached = {start}
    waiting = [start]
    while waiting:
        for state in leaving[waiting.pop()]:
            if state not in reached:
                reached.add(state)
                waiting.append(state)
    return reached
