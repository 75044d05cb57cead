"""An actor that runs a machine: effects, queued events, timers, life and log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.door import (
    Alarm,
    Door,
    DoorActor,
    Key,
    Knock,
    Lock,
    Pull,
    Push,
    Unheard,
    Unlock,
    Uses,
    door,
)
from support.settling import settle

from actors.fsm.actor import LogEntry, MachineActor
from actors.fsm.machine import BadStep, IllegalTransition, Machine, Row, Step
from actors.fsm.timers import TimerFired
from actors.fsm.transitions import TransitionFeed


async def test_a_machine_begins_in_its_initial_state_and_performs_its_initial_effects() -> None:
    ref, actor = door()
    await settle()
    assert (actor.state, actor.data) == (Door.CLOSED, Uses())
    assert actor.said == ["hello"]
    assert actor.machine_name == "Door"
    await ref.stop()


async def test_an_event_changes_state_and_data_and_performs_its_effects_in_order() -> None:
    ref, actor = door()
    ref.tell(Push())
    await settle()
    assert (actor.state, actor.data) == (Door.OPEN, Uses(1))
    assert actor.said == ["hello", "creak", "draught"]
    await ref.stop()


async def test_the_new_state_is_taken_on_before_the_effects_are_performed() -> None:
    class Looking(DoorActor):
        def perform(self, effect: Any) -> None:
            super().perform(effect)
            self.said.append(self.state.value)

    ref = Looking.start(TransitionFeed())
    actor = ref.actor()
    assert actor is not None
    ref.tell(Push())
    await settle()
    assert actor.said == ["hello", "Closed", "creak", "Open", "draught", "Open"]
    await ref.stop()


async def test_an_event_raised_within_a_transition_comes_right_after_it_before_the_mail() -> None:
    ref, actor = door()
    ref.tell(Lock(7))
    ref.tell(Unlock(7))
    ref.tell(Pull())
    await settle()
    # Push was raised before "yes" was said, and handled after it; Pull, from the mailbox, last.
    assert actor.said == ["hello", "click", "yes", "creak", "draught", "slam"]
    assert [entry.event for entry in actor.log] == ["Lock", "Unlock", "Push", "Pull"]
    await ref.stop()


async def test_events_raised_within_one_transition_are_handled_in_their_order() -> None:
    class Busy(DoorActor):
        def perform(self, effect: Any) -> None:
            super().perform(effect)
            if self.said[-1:] == ["click"]:
                self.raise_event(Unlock(1))  # the wrong code, while it is locked
                self.raise_event(Unlock(7))

    ref = Busy.start(TransitionFeed())
    actor = ref.actor()
    assert actor is not None
    ref.tell(Lock(7))
    await settle()
    assert [entry.event for entry in actor.log] == ["Lock", "Unlock", "Unlock", "Push"]
    assert actor.state is Door.OPEN
    await ref.stop()


async def test_an_illegal_event_fails_the_actor_and_leaves_its_state_as_it_was() -> None:
    ref, actor = door()
    with pytest.raises(IllegalTransition, match="Door in state CLOSED does not take Pull"):
        await ref.ask(Pull())
    assert not ref.is_alive()
    assert (actor.state, actor.data) == (Door.CLOSED, Uses())
    assert list(actor.log) == []
    assert actor.said == ["hello", "ended in Closed"]


async def test_an_effect_that_nobody_can_carry_out_is_a_defect() -> None:
    class Odd(MachineActor[Any]):
        machine = Machine(
            name="Odd",
            data=dict.fromkeys([Door.CLOSED, Door.OPEN], Uses),
            initial=Step(Door.CLOSED, Uses()),
            effects=(Unheard,),
            rows=(
                Row(
                    Door.CLOSED,
                    Push,
                    lambda data, _event: Step(Door.OPEN, data, (Unheard(),)),
                    {Door.OPEN: ""},
                    (Unheard,),
                ),
                Row(
                    Door.OPEN, Pull, lambda data, _event: Step(Door.CLOSED, data), {Door.CLOSED: ""}
                ),
            ),
        )

    ref = Odd.start(feed=TransitionFeed())
    with pytest.raises(BadStep, match="Odd cannot carry out Unheard"):
        await ref.ask(Push())


async def test_a_state_timeout_comes_when_the_state_lasts_too_long() -> None:
    ref, actor = door()
    ref.tell(Push())
    await settle()
    assert actor.timers.remaining() == {"(state)": pytest.approx(30)}
    await asyncio.sleep(29.9)
    assert actor.stands() is Door.OPEN
    await asyncio.sleep(0.2)
    assert actor.stands() is Door.CLOSED
    assert len(actor.timers) == 0
    await ref.stop()


async def test_leaving_the_state_cancels_its_timeout() -> None:
    ref, actor = door()
    ref.tell(Push())
    ref.tell(Pull())
    await settle()
    assert len(actor.timers) == 0
    await asyncio.sleep(60)
    assert (ref.is_alive(), actor.state) == (True, Door.CLOSED)
    await ref.stop()


async def test_staying_in_a_state_does_not_start_its_timeout_anew() -> None:
    ref, actor = door()
    ref.tell(Push())
    await asyncio.sleep(20)
    ref.tell(Knock())
    await asyncio.sleep(10.1)
    assert actor.stands() is Door.CLOSED
    await ref.stop()


async def test_coming_back_to_a_state_starts_its_timeout_anew() -> None:
    ref, actor = door()
    ref.tell(Push())
    await asyncio.sleep(20)
    ref.tell(Pull())
    ref.tell(Push())
    await asyncio.sleep(20)
    assert actor.stands() is Door.OPEN
    await asyncio.sleep(10.1)
    assert actor.stands() is Door.CLOSED
    await ref.stop()


async def test_a_state_timeout_in_the_mailbox_does_not_count_once_the_state_was_left() -> None:
    ref, actor = door()
    ref.tell(Push())
    await settle()
    stale = TimerFired("(state)", actor.timers._generation)
    ref.tell(Pull())
    ref.tell(Push())
    ref.tell(stale)
    await settle()
    assert actor.stands() is Door.OPEN
    assert actor.timers.remaining() == {"(state)": pytest.approx(30)}
    await ref.stop()


async def test_a_named_timer_sends_its_event_at_its_absolute_time() -> None:
    ref, actor = door()
    await asyncio.sleep(40)
    ref.tell(Lock(7))
    await asyncio.sleep(59)
    assert "alarm late" not in actor.said
    await asyncio.sleep(1.5)  # the clock says 100
    assert actor.said == ["hello", "click", "alarm late"]
    await ref.stop()


async def test_a_cancelled_named_timer_sends_nothing() -> None:
    ref, actor = door()
    ref.tell(Lock(7))
    ref.tell(Unlock(7))
    ref.tell(Pull())
    await asyncio.sleep(200)
    assert actor.said[-1] == "slam"
    assert ref.is_alive()
    await ref.stop()


async def test_the_log_keeps_the_last_transitions_only() -> None:
    ref, actor = door()
    for _ in range(20):
        ref.tell(Push())
        ref.tell(Pull())
    await settle()
    assert len(actor.log) == actor.log_size == 8
    assert [entry.event for entry in actor.log] == ["Push", "Pull"] * 4
    await ref.stop()


async def test_a_log_entry_says_when_on_what_and_whither() -> None:
    ref, actor = door()
    await asyncio.sleep(5.0)
    assert actor.loop.time() == 5.0
    ref.tell(Push())
    await settle()
    entry = actor.log[-1]
    assert entry == LogEntry(5.0, Push, Door.CLOSED, Door.OPEN)
    assert (entry.event, entry.source, entry.target) == ("Push", "CLOSED", "OPEN")
    await ref.stop()


async def test_an_alarm_that_nobody_started_is_illegal_like_any_event() -> None:
    ref, actor = door()
    with pytest.raises(IllegalTransition):
        await ref.ask(Alarm("forged"))
    assert actor.data == Uses()


async def test_a_machine_can_be_resumed_from_state_and_data_alone() -> None:
    ref, actor = door()
    actor.state, actor.data = Door.LOCKED, Key(9)
    ref.tell(Unlock(9))
    await settle()
    assert actor.stands() is Door.OPEN
    await ref.stop()
