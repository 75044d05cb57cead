"""Waiting until a test's actors have done everything that they can do now."""

from __future__ import annotations

import asyncio
from typing import Any

import async_solipsism
from pykka import ActorRegistry

from actors.runtime.ref import LoopActorRef


class VirtualLoop(async_solipsism.EventLoop):  # type: ignore[misc] # it has no types
    """Advances its clock only when no callback is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting_for_idle: list[asyncio.Future[None]] = []
        select = self._selector.select

        def select_or_report_idle(timeout: float | None = None) -> Any:
            # The loop gives a timeout other than 0 only if no callback is ready.
            if not self._waiting_for_idle or timeout == 0:
                return select(timeout)
            if events := select(0):
                return events
            waiting, self._waiting_for_idle = self._waiting_for_idle, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)
            return []

        self._selector.select = select_or_report_idle

    async def idle(self) -> None:
        """Wait until no callback is ready. No time passes."""
        waiter = self.create_future()
        self._waiting_for_idle.append(waiter)
        await waiter


async def settle() -> None:
    """Wait until everything has happened that happens without time passing.

    On a real clock: until every actor has handled its messages, and those that they led to.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        await loop.idle()
    else:
        await _until_actors_are_idle()


async def _until_actors_are_idle(within: float = 20.0) -> None:
    """Wait until every actor has handled its messages, and those that they led to."""
    before = -1
    async with asyncio.timeout(within):
        while True:
            actors = [ref for ref in ActorRegistry.get_all() if isinstance(ref, LoopActorRef)]
            now = [ref.statistics() for ref in actors]
            handled = sum(each.handled for each in now)
            if handled == before and not any(each.mailbox_depth for each in now):
                return
            before = handled
            await asyncio.sleep(0.01)
