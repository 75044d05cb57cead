"""The whole process was held up past a deadline: whatever has waited, it is too late for a 200.

After a pause timers, deletions and acknowledgements are all there at once, and the loop hands
them out in any order.
"""

from __future__ import annotations

import asyncio

import pykka
import pytest
from support.fakes import (
    ITEM,
    FakeCatalogue,
    FakePublisher,
    FakeReply,
    deletion,
    gone,
    listed,
    place,
    places,
    recorder,
    takedown_now,
)
from support.settling import settle

from actors.fsm.timers import NamedTimers, TimerFired
from actors.fsm.transitions import TransitionFeed
from actors.item_censor.actor import ItemCensor
from actors.item_censor.states import State
from actors.runtime.future import LoopFuture
from bus.event_bus import EventBus
from domain.messages import Begin, Deleted, Takedown, TimedOut, Unavailable


class Stage:
    """One censor, a clock that can jump, and everything else around it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.catalogue = FakeCatalogue({ITEM: places(*names)})
        self.publisher = FakePublisher()
        self.bus = EventBus()
        self.coordinator, self.told = recorder()
        self.ref = ItemCensor.start(
            catalogue=self.catalogue,
            publisher=self.publisher,
            bus=self.bus,
            coordinator=self.coordinator,
            feed=TransitionFeed(),
        )
        actor = self.ref.actor()
        assert actor is not None
        self.actor: ItemCensor = actor
        self._monkeypatch = monkeypatch

    def pause(self, seconds: float) -> None:
        """What SIGSTOP does: nothing runs, and the clock goes on."""
        pause(self._monkeypatch, seconds)

    async def begin(self, *, seconds: float = 10.0) -> tuple[Takedown, FakeReply]:
        mine, reply = takedown_now(seconds=seconds), FakeReply()
        self.ref.tell(Begin(mine, reply))
        await settle()
        return mine, reply

    async def end(self) -> None:
        await self.ref.stop()
        await self.coordinator.stop()


def pause(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time
    monkeypatch.setattr(loop, "time", lambda: before() + seconds)


async def test_a_deletion_that_is_handled_after_the_deadline_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, "a")
    _, reply = await stage.begin()
    stage.bus.publish(deletion("a"))  # in the mailbox, and then nothing runs
    stage.pause(15)
    await settle()
    assert reply.outcome == TimedOut(deleted=(), outstanding=(place("a"),))
    await stage.end()


async def test_a_tombstone_that_is_handled_after_the_deadline_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, "a")
    _, reply = await stage.begin()
    stage.bus.publish(listed())
    stage.pause(15)
    await settle()
    assert reply.outcome == TimedOut(deleted=(), outstanding=(place("a"),))
    await stage.end()


async def test_what_was_heard_of_before_the_pause_is_in_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, "a", "b")
    _, reply = await stage.begin()
    stage.bus.publish(deletion("a"))
    await settle()
    stage.bus.publish(deletion("b"))
    stage.pause(15)
    await settle()
    assert reply.outcome == TimedOut(deleted=(place("a"),), outstanding=(place("b"),))
    await stage.end()


async def test_a_pause_that_ends_before_the_deadline_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, "a")
    _, reply = await stage.begin()
    stage.bus.publish(deletion("a"))
    stage.pause(9.9)
    await settle()
    assert reply.outcome == Deleted((gone("a"),))
    await stage.end()


async def test_the_deadline_itself_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, "a")
    mine, reply = await stage.begin()
    stage.bus.publish(deletion("a"))
    stage.pause(mine.deadline - asyncio.get_running_loop().time())
    await settle()
    assert isinstance(reply.outcome, TimedOut)
    await stage.end()


async def test_containers_that_are_found_after_the_deadline_are_not_asked_to_be_cleared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, "a")
    reply = FakeReply()
    stage.ref.tell(Begin(takedown_now(), reply))
    stage.pause(15)  # before it came to the catalogue, which answers at once
    await settle()
    assert isinstance(reply.outcome, Unavailable)
    assert stage.publisher.publications == []
    await stage.end()


async def test_a_timer_that_was_taken_early_reaches_no_later_takedown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, "a")
    _, first = await stage.begin()
    stage.bus.publish(deletion("a"))
    stage.pause(15)
    await settle()
    assert isinstance(first.outcome, TimedOut)
    _, second = await stage.begin()
    await settle()
    assert second.outcomes == []
    assert stage.actor.state is State.ACTIVE
    stage.bus.publish(deletion("a"))
    await settle()
    assert second.outcome == Deleted((gone("a"),))
    await stage.end()


async def test_due_timers_are_taken_in_the_order_of_their_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    delivered: list[TimerFired] = []
    timers = NamedTimers(loop, delivered.append)
    now = loop.time()
    timers.start("late", now + 3, "late")
    timers.start("early", now + 1, "early")
    timers.start("future", now + 99, "future")
    assert timers.take_due() is None
    pause(monkeypatch, 5)
    assert [timers.take_due(), timers.take_due(), timers.take_due()] == ["early", "late", None]
    await settle()
    assert delivered == []
    timers.cancel_all()


async def test_an_asker_whose_timeout_passed_in_the_pause_still_gets_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    answer: LoopFuture[str] = LoopFuture(timeout=10.2)
    loop.call_later(10.0, lambda: loop.call_soon(answer.set, "in time"))
    pause(monkeypatch, 15)
    assert await answer == "in time"


async def test_an_asker_whom_nobody_answers_after_the_pause_is_told_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    answer: LoopFuture[str] = LoopFuture(timeout=10.2)
    pause(monkeypatch, 15)
    woken = loop.time()
    with pytest.raises(pykka.Timeout):
        await answer
    assert loop.time() - woken < 0.15
