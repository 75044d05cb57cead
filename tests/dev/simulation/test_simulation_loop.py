"""The loop of the simulation: whose time passes when, and what a pause does."""

from __future__ import annotations

import asyncio

import pytest

from dev.simulation.loop import START, Forever, Runaway, SimulatedLoop


def test_time_passes_only_when_there_is_nothing_to_do() -> None:
    loop = SimulatedLoop()
    seen: list[float] = []

    async def busy() -> None:
        for _ in range(100):
            await asyncio.sleep(0)
            seen.append(loop.time())
        await asyncio.sleep(3600)
        seen.append(loop.time())

    loop.run_until_complete(busy())
    assert set(seen) == {START, START + 3600}
    loop.close()


def test_what_is_ready_runs_in_the_order_in_which_it_was_made_ready() -> None:
    loop = SimulatedLoop()
    seen: list[int] = []

    async def main() -> None:
        for number in range(20):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == list(range(20))
    loop.close()


def test_while_the_process_is_stopped_the_world_goes_on_and_the_program_does_not() -> None:
    loop = SimulatedLoop()
    world: list[float] = []
    program: list[tuple[str, float]] = []

    def arrive() -> None:
        world.append(loop.time())
        loop.call_soon(lambda: program.append(("arrived", loop.time())))

    async def main() -> None:
        loop.call_later(2.0, lambda: program.append(("timer", loop.time())))
        loop.happen(1.0, loop.pause, 10.0)
        loop.happen(5.0, arrive)
        await asyncio.sleep(20.0)

    loop.run_until_complete(main())
    assert world == [START + 5.0]
    # What arrived meanwhile is handed out before the timers that fell due before it.
    assert program == [("arrived", START + 11.0), ("timer", START + 11.0)]
    loop.close()


def test_the_world_may_act_between_any_two_callbacks() -> None:
    loop = SimulatedLoop()
    program: list[tuple[int, float]] = []

    def note(number: int) -> None:
        program.append((number, loop.time()))

    async def main() -> None:
        loop.after_callbacks(4, lambda: loop.pause(3.0))
        loop.after_callbacks(2, lambda: loop.pause(10.0))
        loop.happen(5.0, loop.call_soon, note, 9)
        for number in range(4):
            loop.call_soon(note, number)
        await asyncio.sleep(0.0)
        await asyncio.sleep(20.0)

    loop.run_until_complete(main())
    # The first of the callbacks is what has arranged all that, and the second one is its.
    assert program == [
        (0, START),
        (1, START + 10.0),
        (2, START + 10.0),
        (3, START + 13.0),
        (9, START + 13.0),
    ]
    loop.close()


def test_a_happening_that_is_cancelled_does_not_happen() -> None:
    loop = SimulatedLoop()
    seen: list[str] = []

    async def main() -> None:
        loop.happen(1.0, seen.append, "no").cancel()
        loop.happen(1.0, seen.append, "yes")
        await asyncio.sleep(2.0)

    loop.run_until_complete(main())
    assert seen == ["yes"]
    loop.close()


def test_a_program_that_waits_for_what_never_comes_is_told_so() -> None:
    loop = SimulatedLoop()
    waiting = loop.create_future()
    with pytest.raises(Forever):
        loop.run_until_complete(waiting)
    loop.close()


def test_a_program_that_is_busy_for_ever_is_told_so() -> None:
    loop = SimulatedLoop(patience=1000)

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    task = loop.create_task(spin())
    with pytest.raises(Runaway):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
