"""A connection to a broker on which requests are bytes, and cost next to nothing.

aiokafka encodes and decodes each request field by field, starts a timer for it, and wakes a task
that reads the answer: together some 200 microseconds for a pair of requests that are always the
same. What is asked with every takedown must cost less. So a connection is opened, secured and
logged in by aiokafka, and then its transport gets another protocol: this one writes frames that
were encoded before, and passes on the answers' bytes.

To wake the process for an answer costs more than to read it. So the kernel is asked to wake it only
once more than the first of the answers is there (SO_RCVLOWAT): the second is there by then.

What this needs of aiokafka 0.14's inside is in `open_wire` alone: a client's connections by node
and group, their transport, their reading task, and the versions that the broker reported. A test
with a real broker fails when that changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

from aiokafka.conn import CloseReason
from aiokafka.errors import NodeNotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiokafka.client import AIOKafkaClient

logger = logging.getLogger("takedown.kafka")

_GROUP = "log end"
"""Sets these connections apart from those on which aiokafka's own requests wait."""

_LENGTH = struct.Struct(">i")

_LONGEST = 16_777_216
"""Bytes of an answer: more is no answer to what is asked here."""

Answers: TypeAlias = "list[bytes] | None"
"""The answers' bytes, without their lengths, in the order of the frames; None: the connection
broke."""


class Wire(asyncio.Protocol):
    """One broker's connection; one exchange at a time.

    Args:
        versions: of each kind of request that the broker knows: lowest and highest.
        former: the protocol that the transport had; it is told how the connection ends.
        close: closes the connection.
    """

    def __init__(
        self,
        versions: Mapping[int, tuple[int, int]],
        *,
        transport: asyncio.Transport,
        former: asyncio.Protocol,
        close: Callable[[], object],
    ) -> None:
        self.versions = versions
        self._transport = transport
        self._former = former
        self._close = close
        self._buffer = b""
        self._answers: list[bytes] = []
        self._frames = b""
        self._last = b""
        self._last_answers: list[bytes] = []
        self._socket = transport.get_extra_info("socket")
        self._missing = 0
        self._done: Callable[[Answers], object] | None = None
        self.usable = True

    def exchange(self, frames: bytes, answers: int, done: Callable[[Answers], object]) -> None:
        """Send frames, each with its length in front, and report the answers once all are there.

        Args:
            frames: as they are sent; brokers answer in their order.
            answers: how many.
            done: called once, also when the connection breaks; never before this returns. Answers
                whose bytes have not changed since the same frames were sent last are the same list.
        """
        self._done, self._missing, self._answers = done, answers, []
        if not self.usable:
            self._give_up_soon()
            return
        if frames is not self._frames:
            self._frames, self._last = frames, b""
            self._wake_at(1)
        try:
            self._transport.write(frames)
        except (OSError, RuntimeError):  # uvloop's, about a transport that is closed already
            self._give_up_soon()

    def _give_up_soon(self) -> None:
        if self.usable:
            self.usable = False
            self._close()
        asyncio.get_running_loop().call_soon(self._finish, None)

    def close(self) -> None:
        """Close it; an exchange in flight is not reported."""
        self._done = None
        if self.usable:
            self.usable = False
            self._close()

    def data_received(self, data: bytes) -> None:
        """Part of the answers has come."""
        if data == self._last and not self._buffer and not self._answers:
            self._finish(self._last_answers)
            return
        whole = not self._buffer and not self._answers
        buffer = self._buffer + data if self._buffer else data
        at, size = 0, len(buffer)
        while size - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if not 0 < length <= _LONGEST:
                logger.warning("A broker sent an answer of %d bytes", length)
                self._break()
                return
            end = at + _LENGTH.size + length
            if size < end:
                break
            self._answers.append(buffer[at + _LENGTH.size : end])
            at = end
        self._buffer = buffer[at:]
        if len(self._answers) >= self._missing:
            if whole:
                self._last, self._last_answers = data, self._answers
            elif not self._last and self._missing > 1:
                self._wake_at(_LENGTH.size + len(self._answers[0]) + 1)
            self._finish(self._answers)

    def _wake_at(self, size: int) -> None:
        """Have the kernel report answers once so many bytes of them are there."""
        if self._socket is None:
            return
        # Not every system has it. That the connection is closed is said by OSError, and by uvloop's
        # ValueError, before anybody is told.
        with contextlib.suppress(OSError, ValueError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _break(self) -> None:
        done, self._done = self._done, None
        self.close()
        if done is not None:
            done(None)

    def _finish(self, answers: Answers) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(answers)

    def eof_received(self) -> None:
        """The broker closes the connection."""
        self._former.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed."""
        self.usable = False
        self._former.connection_lost(error)
        self._finish(None)


async def open_wire(client: AIOKafkaClient, node: int) -> Wire:
    """Open a connection to a broker, secured and logged in as the client's own are.

    Raises:
        KafkaError: there is none to be had.
    """
    group: Any = _GROUP
    if not await client.ready(node, group=group):
        raise NodeNotReadyError(f"node {node} cannot be reached")
    connection = client._conns[(node, group)]  # noqa: SLF001 - see above
    writer = connection._writer  # noqa: SLF001 - see above
    wire = Wire(
        connection._versions,  # noqa: SLF001 - see above
        transport=writer.transport,
        former=writer.transport.get_protocol(),
        close=lambda: connection.close(reason=CloseReason.CONNECTION_TIMEOUT),
    )
    connection._read_task.cancel()  # noqa: SLF001 - see above
    writer.transport.set_protocol(wire)
    return wire
