"""Workers that are no processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FakeWorker:
    """Does what the test tells it to.

    Args:
        pid: its number.
        on_terminate: what it does when it is asked to end; by default it does.
    """

    def __init__(self, pid: int, on_terminate: Callable[[FakeWorker], None] | None = None) -> None:
        self.pid = pid
        self.admin: str | None = None
        self.listening = False
        self.misused: str | None = None
        self.reported = asyncio.Event()
        self.terminated = 0
        self.reloaded = 0
        self._killed = False
        self.answers = True
        self._on_terminate = on_terminate or (lambda worker: worker.end("with status 0"))
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        self.admin = f"worker {self.pid}"
        self.listening = True
        self.reported.set()

    def end(self, how: str) -> None:
        if not self._ended.done():
            self._ended.set_result(how)

    def killed(self) -> bool:
        return self._killed

    def terminate(self) -> None:
        self.terminated += 1
        self._on_terminate(self)

    def reload(self) -> None:
        self.reloaded += 1

    def kill(self) -> None:
        self._killed = True
        self.end("by SIGKILL")

    async def wait(self) -> str:
        return await self._ended


class Office:
    """Starts fake workers, and asks them.

    Args:
        opens: whether a new worker opens its servers at once.
    """

    def __init__(self, *, opens: bool = True) -> None:
        self.started: list[FakeWorker] = []
        self.firsts: list[bool] = []
        self.at: list[float] = []
        self.fails: OSError | None = None
        self.opens = opens
        self.on_terminate: Callable[[FakeWorker], None] | None = None

    async def start(self, first: bool) -> FakeWorker:
        self.at.append(asyncio.get_running_loop().time())
        self.firsts.append(first)
        if self.fails is not None:
            raise self.fails
        worker = FakeWorker(len(self.started), self.on_terminate)
        self.started.append(worker)
        if self.opens:
            worker.open()
        return worker

    async def answers(self, admin: str) -> bool:
        worker = next(each for each in self.started if each.admin == admin)
        if not worker.answers:
            await asyncio.get_running_loop().create_future()
        return worker.answers
