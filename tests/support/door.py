"""A small machine to test the kit with: a door that can be locked, and be torn down."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct

from actors.fsm.actor import MachineActor
from actors.fsm.machine import (
    CancelTimer,
    Effect,
    Machine,
    Row,
    StartTimer,
    StateTimeout,
    Step,
    ignore,
)
from actors.fsm.transitions import TransitionFeed
from actors.runtime.actor import Supervisor
from actors.runtime.ref import LoopActorRef


class Door(Enum):
    CLOSED = "Closed"
    OPEN = "Open"
    LOCKED = "Locked"
    GONE = "Gone"


class Uses(Struct, frozen=True):
    count: int = 0


class Key(Struct, frozen=True):
    code: int


class Rubble(Struct, frozen=True):
    pass


class Push(Struct, frozen=True):
    pass


class Pull(Struct, frozen=True):
    pass


class Lock(Struct, frozen=True):
    code: int


class Unlock(Struct, frozen=True):
    code: int


class Alarm(Struct, frozen=True):
    name: str


class TearDown(Struct, frozen=True):
    pass


class Knock(Struct, frozen=True):
    pass


class Break(Struct, frozen=True):
    """Its effect raises."""


class Say(Effect, frozen=True):
    text: str


class Raise(Effect, frozen=True):
    event: Any


class Fail(Effect, frozen=True):
    pass


class Unheard(Effect, frozen=True):
    """An effect that the door's actor cannot carry out."""


def _open(data: Uses, _event: Push) -> Step[Door, Any]:
    return Step(Door.OPEN, Uses(data.count + 1), (Say("creak"), Say("draught")))


def _close(data: Uses, _event: object) -> Step[Door, Any]:
    return Step(Door.CLOSED, data, (Say("slam"),))


def _lock(_data: Uses, event: Lock) -> Step[Door, Any]:
    alarm = StartTimer("alarm", 100.0, Alarm("late"))
    return Step(Door.LOCKED, Key(event.code), (Say("click"), alarm))


def _unlock(data: Key, event: Unlock) -> Step[Door, Any]:
    if event.code != data.code:
        return Step(Door.LOCKED, data, (Say("no"),))
    return Step(Door.CLOSED, Uses(), (CancelTimer("alarm"), Raise(Push()), Say("yes")))


def _ring(data: Key, event: Alarm) -> Step[Door, Any]:
    return Step(Door.LOCKED, data, (Say(f"alarm {event.name}"),))


def _gone(_data: object, _event: TearDown) -> Step[Door, Any]:
    return Step(Door.GONE, Rubble(), (Say("crash"),))


def _break(data: Uses, _event: Break) -> Step[Door, Any]:
    return Step(Door.CLOSED, data, (Say("crack"), Raise(Push()), Fail(), Say("never said")))


def _last_words(state: Door, _data: Any) -> tuple[Effect, ...]:
    return (Say(f"ended in {state.value}"),)


ROWS = (
    Row(Door.CLOSED, Push, _open, {Door.OPEN: ""}, (Say,)),
    Row(Door.CLOSED, Lock, _lock, {Door.LOCKED: ""}, (Say, StartTimer)),
    Row(Door.CLOSED, Break, _break, {Door.CLOSED: ""}, (Say, Raise, Fail)),
    Row(Door.OPEN, Pull, _close, {Door.CLOSED: ""}, (Say,)),
    Row(Door.OPEN, StateTimeout, _close, {Door.CLOSED: ""}, (Say,)),
    *ignore(Door.OPEN, Push, Knock, why="it is open"),
    Row(
        Door.LOCKED,
        Unlock,
        _unlock,
        {Door.CLOSED: "right code", Door.LOCKED: "wrong code"},
        (Say, CancelTimer, Raise),
    ),
    Row(Door.LOCKED, Alarm, _ring, {Door.LOCKED: ""}, (Say,)),
)

DOOR: Machine[Door, Any] = Machine(
    name="Door",
    data={Door.CLOSED: Uses, Door.OPEN: Uses, Door.LOCKED: Key, Door.GONE: Rubble},
    initial=Step(Door.CLOSED, Uses(), (Say("hello"),)),
    effects=(Say, Raise, Fail, StartTimer, CancelTimer),
    rows=ROWS,
    when_unhandled=(Row(None, TearDown, _gone, {Door.GONE: ""}, (Say,)),),
    final=frozenset({Door.GONE}),
    timeouts={Door.OPEN: 30.0},
    on_termination=_last_words,
)


class DoorActor(MachineActor[Any]):
    machine = DOOR

    def __init__(self, feed: TransitionFeed, supervisor: Supervisor | None = None) -> None:
        super().__init__(feed=feed, supervisor=supervisor)
        self.said: list[str] = []
        self.mute = False

    def stands(self) -> Enum:
        """Its state now; a call, which a type checker does not take for a constant."""
        return self.state

    def perform(self, effect: Effect) -> None:
        match effect:
            case Say(text):
                if self.mute:
                    raise ValueError("mute")
                self.said.append(text)
            case Raise(event):
                self.raise_event(event)
            case Fail():
                raise ValueError("the hinge broke")
            case _:
                super().perform(effect)


def door(
    feed: TransitionFeed | None = None, supervisor: Supervisor | None = None
) -> tuple[LoopActorRef[DoorActor], DoorActor]:
    ref = DoorActor.start(TransitionFeed() if feed is None else feed, supervisor)
    actor = ref.actor()
    assert actor is not None
    return ref, actor
