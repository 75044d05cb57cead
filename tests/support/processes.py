"""Starts `takedown` as its users do, as a process, and stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).parents[2]


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """The environment of a `takedown` process of a test.

    Unless the settings say otherwise it creates its topics, and these may be empty; and no load
    balancer has to notice its end.
    """
    usual = {"topics_create": "true", "catalogue_may_be_empty": "true", "shutdown_grace": 0}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")}
    return environment | {f"TAKEDOWN_{k.upper()}": str(v) for k, v in {**usual, **settings}.items()}


def usual_signals() -> None:
    """In a child before it runs: each signal does what it does by default.

    A process that its starter told to ignore a signal (`nohup`, a job in the background of a
    script) ignores it, and so do the programs that it starts, and what they are tested for.
    """
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)


class Process:
    """One `takedown` command as a child process.

    A thread takes in what it writes: a full pipe would make it wait for the test.

    Its catalogue is in a folder of its own that goes with it, if no other is named. Each test has
    topics of its own: they are created and may be empty, if the test does not set it otherwise.

    Args:
        arguments: the command and its flags.
        settings: environment variables, without their TAKEDOWN_ prefix and in lower case.

    Attributes:
        popen_options: for the child process, of a subclass.
    """

    popen_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, *arguments: str, **settings: object) -> None:
        self._folder = tempfile.mkdtemp(prefix="takedown-test-")
        environment = environment_of({"catalogue_folder": self._folder, **settings})
        self.lines: list[str] = []
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "service.py"), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            **{"preexec_fn": usual_signals, **self.popen_options},
        )
        assert self._process.stdout is not None
        self._news = threading.Condition()
        self._unread = 0
        self._ended = False
        self._reader = threading.Thread(target=self._take_in, args=[self._process.stdout.fileno()])
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def events(self) -> list[dict[str, Any]]:
        """The log events read so far."""
        return [json.loads(line) for line in tuple(self.lines) if line.startswith("{")]

    def _take_in(self, fileno: int) -> None:
        while data := os.read(fileno, 65536):
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            with self._news:
                self.lines += [line.decode() for line in lines]
                self._unread += 1
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def read(self, seconds: float = 0.0) -> bool:
        """Wait at most so long for something new in `lines`; False at the end."""
        with self._news:
            self._news.wait_for(lambda: self._unread or self._ended, seconds)
            new, self._unread = self._unread, 0
            return bool(new) or not self._ended

    def wait_for_event(self, name: str, *, within: float = 20.0) -> dict[str, Any]:
        """The first log event of this name; it may have been read before."""
        end = time.monotonic() + within
        while True:
            for event in self.events():
                if event.get("event") == name:
                    return event
            left = end - time.monotonic()
            if left <= 0 or not self.read(left):
                raise AssertionError(f"no event {name!r}; the process said:\n" + self.text())

    def wait(self, *, within: float = 20.0) -> int:
        """Wait until it ends; returns its exit status."""
        end = time.monotonic() + within
        while self.read(max(0.0, end - time.monotonic())):
            if time.monotonic() > end:
                raise AssertionError("it did not end; it said:\n" + self.text())
        return self._process.wait(max(0.1, end - time.monotonic()))

    def signal(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def stop(self, *, within: float = 30.0) -> int:
        """Ask it to stop, and wait until it has; returns its exit status."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(within=within)

    def close(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def text(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def running(*arguments: str, **settings: object) -> Iterator[Process]:
    """A `takedown` process that is gone after the block."""
    process = Process(*arguments, **settings)
    try:
        yield process
    except BaseException:
        process.read(0.1)
        sys.stderr.write(f"--- takedown {' '.join(arguments)} said:\n{process.text()}\n")
        raise
    finally:
        process.close()
