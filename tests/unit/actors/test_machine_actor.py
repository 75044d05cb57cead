"""An actor that runs a machine: effects, queued events, timers, life and log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pykka import ActorDeadError
from support.door import (
    DOOR,
    Alarm,
    Break,
    Door,
    DoorActor,
    Key,
    Knock,
    Lock,
    Pull,
    Push,
    TearDown,
    Unheard,
    Unlock,
    Uses,
    door,
)
from support.fakes import settle

from actors.fsm.actor import LogEntry, MachineActor
from actors.fsm.machine import BadStep, IllegalTransition, Machine, Row, StateTimeout, Step, ignore
from actors.fsm.timers import TimerFired
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
