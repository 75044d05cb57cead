"""The service's own tasks: each runs until the shutdown stops it."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from app.lifecycle import Failed, Lifecycle, cancel, fail

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Tasks:
    """Runs tasks by name; one that ends before the shutdown is a failure of the service.

    Args:
        lifecycle: stops each task.
        failed: set when a task has ended.

    Attributes:
        stopping: the shutdown has begun, so tasks may end.
    """

    def __init__(self, lifecycle: Lifecycle, failed: Failed) -> None:
        self._lifecycle = lifecycle
        self._failed = failed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.stopping = False

    def run(self, name: str, work: Coroutine[Any, Any, None], *, within: float) -> None:
        """Run `work` until the shutdown, which waits `within` seconds for its end."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._on_done)
        self._lifecycle.started(f"stop {name}", functools.partial(cancel, task), within=within)

    def alive(self) -> dict[str, bool]:
        """Each task by name, and whether it runs."""
        return {name: not task.done() for name, task in self._tasks.items()}

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if self.stopping:
            return
        error = None if task.cancelled() else task.exception()
        fail(self._failed, f"the task for {task.get_name()} has ended: {error!r}")
