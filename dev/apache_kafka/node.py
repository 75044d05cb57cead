"""One broker process."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from dev.apache_kafka import jars
from dev.apache_kafka.listeners import lines
from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dev.apache_kafka.listeners import Listeners

_PR_SET_PDEATHSIG = 1
_POLL = 0.01
_FORMAT_TIMEOUT = 60.0
_TAIL = 15

# Short lives: what compiles fast and starts few threads wins over what runs fast after minutes.
_JAVA_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    # Hundreds of lines at each start, one for each setting.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
)


class Node:
    """A broker that is its own controller too.

    It is watched by asking, not by a child watcher, so that it does not belong to an event loop:
    a test may stop what a fixture of another loop started.
    """

    def __init__(
        self, node_id: int, folder: Path, listeners: Listeners, *, heap_mb: int, stop_timeout: float
    ) -> None:
        self.node_id = node_id
        self.listeners = listeners
        self.paused = False
        self._folder = folder
        self._stop_timeout = stop_timeout
        self._heap = f"-Xmx{heap_mb}m"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the broker wrote, over all its starts."""
        return self._folder / "server.log"

    @property
    def data(self) -> Path:
        """Where it keeps its records."""
        return self._folder / "data"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """With what it ended by itself."""
        return self._process.poll() if self._process is not None else None

    def log_tail(self) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])
        except OSError:
            return "(no log)"

    async def format(
        self, cluster_id: str, properties: Mapping[str, str], scram: Sequence[str]
    ) -> None:
        """Make its data folder ready, unless it was made ready before.

        Raises:
            BrokerStartError: Kafka's tool refused.
        """
        self._write(properties)
        if (self.data / "meta.properties").exists():
            return
        process = self._java(
            "kafka.tools.StorageTool",
            *("format", "--cluster-id", cluster_id, "--config", str(self._settings)),
            *(word for credential in scram for word in ("--add-scram", credential)),
        )
        try:
            async with asyncio.timeout(_FORMAT_TIMEOUT):
                await _until_ended(process)
        except TimeoutError:
            pass  # told below, with what it wrote
        finally:
            status = process.poll()
            _end(process)
        if status != 0:
            raise BrokerStartError(f"storage of node {self.node_id}: {self.log_tail()}")

    def start(self, properties: Mapping[str, str], java_options: Sequence[str] = ()) -> None:
        """Start its process; returns at once.

        Call it in a thread that lives on: the kernel ends the broker with the thread.
        """
        self._write(properties)
        self.paused = False
        self._process = self._java("kafka.Kafka", str(self._settings), options=java_options)

    def pause(self) -> None:
        """Let it hang: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)
        self.paused = False

    async def kill(self) -> None:
        """End it on the spot, without a farewell to anybody."""
        self._signal(signal.SIGKILL)
        await self._until_gone()

    async def stop(self) -> None:
        """Ask it to end in good order; by force when it takes too long."""
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_timeout):
                await self._until_gone()
        except TimeoutError:
            await self.kill()

    @property
    def _settings(self) -> Path:
        return self._folder / "server.properties"

    def _write(self, properties: Mapping[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._settings.write_text(lines(properties))

    def _java(self, main: str, *words: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        archive = jars.class_archive()
        shared = (f"-XX:SharedArchiveFile={archive}",) if archive.exists() and not options else ()
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own
                [
                    *(jars.java(), self._heap, *_JAVA_OPTIONS, *shared, *options),
                    *("-cp", f"{jars.LIBS}/*", main, *words),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is ours to handle: we stop it when we are done.
                process_group=0,
                # One small call between fork and exec, as in the embedded broker.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signum)

    async def _until_gone(self) -> None:
        if self._process is not None:
            await _until_ended(self._process)
        self.paused = False


async def _until_ended(process: subprocess.Popen[bytes]) -> None:
    while True:
        if process.poll() is not None:
            return
        await asyncio.sleep(_POLL)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """Between fork and exec: have the kernel end the broker if we are killed.

    Not by SIGTERM: a broker that is paused would never see it.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
