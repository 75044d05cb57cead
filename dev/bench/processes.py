"""The bench's child processes: started, waited for until ready, and always stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
"""Where the programs run: they are modules of this checkout."""

HOST = "127.0.0.1"
READY_WITHIN = 60.0
STOP_WITHIN = 15.0
_POLL = 0.02
_TAIL = 2000
_PR_SET_PDEATHSIG = 1


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


class Child:
    """A program of the bench in a process of its own; its output goes to a file.

    Args:
        name: what messages call it.
        arguments: its command line.
        log: the file for its output.
        environment: variables on top of our own, less all TAKEDOWN_* that we were given.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        inherited = {key: text for key, text in os.environ.items() if key[:9] != "TAKEDOWN_"}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
        self._environment = inherited | dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        with self.log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                process_group=0,  # a Ctrl-C at the terminal is ours: we stop it when we are done
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self, within: float = STOP_WITHIN) -> int:
        """Ask it to end, force it after `within` seconds; returns its exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(within):
                        await self._process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()  # does nothing to one that has ended
        return await self._process.wait()

    def check(self) -> None:
        """Raise `BenchError` if it has ended."""
        assert self._process is not None
        if self._process.returncode is not None:
            raise BenchError(
                f"{self.name} ended with status {self._process.returncode}:\n{self.tail()}"
            )

    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_text("utf-8", "replace")[-_TAIL:]

    async def until_said(self, line: str, within: float = READY_WITHIN) -> None:
        """Wait until its output has this line."""
        await self._until(
            lambda: line in self.log.read_text("utf-8", "replace").splitlines(), within
        )

    async def until_ready(self, port: int, within: float = READY_WITHIN) -> None:
        """Wait until `GET /readyz` at this port says 200."""
        await self._until(lambda: _is_ready(port), within)

    async def _until(self, condition: Callable[[], bool], within: float) -> None:
        try:
            async with asyncio.timeout(within):
                while not await asyncio.to_thread(condition):
                    self.check()
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise BenchError(
                f"{self.name} was not ready within {within:g} s:\n{self.tail()}"
            ) from None


def flags(**options: object) -> list[str]:
    """Options as they stand on a command line: `fetch_max=1` is `--fetch-max 1`."""
    return [
        part
        for name, option in options.items()
        for part in ("--" + name.replace("_", "-"), str(option))
    ]


def python(module: str, *arguments: str, **options: object) -> list[str]:
    """The command line of one of the bench's own modules."""
    return [sys.executable, "-m", module, *arguments, *flags(**options)]


async def output_of(arguments: Sequence[str], within: float) -> bytes:
    """Run a program to its end and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        async with asyncio.timeout(within):
            output, complaints = await process.communicate()
    except TimeoutError:
        raise BenchError(f"no end after {within:g} s: {' '.join(arguments)}") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode or complaints:
        raise BenchError(f"{' '.join(arguments)} failed:\n{complaints.decode()[-_TAIL:]}")
    return output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def _die_with_parent() -> None:
    """Between fork and exec: have the kernel end the child if we are killed.

    At once, for a clean end could wait for a broker that is gone, too.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
