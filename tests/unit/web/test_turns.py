"""Costly answers are made one at a time."""

from __future__ import annotations

import asyncio

import pytest

from web.turns import Turns


async def test_there_is_never_more_than_one_in_an_iteration_of_the_loop() -> None:
    loop = asyncio.get_running_loop()
    turns, iteration = Turns(), 0
    made: list[int] = []

    def count() -> None:
        nonlocal iteration
        iteration += 1
        if len(made) < 20:
            loop.call_soon(count)

    async def answer() -> None:
        async with turns:
            made.append(iteration)

    loop.call_soon(count)
    await asyncio.gather(*(answer() for _ in range(20)))
    assert len(set(made)) == len(made) == 20


async def test_one_that_fails_or_is_given_up_keeps_no_other_one_waiting() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        async with turns:
            raise ZeroDivisionError
    async with asyncio.timeout(1), turns:
        waiting = asyncio.create_task(turns.__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
    async with asyncio.timeout(1), turns:
        pass
