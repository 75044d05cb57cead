"""Opens the public API once the service is ready, and logs each change of readiness."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.composition.servers import Servers
    from app.composition.tasks import Tasks
    from app.workers.worker import WorkerOptions
    from coordinator.readiness import Readiness

logger = logging.getLogger("takedown")

_READY_POLL = 0.05


class Announcer:
    """Polls the readiness.

    Args:
        readiness: every check.
        servers: the public API is opened when the service is ready for the first time.
        tasks: knows whether the shutdown has begun.
        worker: of a service that is one worker among several.
    """

    def __init__(
        self, readiness: Readiness, servers: Servers, tasks: Tasks, worker: WorkerOptions | None
    ) -> None:
        self._readiness = readiness
        self._servers = servers
        self._tasks = tasks
        self._worker = worker

    def log(self, name: str) -> None:
        """Log `listening` or `ready`; without "worker", these events stand for all workers."""
        event = name if self._worker is None else f"worker {name}"
        logger.info(event, extra=self._servers.addresses())

    async def run(self) -> None:
        """Log `ready` once, and each later change."""
        announced = False
        was: str | None = ""
        after = self._worker.open_after if self._worker is not None else None
        now = asyncio.get_running_loop().time
        latest = math.inf if after is None else now() + after
        while True:
            problem = self._readiness.why_not()
            due = problem is None or now() >= latest
            if due and not self._servers.public.is_open and not self._tasks.stopping:
                await self._open()
            if problem is None and not announced:
                announced = True
                self.log("ready")
            elif problem is None and was is not None:
                logger.info("Ready again")
            elif problem is not None and problem != was:
                logger.warning("Not ready: %s", problem)
            was = problem
            await asyncio.sleep(_READY_POLL)

    async def _open(self) -> None:
        await self._servers.public.open()
        if self._worker is not None:
            self._worker.on_open()
