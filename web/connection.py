"""One connection to an HTTP server: what a peer can do with it, and for how long.

aiohttp's `RequestHandler` handles the requests. This class adds what it does not do: framing that
is always certain (`web.framing`), answers to peers that half-close, time limits for a request
that arrives slowly and for an answer that is not read, and closing in such a way that the answer
arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, ClassVar, cast

from aiohttp import web

from web.framing import RequestFraming

logger = logging.getLogger("takedown.http")

HEAD_WITHIN = 15.0
"""Seconds from the first byte of a request to the end of its head."""

UNREAD_FOR = 15.0
"""Seconds after which a peer that does not read its answer is disconnected ..."""

_LEAST_READ = 15 * 1024
"""... and the bytes that it must read in that time, if it does read."""

_LINGER = 1.0
"""Seconds for which a peer may go on sending behind the last answer of its connection."""


class ConnectionLimit:
    """How many connections one server has, and which of them wait for a request.

    When there are too many, one that waits makes room for a new one: a peer that opens connections
    and sends nothing, or reads nothing, does not lock others out. One that has had its last answer
    goes first, then one that never sent a request, then the one that has waited longest, then the
    one whose peer has not read its answer for longest.

    Args:
        maximum: connections at the same time.

    Attributes:
        draining: each answer is the last one of its connection.
    """

    def __init__(self, maximum: int) -> None:
        self.draining = False
        self._maximum = maximum
        self._open: set[Connection] = set()
        self._over: dict[Connection, None] = {}
        self._new: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}
        self._unread: dict[Connection, None] = {}

    @property
    def new(self) -> int:
        """How many connections have not sent their first request yet."""
        return len(self._new)

    def admit(self, connection: Connection) -> bool:
        """Whether one more can be had; it may cost another one."""
        if len(self._open) >= self._maximum:
            waiting = self._over or self._new or self._idle or self._unread
            if not waiting:
                return False
            other = next(iter(waiting))
            self.gone(other)
            other.make_room()
        self._open.add(connection)
        self._new[connection] = None
        return True

    def busy(self, connection: Connection) -> None:
        """A request is in progress."""
        self._over.pop(connection, None)
        self._new.pop(connection, None)
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Every request was answered."""
        if connection in self._open:
            self._idle[connection] = None

    def over(self, connection: Connection) -> None:
        """It has had its last answer, and waits for the peer to close it, too."""
        self._over[connection] = None

    def unread(self, connection: Connection) -> None:
        """Its peer does not read what is to be sent to it."""
        if connection in self._open:
            self._unread[connection] = None

    def read(self, connection: Connection) -> None:
        """Its peer has read."""
        self._unread.pop(connection, None)

    def gone(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)
        self.busy(connection)
        self.read(connection)

    def close_idle(self) -> None:
        """Close those that have had an answer and wait for another request."""
        for connection in tuple(self._idle):
            self.gone(connection)
            connection.force_close()


class Connection(web.RequestHandler):
    """One connection.

    Args:
        manager: aiohttp's server.
        limit: shared by the connections of one server.
        options: aiohttp's.
    """

    REFUSES_EXPECTATIONS: ClassVar[bool] = False

    __slots__ = (
        "_answered",
        "_endless",
        "_framing",
        "_half_closed",
        "_head_timer",
        "_lasts",
        "_limit",
        "_lingering",
        "_refused",
        "_unread",
        "_unread_timer",
        "_wire",
    )

    def __init__(self, manager: web.Server, *, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(manager, **options)
        self._framing = RequestFraming(self._parser, refuses_expectations=self.REFUSES_EXPECTATIONS)
        self._parser = self._framing  # type: ignore[assignment] # it has the methods that matter
        self._limit = limit
        self._wire: asyncio.Transport | None = None
        self._answered = 0
        self._endless = False
        self._half_closed = False
        self._refused = False
        self._lasts = True
        self._lingering: asyncio.Future[None] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._unread_timer: asyncio.TimerHandle | None = None

    # ---------------------------------------------------------------------------- events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse when there are too many."""
        transport = cast("asyncio.Transport", transport)  # uvloop's does not say that it is one
        if self._manager is not None and not self._limit.admit(self):
            self._refused = True
            self.force_close()  # from now on it accepts no data
            transport.abort()
            return
        self._wire = transport
        super().connection_made(transport)
        if self._task_handler is not None:
            self._task_handler.add_done_callback(self._on_served)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Clean up."""
        self._limit.gone(self)
        for timer in (self._head_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._unread_timer = None
        self._stop_lingering()
        self._wire = None
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and limit the time for the rest of it."""
        if not self._lasts:
            return  # it lies behind the last answer
        super().data_received(data)
        if self._request_count > self._answered:
            self._limit.busy(self)
        if not self._framing.in_head:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_WITHIN, self._on_slow_head)

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio has it
        """Keep the connection for the answers to what was sent in front of the end."""
        self._half_closed = True
        self._stop_lingering()
        if self._endless:
            return False
        if self._lasts:
            self._framing.end()
            self.data_received(b"")
        return self._request_count > self._answered

    def end_with_peer(self) -> None:
        """The answer in progress has no end of its own: a peer that half-closes has gone."""
        self._endless = True
        if self._half_closed and self._wire is not None:
            self._wire.close()

    def pause_writing(self) -> None:
        """The peer reads slowly, or not at all."""
        super().pause_writing()
        self._limit.unread(self)
        self._watch_reading()

    def resume_writing(self) -> None:
        """The peer has read."""
        super().resume_writing()
        self._limit.read(self)
        if self._unread_timer is not None:  # it does read
            self._unread_timer.cancel()
            self._unread_timer = None

    def make_room(self) -> None:
        """Close at once, whatever was not sent yet."""
        wire = self._wire
        self.force_close()
        if wire is not None and wire.get_write_buffer_size():
            wire.abort()  # else it would be open until the peer reads

    def close(self) -> None:
        """Close once what is in progress was answered."""
        super().close()
        self._stop_lingering()

    # -------------------------------------------------------------------------- answering

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, and do not begin with the next one before it can be sent, too."""
        over = self._half_closed or self._framing.ended
        if self._limit.draining or (over and self._is_last):
            resp.force_close()
        resp, reset = await super().finish_response(request, resp, start_time)
        self._answered += 1
        self._framing.answered()
        if reset or self._wire is None:
            return resp, True
        self._watch_reading()
        if not resp.keep_alive:
            await self._linger(self._wire)
        elif self._paused:
            with contextlib.suppress(ConnectionError):
                await self._drain_helper()
        elif self._request_count == self._answered:
            self._limit.idle(self)
        return resp, False

    @property
    def _is_last(self) -> bool:
        """Whether the request that is being answered is the last one that was sent."""
        return self._request_count == self._answered + 1 and not self._framing.unparsed

    async def _linger(self, wire: asyncio.Transport) -> None:
        """End our side, and wait for the peer to end its own.

        If a connection is closed while data from the peer is unread, the kernel resets it, and the
        peer may lose the answer that it had not read yet.
        """
        self._lasts = False
        self._framing.drop_body()
        if self._half_closed or wire.is_closing():
            return
        self._limit.over(self)
        self._lingering = self._loop.create_future()
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            wire.write_eof()
            self._resume_transport_reading()
            async with asyncio.timeout(_LINGER):
                await self._lingering
        self._lingering = None

    def _stop_lingering(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    # ------------------------------------------------------------------------------ limits

    def _on_slow_head(self) -> None:
        self._head_timer = None
        if self._framing.in_head:
            self._framing.refuse(408, f"The request took longer than {HEAD_WITHIN:g} s to arrive")
            self.data_received(b"")

    def _watch_reading(self) -> None:
        """Disconnect the peer if it does not read what is to be sent to it."""
        if self._wire is not None and self._unread_timer is None:
            self._unread = self._wire.get_write_buffer_size()
            if self._unread:
                self._unread_timer = self._loop.call_later(UNREAD_FOR, self._on_unread)

    def _on_unread(self) -> None:
        self._unread_timer = None
        if self._wire is None:
            return
        left = self._wire.get_write_buffer_size()
        if left and left > self._unread - _LEAST_READ:
            logger.info("Disconnected a client that does not read its answer")
            self._wire.abort()
        else:
            self._watch_reading()

    def _on_served(self, task: asyncio.Task[None]) -> None:
        """A defect outside of any handler must not leave the peer without an answer or an end."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("Defect on a connection", exc_info=error)
        if self._wire is not None:
            self._wire.abort()


def end_with_peer(request: web.BaseRequest) -> None:
    """Have an answer without an end, such as a stream of events, end with what the peer sends."""
    if isinstance(request.protocol, Connection):
        request.protocol.end_with_peer()
