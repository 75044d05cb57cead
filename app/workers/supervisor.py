"""Starts all workers, keeps them, and stops them together."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from app.lifecycle import Failed, fail
from app.workers.child import Keeper, Policy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from app.workers.process import Worker

logger = logging.getLogger("takedown.workers")


class Supervisor:
    """The workers of one service.

    Args:
        count: how many.
        start: starts the process of one: its number, and whether it is its first.
        answers: whether the worker whose admin API is at this address is alive.
        policy: when a worker is given up, and when all of them are.

    Attributes:
        failed: done, with the reason, when the workers cannot be kept.
    """

    def __init__(
        self,
        count: int,
        *,
        start: Callable[[int, bool], Awaitable[Worker]],
        answers: Callable[[str], Awaitable[bool]],
        policy: Policy | None = None,
    ) -> None:
        self.failed: Failed = asyncio.get_running_loop().create_future()
        self.stopping = False
        self.keepers: Sequence[Keeper] = [
            Keeper(
                number,
                start=lambda first, number=number: start(number, first),  # type: ignore[misc]
                answers=answers,
                on_failed=self._fail,
                policy=policy or Policy(),
            )
            for number in range(count)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> str | None:
        """Start all, and wait until each has an admin API of its own.

        Returns what a worker said about a setting that it cannot use, which is for the operator;
        None when all is well, or when `failed` says what is not.
        """
        for keeper in self.keepers:
            task = asyncio.create_task(keeper.run(), name=f"worker {keeper.number}")
            task.add_done_callback(self._on_done)
            self._tasks.append(task)
        opened = asyncio.gather(*(keeper.opened.wait() for keeper in self.keepers))
        either: list[asyncio.Future[Any]] = [opened, self.failed]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when the start is given up
            opened.cancel()
            await asyncio.gather(opened, return_exceptions=True)
        return next((keeper.misused for keeper in self.keepers if keeper.misused), None)

    def hurry(self) -> None:
        """Pass on that nobody wants to wait for takedowns in flight any longer."""
        for keeper in self.keepers:
            keeper.stop()

    async def reload(self) -> None:
        """Have each worker reload what it can; each logs what came of it."""
        for keeper in self.keepers:
            keeper.reload()

    async def stop(self, within: float) -> None:
        """Have all workers drain and end; those that have not after `within` seconds are killed."""
        self.stopping = True
        if not self._tasks:
            return
        for keeper in self.keepers:
            keeper.stop()
        _, late = await asyncio.wait(self._tasks, timeout=within)
        for keeper, task in zip(self.keepers, self._tasks, strict=True):
            if task in late:
                logger.error(
                    "Worker %d has not ended after %g s: it is killed", keeper.number, within
                )
                keeper.kill()
        await asyncio.wait(self._tasks)

    def _fail(self, reason: str) -> None:
        fail(self.failed, reason)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(f"the task for {task.get_name()} has ended: {error!r}")
