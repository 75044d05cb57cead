"""Starts parts in order and stops them in reverse, each within its own bound; reloads them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

logger = logging.getLogger("takedown")

Stop = Callable[[], Awaitable[object]]
Reload = Callable[[], Awaitable[object]]

Failed: TypeAlias = "asyncio.Future[str]"
"""Set, with the reason, once something has failed that ends the program."""

_RELOAD_WITHIN = 10.0


class Lifecycle:
    """What has been started, and how to stop it.

    Whatever happens, `stop` goes through all of it: a step that fails or takes too long is
    logged, and the next one follows.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Stop, float]] = []
        self._reloaders: list[tuple[str, Reload]] = []

    def started(self, name: str, stop: Stop, *, within: float) -> None:
        """Remember that `name` runs, and that `stop` ends it within so many seconds."""
        self._steps.append((name, stop, within))

    def reloads(self, name: str, reload: Reload) -> None:
        """Remember that `reload` reads again what `name` was configured with.

        It keeps what it had when what it reads cannot be used, and raises.
        """
        self._reloaders.append((name, reload))

    async def reload(self) -> None:
        """Reload everything that can be reloaded; one that fails does not prevent the next one."""
        done: list[str] = []
        for name, reload in self._reloaders:
            try:
                async with asyncio.timeout(_RELOAD_WITHIN):
                    await reload()
            except Exception as error:
                logger.error("Not reloaded: %s: %s", name, str(error) or type(error).__name__)
                logger.debug("Not reloaded: %s", name, exc_info=error)
            else:
                done.append(name)
        if done:
            logger.info("Reloaded: %s", ", ".join(done))
        elif not self._reloaders:
            logger.info("Nothing to reload")

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


def fail(failed: Failed, reason: str) -> None:
    """Report a failure that ends the program; only the first one counts."""
    if not failed.done():
        failed.set_result(reason)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])
