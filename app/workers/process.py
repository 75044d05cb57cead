"""One worker as its supervisor sees it: a child process with a line to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from typing import TYPE_CHECKING, Protocol

import msgspec

from app.workers.ipc import AdminApiOpened, Misused, PublicApiOpened, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger("takedown.workers")

_NAMES = {int(each): each.name for each in signal.Signals}
"""Most real-time signals have none."""


class Worker(Protocol):
    """A worker process that was started.

    Attributes:
        pid: its process.
        admin: the address of its own admin API, once it listens.
        listening: whether it takes callers' connections.
        misused: what it said about a setting that it cannot use.
        reported: set once it has an admin API.
    """

    pid: int
    admin: str | None
    listening: bool
    misused: str | None
    reported: asyncio.Event

    def terminate(self) -> None:
        """Ask it to drain and end; once more: not to wait."""
        ...

    def reload(self) -> None:
        """Ask it to reload what it can; it must have an admin API, and so handle signals."""
        ...

    def kill(self) -> None:
        """End it at once, even when it is stopped."""
        ...

    async def wait(self) -> str:
        """Wait until it has ended; says how, in words that follow "ended"."""
        ...


class WorkerProcess:
    """A `Worker` in a process of its own.

    It is in a session of its own: a Ctrl-C at the terminal comes to the supervisor alone, which
    passes it on.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.pid = process.pid
        self.admin: str | None = None
        self.listening = False
        self.misused: str | None = None
        self.reported = asyncio.Event()
        self._process = process
        self._reader = reader
        self._writer = writer  # kept open: that is what tells the worker that we live

    @classmethod
    async def start(
        cls, command: Callable[[int], Sequence[str]], environment: Mapping[str, str]
    ) -> WorkerProcess:
        """Start one.

        Args:
            command: its command line, from the number of the socket that it inherits.
            environment: all of its environment; secrets stand here, where others cannot read.

        Raises:
            OSError: the system does not start it.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *command(theirs.fileno()),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer)

    def terminate(self) -> None:
        """Ask it to drain and end; once more: not to wait."""
        self._signal(signal.SIGTERM)

    def reload(self) -> None:
        """Ask it to reload what it can."""
        self._signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it at once, even when it is stopped."""
        self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)

    async def wait(self) -> str:
        """Read its reports until it has ended."""
        try:
            await self._read()
            status = await self._process.wait()
        finally:
            self._writer.close()
        self.listening = False
        if status < 0:
            return f"by {_NAMES.get(-status, f'signal {-status}')}"
        return f"with status {status}"

    async def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # a line without an end is no report
            async for line in self._reader:
                try:
                    report = decode(line)
                except msgspec.DecodeError as error:
                    logger.error("Process %d sent an invalid report: %s", self.pid, error)
                    continue
                match report:
                    case AdminApiOpened(address):
                        self.admin = address
                        self.reported.set()
                    case PublicApiOpened():
                        self.listening = True
                    case Misused(reason):
                        self.misused = reason
