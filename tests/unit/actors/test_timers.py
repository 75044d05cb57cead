"""Named timers: absolute, and never late."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from actors.fsm.timers import NamedTimers, TimerFired


class Owner:
    """Has timers, and a mailbox that is read when the test says so."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.mailbox: deque[tuple[float, TimerFired]] = deque()
        self.timers = NamedTimers(self.loop, self._deliver)

    def _deliver(self, fired: TimerFired) -> None:
        self.mailbox.append((self.loop.time(), fired))

    def accepted(self) -> list[object]:
        """What the mail in the box amounts to."""
        events = [self.timers.accept(fired) for _, fired in self.mailbox]
        self.mailbox.clear()
        return [event for event in events if event is not None]


async def test_a_timer_fires_at_its_absolute_time() -> None:
    owner = Owner()
    await asyncio.sleep(3)
    at = owner.loop.time() + 4
    owner.timers.start("deadline", at, "event")
    await asyncio.sleep(3.999)
    assert not owner.mailbox
    await asyncio.sleep(1)
    assert [when for when, _ in owner.mailbox] == [pytest.approx(at)]
    assert owner.accepted() == ["event"]
    assert len(owner.timers) == 0


async def test_a_timer_whose_time_has_passed_fires_at_once() -> None:
    owner = Owner()
    await asyncio.sleep(10)
    now = owner.loop.time()
    owner.timers.start("deadline", now - 5, "event")
    await asyncio.sleep(1)
    assert owner.mailbox[0][0] == pytest.approx(now)
    assert owner.accepted() == ["event"]


async def test_a_cancelled_timer_never_fires() -> None:
    owner = Owner()
    owner.timers.start("deadline", owner.loop.time() + 1, "event")
    owner.timers.cancel("deadline")
    await asyncio.sleep(5)
    assert not owner.mailbox
    assert len(owner.timers) == 0


async def test_a_timer_that_is_cancelled_while_in_the_mailbox_does_not_count() -> None:
    owner = Owner()
    owner.timers.start("deadline", owner.loop.time() + 1, "event")
    await asyncio.sleep(2)
    assert len(owner.mailbox) == 1
    owner.timers.cancel("deadline")
    assert owner.accepted() == []


async def test_a_timer_that_is_replaced_never_fires() -> None:
    owner = Owner()
    owner.timers.start("deadline", owner.loop.time() + 1, "old")
    owner.timers.start("deadline", owner.loop.time() + 2, "new")
    assert len(owner.timers) == 1
    await asyncio.sleep(5)
    assert len(owner.mailbox) == 1
    assert owner.accepted() == ["new"]


async def test_a_timer_that_is_replaced_while_in_the_mailbox_counts_only_as_the_new_one() -> None:
    owner = Owner()
    owner.timers.start("deadline", owner.loop.time() + 1, "old")
    await asyncio.sleep(2)
    owner.timers.start("deadline", owner.loop.time() + 1, "new")
    assert owner.accepted() == []
    await asyncio.sleep(2)
    assert owner.accepted() == ["new"]


async def test_a_timer_of_the_actors_last_request_never_reaches_the_next() -> None:
    owner = Owner()
    owner.timers.start("deadline", owner.loop.time() + 1, "first request")
    await asyncio.sleep(2)
    stale = owner.mailbox.popleft()[1]
    owner.timers.cancel_all()
    owner.timers.start("deadline", owner.loop.time() + 10, "second request")
    assert owner.timers.accept(stale) is None
    assert len(owner.timers) == 1


async def test_a_timer_is_accepted_once() -> None:
    owner = Owner()
    owner.timers.start("deadline", owner.loop.time() + 1, "event")
    await asyncio.sleep(2)
    fired = owner.mailbox[0][1]
    assert owner.timers.accept(fired) == "event"
    assert owner.timers.accept(fired) is None


async def test_timers_of_different_names_do_not_know_each_other() -> None:
    owner = Owner()
    owner.timers.start("one", owner.loop.time() + 1, "first")
    owner.timers.start("two", owner.loop.time() + 2, "second")
    owner.timers.start("three", owner.loop.time() + 3, "third")
    owner.timers.cancel("two")
    assert len(owner.timers) == 2
    await asyncio.sleep(5)
    assert owner.accepted() == ["first", "third"]


async def test_remaining_says_how_long_each_active_timer_has() -> None:
    owner = Owner()
    owner.timers.start("one", owner.loop.time() + 5, "first")
    owner.timers.start("two", owner.loop.time() + 9, "second")
    await asyncio.sleep(2)
    assert owner.timers.remaining() == {"one": pytest.approx(3), "two": pytest.approx(7)}
    owner.timers.cancel("one")
    assert set(owner.timers.remaining()) == {"two"}


async def test_all_timers_can_be_cancelled_at_once() -> None:
    owner = Owner()
    for name in "abc":
        owner.timers.start(name, owner.loop.time() + 1, name)
    owner.timers.cancel_all()
    assert len(owner.timers) == 0
    await asyncio.sleep(5)
    assert not owner.mailbox


async def test_cancelling_what_does_not_run_is_harmless() -> None:
    owner = Owner()
    owner.timers.cancel("nothing")
    owner.timers.cancel_all()
    assert len(owner.timers) == 0
