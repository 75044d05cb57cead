"""Keeps one worker running: starts it, watches it, and starts it again when it has ended.

A worker is replaced when its process ends, when it does not open its servers in time, and when it
hangs: a process that lives and does not answer keeps its share of the callers waiting, since the
kernel goes on giving it connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.workers.process import Worker

logger = logging.getLogger("takedown.workers")

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a worker is given up, and when all of them are.

    Attributes:
        restarts: how many restarts one worker may have ...
        within: ... in this many seconds; one more, and the whole program fails.
        start_within: seconds until a new worker must have opened its admin API.
        probe_every: seconds between an answer to "are you alive?" and the next question.
        probe_within: seconds that such an answer may take.
        misses: so many questions in a row without an answer are a worker that hangs. Questions
            are counted, not seconds: a supervisor that was stopped for a while itself has missed
            one at most.
    """

    restarts: int = 5
    within: float = 30.0
    start_within: float = 60.0
    probe_every: float = 1.0
    probe_within: float = 2.0
    misses: int = 5


class State(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Keeper:
    """Keeps one worker.

    Args:
        number: the worker's, from 0.
        start: starts its process; the argument says whether it is the first one.
        answers: whether the worker whose admin API is at this address is alive.
        on_failed: told, once, that it cannot be kept, and why.
        policy: when it is given up.

    Attributes:
        worker: its process, while there is one.
        restarts: how often it was started again.
        ending: how its last process ended, in words.
        opened: set once its first process has an admin API.
        misused: what its first process said about a setting that it cannot use.
    """

    def __init__(
        self,
        number: int,
        *,
        start: Callable[[bool], Awaitable[Worker]],
        answers: Callable[[str], Awaitable[bool]],
        on_failed: Callable[[str], None],
        policy: Policy,
    ) -> None:
        self.number = number
        self.worker: Worker | None = None
        self.restarts = 0
        self.ending: str | None = None
        self.opened = asyncio.Event()
        self.misused: str | None = None
        self._start = start
        self._answers = answers
        self._on_failed = on_failed
        self._policy = policy
        self._stop = asyncio.Event()
        self._done = False
        self._killed = ""
        self._history: deque[float] = deque()

    @property
    def state(self) -> State:
        """What it is doing."""
        if self._done:
            return State.STOPPED
        if self._stop.is_set():
            return State.STOPPING
        if self.worker is None:
            return State.RESTARTING if self.ending else State.STARTING
        return State.RUNNING if self.worker.reported.is_set() else State.STARTING

    def stop(self) -> None:
        """Have the worker drain, and start no other; once more: have it not wait."""
        self._stop.set()
        if self.worker is not None:
            self.worker.terminate()

    def reload(self) -> None:
        """Have the worker reload; one that only starts has read everything just now."""
        if self.worker is not None and self.worker.reported.is_set():
            self.worker.reload()

    def kill(self) -> None:
        """End the worker by force."""
        if self.worker is not None:
            self.worker.kill()

    async def run(self) -> None:
        """Keep it until `stop`, or until it cannot be kept."""
        try:
            while not self._stop.is_set():
                self.ending = await self._one()
                if self._stop.is_set():
                    return
                if self.misused is not None and not self.opened.is_set():
                    self._on_failed(self.misused)
                    return
                wait = self._next_wait()
                if wait is None:
                    self._on_failed(
                        f"worker {self.number} ended {self._policy.restarts + 1} times within "
                        f"{self._policy.within:g} s, at last {self.ending}"
                    )
                    return
                logger.error(
                    "Worker %d ended %s; it is started again in %g s",
                    self.number,
                    self.ending,
                    wait,
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._stop.wait()
                        return
                self.restarts += 1
        finally:
            self._done = True

    async def _one(self) -> str:
        """One process from its start to its end; says how it ended."""
        try:
            worker = await self._start(self.restarts == 0)
        except OSError as error:
            return f"before it began: {error}"
        self.worker = worker
        self._killed = ""
        if self._stop.is_set():
            worker.terminate()
        watching = asyncio.create_task(self._watch(worker))
        try:
            ending = await worker.wait()
        finally:
            self.worker = None
            watching.cancel()
            await asyncio.wait([watching])
        self.misused = worker.misused
        return f"{ending} ({reason})" if (reason := self._killed or worker.misused) else ending

    def _next_wait(self) -> float | None:
        """Seconds until the next start, or None when there have been too many."""
        now = asyncio.get_running_loop().time()
        while self._history and self._history[0] <= now - self._policy.within:
            self._history.popleft()
        if len(self._history) >= self._policy.restarts:
            return None
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** len(self._history))
        self._history.append(now)
        return wait

    async def _watch(self, worker: Worker) -> None:
        policy = self._policy
        try:
            async with asyncio.timeout(policy.start_within):
                await worker.reported.wait()
        except TimeoutError:
            self._end(worker, f"it had not started after {policy.start_within:g} s")
            return
        self.opened.set()
        misses = 0
        while misses < policy.misses:
            await asyncio.sleep(policy.probe_every)
            misses = 0 if await self._is_alive(worker) else misses + 1
        self._end(worker, f"it hung: no answer to {misses} questions in a row")

    async def _is_alive(self, worker: Worker) -> bool:
        assert worker.admin is not None
        try:
            async with asyncio.timeout(self._policy.probe_within):
                return await self._answers(worker.admin)
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is instead, it is no answer
            logger.warning("Worker %d cannot be asked: %r", self.number, error)
            return False

    def _end(self, worker: Worker, reason: str) -> None:
        self._killed = reason
        worker.kill()
