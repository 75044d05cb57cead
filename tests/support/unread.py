"""`takedown` as a process whose standard output is read only on request of a test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.processes import ROOT, environment_of


class UnreadProcess:
    """One `takedown` command; its output is a pipe that is read by `read_until` and `read_all`.

    Args:
        arguments: the command and its flags.
        output: where standard output and standard error go instead of into the pipe.
        settings: environment variables, without their TAKEDOWN_ prefix and in lower case.
    """

    def __init__(self, *arguments: str, output: int | None = None, **settings: object) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="takedown-test-")
        folder = Path(self._folder.name) / "catalogue"
        environment = environment_of({"catalogue_folder": folder, **settings})
        self._buffer = b""
        self.lines: list[str] = []
        self.reader, writer = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "service.py"), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=writer if output is None else output,
            stderr=writer if output is None else output,
        )
        os.close(writer)

    @property
    def pid(self) -> int:
        return self._process.pid

    def events(self) -> list[dict[str, Any]]:
        """The log events that were read."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def _read(self) -> bool:
        data = os.read(self.reader, 1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(data)

    def read_until(self, event: str) -> dict[str, Any]:
        """Read until there is an event of this name, and not on."""
        while True:
            for each in self.events():
                if each["event"].startswith(event):
                    return each
            assert self._read(), f"no event {event!r} in:\n" + "\n".join(self.lines)

    def read_all(self) -> None:
        """Read until the process has closed its end."""
        while self._read():
            pass

    def close_reader(self) -> None:
        """The process that reads the logs has ended."""
        os.close(self.reader)
        self.reader = -1

    async def stop(self, signum: signal.Signals = signal.SIGTERM, *, within: float = 20.0) -> float:
        """Send a signal, and wait for the end without reading; returns the seconds it took."""
        began = time.monotonic()
        self._process.send_signal(signum)
        status = await asyncio.to_thread(self._process.wait, within)
        assert status == 0
        return time.monotonic() - began

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self.reader >= 0:
            self.close_reader()
        self._folder.cleanup()


@contextmanager
def unread(*arguments: str, **settings: Any) -> Iterator[UnreadProcess]:
    """Such a process, that is gone after the block."""
    process = UnreadProcess(*arguments, **settings)
    watchdog = threading.Timer(100, process._process.kill)  # ends a `read` that would not end
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
