"""Alarms: in the order of their times, some in each turn, and one timer of the loop for all."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.examples import examples

from actors.runtime.timer_heap import AT_ONCE, Alarm, Alarms, alarms_of
from dev.simulation.loop import SimulatedLoop

if TYPE_CHECKING:
    from collections.abc import Callable


def mine() -> tuple[asyncio.AbstractEventLoop, Alarms, list[Any]]:
    loop = asyncio.get_running_loop()
    return loop, Alarms(loop), []


def loops_timers(loop: Any) -> int:
    return sum(not handle.cancelled() for handle in loop._scheduled)


async def test_alarms_ring_at_their_times_whatever_the_order_they_were_set_in() -> None:
    loop, alarms, rung = mine()
    now = loop.time()
    for seconds in (3, 1, 2):
        alarms.set(now + seconds, lambda s: rung.append((s, loop.time() - now)), seconds)
    await asyncio.sleep(5)
    assert rung == [(1, pytest.approx(1)), (2, pytest.approx(2)), (3, pytest.approx(3))]
    assert len(alarms) == 0


async def test_alarms_of_one_time_ring_in_the_order_in_which_they_were_set() -> None:
    loop, alarms, rung = mine()
    at = loop.time() + 1
    for number in range(100):
        alarms.set(at, rung.append, number)
    await asyncio.sleep(2)
    assert rung == list(range(100))


async def test_an_alarm_whose_time_has_passed_rings_soon_and_not_within_the_call() -> None:
    loop, alarms, rung = mine()
    alarms.set(loop.time() - 5, rung.append, "late")
    assert rung == []
    await asyncio.sleep(0.001)
    assert rung == ["late"]


async def test_many_that_are_due_together_let_others_have_their_turns_in_between() -> None:
    loop, alarms, rung = mine()
    at, count = loop.time() + 1, 5 * AT_ONCE + 1
    for number in range(count):
        alarms.set(at, rung.append, number)
    await asyncio.sleep(1)
    seen = []
    while len(rung) < count:
        seen.append(len(rung))
        await asyncio.sleep(0)
    assert rung == list(range(count))
    assert len(seen) >= 5
    assert max(b - a for a, b in itertools.pairwise(seen)) <= AT_ONCE


async def test_all_alarms_together_have_one_timer_of_the_loop_and_none_when_none_is_left() -> None:
    loop, alarms, rung = mine()
    now = loop.time()
    set_ones = [alarms.set(now + seconds, rung.append, seconds) for seconds in (5, 3, 4, 1)]
    assert loops_timers(loop) == 1
    for alarm in set_ones:
        alarms.cancel(alarm)
    assert (len(alarms), alarms.kept, loops_timers(loop)) == (0, 0, 0)
    await asyncio.sleep(10)
    assert rung == []


async def test_a_cancelled_alarm_never_rings_and_the_others_do() -> None:
    loop, alarms, rung = mine()
    now = loop.time()
    ones = [alarms.set(now + 1 + number % 3, rung.append, number) for number in range(9)]
    for alarm in ones[::2]:
        alarms.cancel(alarm)
        alarms.cancel(alarm)
    assert len(alarms) == 4
    await asyncio.sleep(5)
    assert rung == [3, 1, 7, 5]
    assert len(alarms) == 0


async def test_cancelling_one_that_has_rung_changes_nothing() -> None:
    loop, alarms, rung = mine()
    first = alarms.set(loop.time() + 1, rung.append, "first")
    alarms.set(loop.time() + 2, rung.append, "second")
    await asyncio.sleep(1.5)
    alarms.cancel(first)
    assert len(alarms) == 1
    await asyncio.sleep(1)
    assert rung == ["first", "second"]


async def test_an_alarm_may_set_and_cancel_others() -> None:
    loop, alarms, rung = mine()
    at = loop.time() + 1

    def first(_: object) -> None:
        rung.append("first")
        alarms.cancel(second)
        alarms.set(at - 0.5, rung.append, "set meanwhile")
        alarms.set(at + 1, rung.append, "set for later")

    alarms.set(at, first, None)
    second = alarms.set(at, rung.append, "second")
    await asyncio.sleep(3)
    assert rung == ["first", "set meanwhile", "set for later"]


async def test_an_alarm_that_raises_does_not_keep_the_others_from_ringing() -> None:
    loop, alarms, rung = mine()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    at = loop.time() + 1

    def fail(_: object) -> None:
        raise ValueError("bad")

    alarms.set(at, fail, None)
    alarms.set(at, rung.append, "after it")
    alarms.set(at + 1, rung.append, "later")
    await asyncio.sleep(3)
    assert rung == ["after it", "later"]
    assert [str(error) for error in complaints] == ["bad"]


async def test_cancelled_alarms_do_not_pile_up_behind_one_that_waits() -> None:
    loop, alarms, rung = mine()
    now = loop.time()
    alarms.set(now + 1, rung.append, "it rings")
    for number in range(10_000):
        alarms.cancel(alarms.set(now + 60 + number, rung.append, "never"))
        assert alarms.kept <= 1024 + 3
    assert len(alarms) == 1
    await asyncio.sleep(2)
    assert rung == ["it rings"]


async def test_the_order_of_those_that_are_left_survives_the_cleaning() -> None:
    loop, alarms, rung = mine()
    now = loop.time()
    ones = {n: alarms.set(now + 1 + (n * 7919) % 5000, rung.append, n) for n in range(5000)}
    left = {n: alarm for n, alarm in ones.items() if n % 10 == 0}
    for number, alarm in ones.items():
        if number not in left:
            alarms.cancel(alarm)
    assert alarms.kept < 5000
    await asyncio.sleep(6000)
    assert rung == sorted(left, key=lambda n: left[n].at)


async def test_a_cancelled_alarm_keeps_nothing_alive() -> None:
    class Thing:
        def heard(self, _: object) -> None:
            """Nothing."""

    loop, alarms, _ = mine()
    thing = Thing()
    gone = weakref.ref(thing)
    alarms.set(loop.time() + 5, print, "keeps the heap from being emptied")
    alarm = alarms.set(loop.time() + 5, thing.heard, thing)
    del thing
    assert gone() is not None
    alarms.cancel(alarm)
    gc.collect()
    assert (gone(), alarms.kept) == (None, 2)


def test_a_loop_that_wakes_a_little_early_is_trusted() -> None:
    class Early:
        """Counts in milliseconds, as uvloop does."""

        def __init__(self) -> None:
            self.asked: list[tuple[float, Callable[[], None]]] = []

        def time(self) -> float:
            return 0.999

        def call_at(self, at: float, callback: Callable[[], None]) -> None:
            self.asked.append((at, callback))

    loop = Early()
    alarms, rung = Alarms(loop), list[str]()  # type: ignore[arg-type]
    alarms.set(0.9994, rung.append, "now")
    alarms.set(0.9998, rung.append, "a bit later")
    ((_, wake),) = loop.asked
    wake()
    assert rung == ["now"], "its time is what the loop was asked for"
    assert loop.asked[-1][0] == 0.9998


async def test_a_loop_has_one_set_of_alarms_and_closed_ones_are_forgotten() -> None:
    loop = asyncio.get_running_loop()
    assert alarms_of(loop) is alarms_of(loop)
    other = asyncio.new_event_loop()
    theirs = alarms_of(other)
    assert theirs is not alarms_of(loop)
    gone = weakref.ref(other)
    other.close()
    third = asyncio.new_event_loop()
    alarms_of(third)
    third.close()
    del other, theirs
    gc.collect()
    assert gone() is None


class Clock(RuleBasedStateMachine):
    """Any sequence of setting, cancelling, waiting and being held up, against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimulatedLoop()
        self.alarms = Alarms(self.loop)
        self.wanted: dict[int, Alarm] = {}
        self.number = 0

    def teardown(self) -> None:
        self.loop.close()

    def _rung(self, number: int) -> None:
        alarm = self.wanted.pop(number)
        assert alarm.at <= self.loop.time(), "not before its time"
        earlier = [one for one in self.wanted.values() if (one.at, one.number) < (alarm.at, number)]
        assert not earlier, "in the order of their times"

    @rule(seconds=st.floats(-1.0, 5.0), count=st.integers(1, AT_ONCE))
    def set_some(self, seconds: float, count: int) -> None:
        for _ in range(count):
            self.number += 1
            at = self.loop.time() + seconds
            self.wanted[self.number] = self.alarms.set(at, self._rung, self.number)

    @rule(data=st.data())
    def cancel_some(self, data: st.DataObject) -> None:
        if self.wanted:
            for number in data.draw(st.lists(st.sampled_from(sorted(self.wanted)), max_size=20)):
                self.alarms.cancel(self.wanted.pop(number, Alarm(0, 0, None, None)))

    @rule(seconds=st.floats(0.0, 3.0))
    def let_time_pass(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(seconds=st.floats(0.0, 3.0))
    def be_stopped(self, seconds: float) -> None:
        self.loop.pause(seconds)

    @rule()
    def catch_up(self) -> None:
        async def turns() -> None:
            for _ in range(3 + len(self.wanted) // AT_ONCE):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        assert all(alarm.at > self.loop.time() for alarm in self.wanted.values())

    @invariant()
    def those_wait_that_were_set_and_neither_rang_nor_were_cancelled(self) -> None:
        assert len(self.alarms) == len(self.wanted)
        assert self.alarms.kept <= 2 * len(self.wanted) + 1024
        assert loops_timers(self.loop) == bool(self.wanted)


TestClock = Clock.TestCase
TestClock.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)
