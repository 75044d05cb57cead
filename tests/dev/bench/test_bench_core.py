"""The measurements of the core alone, with small numbers: they measure what they say."""

from __future__ import annotations

import asyncio

from pykka import ActorRegistry

from coordinator.coordinator import Coordinator
from dev.bench import core
from domain.messages import Deleted, TimedOut


async def test_a_takedown_of_the_core_is_carried_to_its_end() -> None:
    one = core.Core(containers=3, pool_max=1)
    answer = one.ask(7, asyncio.get_running_loop().time() + 10)
    await one.until_active(1)
    assert not answer.done()

    one.delete(8)
    one.delete(7)

    outcome = await answer
    assert isinstance(outcome, Deleted)
    assert len(outcome.containers) == 3
    await one.ref.stop(block=False)


async def test_a_takedown_of_the_core_times_out() -> None:
    one = core.Core(containers=1, pool_max=1)
    answer = one.ask(7, asyncio.get_running_loop().time() + 0.05)
    assert isinstance(await answer, TimedOut)
    await one.ref.stop(block=False)


async def test_cost_memory_and_timeouts_give_figures() -> None:
    cost = await core.cost(containers=2, takedowns=256)
    assert cost["cpu_us"] > 0
    held = await core.memory(containers=1, takedowns=200)
    assert held["takedowns"] == 200
    late = await core.timeouts(containers=1, takedowns=20)
    assert late["p50_ms"] <= late["latest_ms"]
    for ref in ActorRegistry.get_by_class(Coordinator):
        await ref.stop(block=False)
    await asyncio.sleep(0.05)


async def test_messages_are_counted_in_every_shape() -> None:
    found = await core.messages(count=1000)
    assert set(found) == {"tell", "ask", "many"}
    assert all(rates["ours"] > 0 and rates["pykka"] > 0 for rates in found.values())
    await asyncio.sleep(0.05)
    await asyncio.to_thread(ActorRegistry.stop_all)
