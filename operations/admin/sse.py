"""Server-sent events for viewers, none of whom anybody waits for.

Each viewer has at most one message on its way: what it has not read when the next one would be
due is left in the connection's buffers, whose size is bounded, and it gets the difference later.
One that reads nothing for `CUT` seconds is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from operations.observation.live_updates import BroadcastEnded
from web.connection import end_with_peer

if TYPE_CHECKING:
    from operations.observation.live_updates import Broadcast, Message, Watching

logger = logging.getLogger("takedown.http")

HEARTBEAT = 10.0
"""Seconds without anything new after which a comment is sent."""

CUT = 15.0
"""Seconds after which one who does not read is cut off."""

_KERNEL_BUFFER = 64 * 1024
_LOOK = 1.0
"""Seconds after which a viewer that has gone is noticed."""

_POLL = 0.1
_RETRY = b"retry: 2000\n\n"
_COMMENT = b": nothing new\n\n"

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Server": "takedown",
}


class _CutOff(Exception):
    """The viewer does not read."""


class _Gone(Exception):
    """The viewer has hung up."""


async def stream(
    request: web.Request, broadcast: Broadcast, watching: Watching, *, cut: float
) -> web.StreamResponse:
    """Show `watching` until the viewer goes, does not read, or the service shuts down."""
    was_cut = False
    response = web.StreamResponse(headers=_HEADERS)
    response.force_close()
    end_with_peer(request)
    viewer = broadcast.join(watching, request.headers.get("Last-Event-ID", ""))
    try:
        await response.prepare(request)
        channel = _Wire(request, response, cut)
        await channel.send(_RETRY)
        idle = 0.0
        while True:
            message = await viewer.next(_LOOK)
            idle = 0.0 if message is not None else idle + _LOOK
            if message is not None:
                await channel.send(_frame(message))
            elif idle >= HEARTBEAT:
                idle = 0.0
                await channel.send(_COMMENT)
            else:
                channel.check()
    except (BroadcastEnded, _Gone, ConnectionError):
        pass  # each is an end like any other
    except _CutOff:
        was_cut = True
        logger.warning("Cut a viewer off that has not read for %g s", cut)
        if request.transport is not None:
            request.transport.abort()
    finally:
        broadcast.leave(watching, cut=was_cut)
    return response


class _Wire:
    """The connection to one viewer."""

    def __init__(self, request: web.Request, response: web.StreamResponse, cut: float) -> None:
        transport = request.transport
        if transport is None:
            raise _Gone
        self._transport = transport
        self._response = response
        self._cut = cut
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # Else the kernel takes megabytes for one who does not read.
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)

    def check(self) -> None:
        """Raise if the viewer has gone."""
        if self._transport.is_closing():
            raise _Gone

    async def send(self, data: bytes) -> None:
        """Send, and wait until the system has taken it all."""
        self.check()
        try:
            async with asyncio.timeout(self._cut):
                await self._response.write(data)
                while self._transport.get_write_buffer_size():
                    self.check()
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise _CutOff from None


def _frame(message: Message) -> bytes:
    head = f"event: {message.kind}\nid: {message.id}\ndata: ".encode()
    return head + message.data + b"\n\n"
