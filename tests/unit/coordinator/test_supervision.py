"""At most so many restarts of one actor within so many seconds."""

from __future__ import annotations

import asyncio
from typing import Any

from support.fakes import recorder

from coordinator.restart_policy import OneForOne


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def supervision(clock: Clock, **options: Any) -> OneForOne:
    return OneForOne(now=clock, on_failure=lambda *_failure: None, **options)


def test_three_restarts_are_allowed_and_the_fourth_is_refused() -> None:
    own = supervision(Clock())
    assert [own.may_restart("a") for _ in range(4)] == [True, True, True, False]


def test_a_refused_restart_is_still_refused_within_the_time() -> None:
    clock = Clock()
    own = supervision(clock)
    for _ in range(3):
        own.may_restart("a")
    clock.now += 14.9
    assert own.may_restart("a") is False


def test_the_budget_recovers_as_each_restart_grows_old() -> None:
    clock = Clock()
    own = supervision(clock)
    for _ in range(3):
        assert own.may_restart("a")
        clock.now += 5
    # The three were 15, 10 and 5 seconds ago.
    assert own.may_restart("a") is True
    assert own.may_restart("a") is False
    clock.now += 5
    assert own.may_restart("a") is True
    assert own.may_restart("a") is False


def test_a_refusal_takes_nothing_out_of_the_budget() -> None:
    clock = Clock()
    own = supervision(clock)
    for _ in range(3):
        own.may_restart("a")
    clock.now += 14
    for _ in range(10):
        assert not own.may_restart("a")
    clock.now += 1
    assert [own.may_restart("a") for _ in range(4)] == [True, True, True, False]


def test_each_actor_has_a_budget_of_its_own() -> None:
    own = supervision(Clock())
    for _ in range(4):
        own.may_restart("a")
    assert own.may_restart("b") is True


def test_the_budget_can_be_chosen() -> None:
    clock = Clock()
    own = supervision(clock, restarts=1, within=2.0)
    assert [own.may_restart("a") for _ in range(2)] == [True, False]
    clock.now += 2
    assert own.may_restart("a") is True
    assert supervision(clock, restarts=0).may_restart("a") is False


async def test_failures_are_passed_on_and_the_dead_are_forgotten() -> None:
    clock = Clock()
    heard: list[Any] = []
    own = OneForOne(now=clock, on_failure=lambda *failure: heard.append(failure))
    ref, _ = recorder()
    error = ValueError("bad")
    own.may_restart(ref.actor_urn)
    own.child_failed(ref, error, alive=True)
    assert own._history
    own.child_failed(ref, error, alive=False)
    assert heard == [(ref, error, True), (ref, error, False)]
    assert own._history == {}
    await ref.stop()


async def test_the_loops_clock_counts() -> None:
    loop = asyncio.get_running_loop()
    own = OneForOne(now=loop.time, on_failure=lambda *_failure: None)
    assert [own.may_restart("a") for _ in range(4)] == [True, True, True, False]
    await asyncio.sleep(14.9)
    assert own.may_restart("a") is False
    await asyncio.sleep(0.2)
    assert own.may_restart("a") is True
