"""The end of a run: nothing goes wrong any more, so the service must recover and leave nothing."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from pykka import ActorRegistry

from dev.simulation.callers import Asked
from dev.simulation.checker import GRACE
from dev.simulation.faults import Fault
from dev.simulation.read_check import check_read
from dev.simulation.run import gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.simulation.world import World

_READY_WITHIN = 30.0
_QUIET_WITHIN = 30.0
_CALM = 9000
"""The number of the first request after all faults."""


async def recover(world: World) -> None:
    """Stop all faults. The service must become ready, answer correctly, and hold nothing."""
    world.faults.over = True
    world.cluster.heal()
    if not await _until(world, lambda: _is_ready(world), _READY_WITHIN):
        reason = world.life.service.readiness.why_not() if world.life is not None else "dead"
        world.ledger.broken(f"the service does not become ready again: {reason}")
        return
    # The watchdog needs some seconds to notice a fetcher that went silent.
    await asyncio.sleep(6.0 if Fault.READER_STALLED in world.faults.kinds else 1.5)
    await _until(world, lambda: _nothing_is_sent(world), _QUIET_WITHIN)
    # A process that was paused has accepted everything that waited: each request has its time.
    await _until(world, lambda: _nothing_in_flight(world), world.workload.timeout + GRACE)
    await _check_answers(world)
    await _check_quiet(world)


async def _check_answers(world: World) -> None:
    known = [world.items.make(_CALM + number) for number in range(4)]
    for item_id in known:
        world.items.publish(item_id)
    await asyncio.sleep(0.1)
    for number, item_id in enumerate((*known, world.unknown)):
        asked = Asked(_CALM + number, item_id, None, calm=True)
        world.ask(asked)
        await _until(world, functools.partial(_is_settled, asked), world.workload.timeout + GRACE)
        wanted = 404 if item_id is world.unknown else 200
        if asked.status != wanted:
            world.ledger.broken(f"after all faults the answer is not {wanted}", asked)


def _is_settled(asked: Asked) -> bool:
    return asked.settled


def _is_ready(world: World) -> bool:
    """Whether the service is ready and no restart is in progress."""
    life = world.life
    if life is None or world.operator.locked() or life.service.failed.done():
        return False
    return life.ready


def _nothing_is_sent(world: World) -> bool:
    """Whether the producer has sent all requests that waited during the faults."""
    return world.life is None or not world.life.service.publisher.statistics().in_flight


def _nothing_in_flight(world: World) -> bool:
    """Whether no takedown is in flight."""
    return world.life is None or not world.life.left()["in flight"]


async def _until(world: World, condition: Callable[[], bool], within: float) -> bool:
    end = world.loop.time() + within
    while not condition():
        if world.loop.time() > end:
            return False
        await asyncio.sleep(0.1)
    return True


async def _check_quiet(world: World) -> None:
    life = world.life
    assert life is not None
    if not await _until(world, lambda: not any(life.left().values()), _QUIET_WITHIN):
        left = {name: count for name, count in life.left().items() if count}
        world.ledger.broken(f"I5: left over: {left}")
    check_read(world.ledger, life, world.cluster, now=world.loop.time(), complete=True)
    world.actors.check_mailboxes(stopped=False)


async def check_nothing_left(world: World) -> None:
    """After the service has stopped: no task, actor, message or timer may be left."""
    tasks = await gone(set())
    if tasks:
        names = sorted(str(task.get_coro()) for task in tasks)
        world.ledger.broken(f"I5: tasks are left: {names}")
    if alive := ActorRegistry.get_all():
        world.ledger.broken(f"I5: actors are left: {alive}")
    world.actors.check_mailboxes(stopped=True)
    timers = [
        handle
        for handle in world.loop._scheduled  # type: ignore[attr-defined]
        if not handle._cancelled
    ]
    if timers:
        world.ledger.broken(f"I5: timers are left: {timers}")
