"""Waits grow, are bounded, differ, and start over after a success."""

from __future__ import annotations

import asyncio

import pytest

from domain.backoff import QUICK, Backoff


async def waits(backoff: Backoff, count: int) -> list[float]:
    loop = asyncio.get_running_loop()
    measured = []
    for _ in range(count):
        before = loop.time()
        await backoff.sleep()
        measured.append(loop.time() - before)
    return measured


async def test_each_wait_is_between_half_and_all_of_a_ceiling_that_doubles() -> None:
    measured = await waits(Backoff(initial=1, maximum=1000), 8)
    for number, seconds in enumerate(measured):
        assert 0.5 * 2**number - 1e-6 <= seconds <= 2**number + 1e-6


async def test_no_wait_exceeds_the_maximum_however_often_it_failed() -> None:
    measured = await waits(Backoff(initial=0.1, maximum=2), 200)
    assert max(measured) <= 2 + 1e-6
    assert min(measured[10:]) >= 1 - 1e-6


async def test_waits_are_not_in_step() -> None:
    measured = await waits(Backoff(initial=2, maximum=2), 20)
    assert len({round(seconds, 6) for seconds in measured}) > 15


async def test_after_a_success_the_next_failure_is_a_first_one() -> None:
    backoff = Backoff(initial=1, maximum=1000)
    await waits(backoff, 8)
    backoff.reset()
    (seconds,) = await waits(backoff, 1)
    assert seconds == pytest.approx(0.75, abs=0.2501)


async def test_at_first_no_wait_is_long_and_then_they_grow_as_ever() -> None:
    measured = await waits(Backoff(quick_for=10), 150)
    total, last = 0.0, 0
    for number, seconds in enumerate(measured):
        if total < 10:
            assert seconds <= QUICK
            last = number
        total += seconds
    assert last >= 50
    assert min(measured[last + 6 :]) >= 1
    assert max(measured) <= 2
