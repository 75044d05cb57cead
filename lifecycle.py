"""Starts parts in order and stops them in reverse, each within its own bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("takedown")

Stop = Callable[[], Awaitable[object]]


class Lifecycle:
    """What has been started, and how to stop it.

    Whatever happens, `stop` goes through all of it: a step that fails or takes too long is
    logged, and the next one follows.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Stop, float]] = []

    def started(self, name: str, stop: Stop, *, within: float) -> None:
        """Remember that `name` runs, and that `stop` ends it within so many seconds."""
        self._steps.append((name, stop, within))

    async def stop(self) -> None:
        """Stop everything, last first."""
        total = len(self._steps)
        for number in range(1, total + 1):
            name, stop, within = self._steps.pop()
            logger.info("Shutdown %d/%d: %s", number, total, name)
            try:
                async with asyncio.timeout(within):
                    await stop()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise  # we are meant, and not something that the step waited for
                logger.error("Shutdown: %s was cancelled", name)
            except TimeoutError:
                logger.error("Shutdown: %s took longer than %g s", name, within)
            except Exception:
                logger.exception("Shutdown: %s failed", name)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])
