"""How a machine on an actor ends: at its final state, by a stop, by a failure or by a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pykka import ActorDeadError
from support.door import (
    DOOR,
    Break,
    Door,
    DoorActor,
    Knock,
    Lock,
    Pull,
    Push,
    TearDown,
    Uses,
    door,
)
from support.settling import settle

from actors.fsm.machine import IllegalTransition, Machine, Row, StateTimeout, Step, ignore
from actors.fsm.transitions import TransitionFeed
from actors.runtime.dead_letters import DEAD_LETTERS
from actors.runtime.ref import LoopActorRef


class Restarting:
    """A supervisor that restarts and keeps what it hears."""

    def __init__(self, *, restart: bool = True) -> None:
        self.restart = restart
        self.heard: list[tuple[BaseException, bool]] = []

    def may_restart(self, _urn: str) -> bool:
        return self.restart

    def child_failed(self, _ref: LoopActorRef[Any], error: BaseException, *, alive: bool) -> None:
        self.heard.append((error, alive))


async def test_a_final_state_stops_the_actor_at_once() -> None:
    ref, actor = door()
    await ref.ask(TearDown())
    await settle()
    assert not ref.is_alive()
    assert actor.said == ["hello", "crash", "ended in Gone"]


async def test_events_behind_the_one_that_ends_a_machine_are_dead_letters_and_no_failures() -> None:
    supervisor = Restarting()
    ref, actor = door(supervisor=supervisor)
    before = DEAD_LETTERS.count
    ref.tell(TearDown())
    ref.tell(Push())
    asked = ref.ask(Pull())
    with pytest.raises(ActorDeadError):
        await asked
    assert supervisor.heard == []
    assert actor.said == ["hello", "crash", "ended in Gone"]
    assert DEAD_LETTERS.count == before + 2


async def test_a_stop_puts_the_world_in_order() -> None:
    ref, actor = door()
    ref.tell(Lock(7))
    await ref.stop()
    assert actor.said[-1] == "ended in Locked"
    assert len(actor.timers) == 0


async def test_a_failure_puts_the_world_in_order() -> None:
    ref, actor = door()
    ref.tell(Lock(7))
    with pytest.raises(IllegalTransition):
        await ref.ask(Knock())
    assert actor.said[-1] == "ended in Locked"
    assert len(actor.timers) == 0


async def test_a_restart_puts_the_world_in_order_and_begins_anew() -> None:
    supervisor = Restarting()
    ref, actor = door(supervisor=supervisor)
    ref.tell(Lock(7))
    with pytest.raises(IllegalTransition):
        await ref.ask(Knock())
    assert ref.is_alive()
    assert (actor.state, actor.data) == (Door.CLOSED, Uses())
    assert actor.said == ["hello", "click", "ended in Locked", "hello"]
    assert len(actor.timers) == 0
    assert [alive for _, alive in supervisor.heard] == [True]
    await asyncio.sleep(200)
    assert ref.is_alive()  # the alarm of the life before never rang
    await ref.stop()


async def test_events_that_were_queued_when_an_effect_failed_die_with_it() -> None:
    ref, actor = door(supervisor=Restarting())
    with pytest.raises(ValueError, match="the hinge broke"):
        await ref.ask(Break())
    await settle()
    assert actor.said == ["hello", "crack", "ended in Closed", "hello"]
    ref.tell(Lock(7))  # which an open door would not take
    await settle()
    assert actor.stands() is Door.LOCKED  # the Push that Break had queued never came
    await ref.stop()


@pytest.mark.parametrize("restart", [True, False])
async def test_a_machine_that_cannot_clean_up_still_leaves_the_feed_and_its_timers(
    restart: bool,
) -> None:
    feed = TransitionFeed()
    supervisor = Restarting(restart=restart)
    ref, actor = door(feed, supervisor)
    ref.tell(Lock(7))
    await settle()
    actor.mute = True
    ref.tell(Knock())
    await settle()
    assert not ref.is_alive()
    assert len(feed) == 0
    assert len(actor.timers) == 0
    assert [alive for _, alive in supervisor.heard] == [False]


async def test_a_machine_that_cannot_start_leaves_the_feed_and_its_timers() -> None:
    feed = TransitionFeed()
    ref, actor = door(feed)
    actor.mute = True
    await settle()
    assert not ref.is_alive()
    assert len(feed) == 0
    assert len(actor.timers) == 0


async def test_every_effect_of_the_end_is_tried_though_one_fails() -> None:
    class Stubborn(DoorActor):
        machine = Machine(
            name="Stubborn",
            data=DOOR.data,
            initial=DOOR.initial,
            effects=DOOR.effects,
            rows=DOOR.rows,
            when_unhandled=DOOR.when_unhandled,
            final=DOOR.final,
            timeouts=DOOR.timeouts,
            on_termination=lambda state, data: (
                (*(DOOR.on_termination(state, data) if DOOR.on_termination else ()),) * 3
            ),
        )

        def perform(self, effect: Any) -> None:
            super().perform(effect)
            if self.said.count("ended in Closed") == 1:
                raise ValueError("the first of three")

    ref = Stubborn.start(TransitionFeed())
    actor = ref.actor()
    assert actor is not None
    await ref.stop()
    assert actor.said.count("ended in Closed") == 3


async def test_a_message_behind_a_timer_that_ends_the_machine_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A due timer comes before the message that is handled; it may be the last thing to come."""

    class Brief(DoorActor):
        machine = Machine(
            name="Brief",
            data={Door.CLOSED: Uses, Door.GONE: Uses},
            initial=Step(Door.CLOSED, Uses()),
            effects=(),
            rows=(
                Row(
                    Door.CLOSED,
                    StateTimeout,
                    lambda data, _event: Step(Door.GONE, data),
                    {Door.GONE: ""},
                ),
                *ignore(Door.CLOSED, Knock, why="nobody is at home"),
            ),
            final=frozenset({Door.GONE}),
            timeouts={Door.CLOSED: 30.0},
        )

    supervisor = Restarting()
    ref = Brief.start(TransitionFeed(), supervisor)
    await settle()
    before = DEAD_LETTERS.count
    loop = asyncio.get_running_loop()
    now = loop.time()
    ref.tell(Knock())
    monkeypatch.setattr(loop, "time", lambda: now + 31)  # the process was held up
    await settle()
    assert not ref.is_alive()
    assert supervisor.heard == []
    assert DEAD_LETTERS.count == before + 1
