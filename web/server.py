"""An HTTP server on one port, with a limit for everything that a peer can send.

Also what aiohttp answers before any handler runs (a request line that is none, headers that are
too large) is a problem document here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from domain.errors import SettingsError
from domain.messages import TakedownId
from web.connection import Connection, ConnectionLimit
from web.listening import accept_queued, bind, prepare_to_listen
from web.problems import problem_response

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.BaseRequest], Awaitable[Any]]

logger = logging.getLogger("takedown.http")

_BACKLOG = 1024
_KEEPALIVE = 75.0
_LINGER = 1.0
_LONGEST_LINE = 8190
_MOST_HEADERS = 64
_SHUTDOWN = 2.0
_SETTLE = 0.5
_SETTLE_POLL = 0.01
_HANDED_ON = 4
"""Iterations of the loop in which a request that was received reaches its handler. aiohttp takes
two: one wakes the connection's task, and that one makes the handler's."""


def new_takedown_id() -> TakedownId:
    """A name for one request."""
    digits = secrets.token_hex(16)
    variant = "89ab"[int(digits[16], 16) & 3]
    # A random UUID (version 4), written straight from its digits.
    return TakedownId(
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
    )


_REFUSALS = {
    HTTPStatus.EXPECTATION_FAILED: ("expectation-failed", "Expectation Failed"),
    HTTPStatus.REQUEST_TIMEOUT: ("request-timeout", "Request timeout"),
}


class _Connection(Connection):
    """One connection; answers also what is not HTTP with a problem document."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc  # the peer has gone, as before a "100 Continue": no one receives an answer
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("Defect while answering a request", exc_info=exc)
            code, title = "internal-error", "Internal error"
            detail = "A defect in this service"
        else:
            refusal = _REFUSALS.get(HTTPStatus(status))
            code, title = refusal or ("malformed-request", "Malformed request")
            detail = (message or "This is not HTTP").splitlines()[0][:200]
            detail = detail.encode("ascii", "backslashreplace").decode()
        takedown_id = new_takedown_id()
        logger.info(
            "Refused what is not a request: %s",
            detail,
            extra={"takedownId": takedown_id, "status": status},
        )
        headers = {"Takedown-Id": takedown_id, "Server": "takedown"}
        response = problem_response(status, code, title, detail, takedown_id, headers=headers)
        response.force_close()
        return response


class _ApplicationsConnection(_Connection):
    """One to an application, where aiohttp makes up answers when no handler runs."""

    __slots__ = ()
    REFUSES_EXPECTATIONS = True
    """aiohttp fails when it repeats one in its answer that is not UTF-8."""

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; one that aiohttp has made up becomes a problem."""
        if isinstance(resp, web.HTTPException):
            resp = _problem(resp)
        return await super().finish_response(request, resp, start_time)


def _problem(error: web.HTTPException) -> web.Response:
    """For example of an `Expect` header that nobody can meet, or a path that does not exist."""
    takedown_id = new_takedown_id()
    phrase = HTTPStatus(error.status).phrase
    code = phrase.lower().replace(" ", "-")
    headers: dict[str, str] = {"Takedown-Id": takedown_id}
    if "Allow" in error.headers:
        headers["Allow"] = error.headers["Allow"]
    return problem_response(
        error.status, code, phrase, error.text or phrase, takedown_id, headers=headers
    )


class HttpServer:
    """Serves an application on one port.

    Args:
        app: the application; or one handler for every request, whatever its path and method,
            which then costs no search for a route, and must not raise aiohttp's HTTP errors.
        host: the address to listen on.
        port: the port; 0 takes any free one.
        setting: what to change when the address cannot be had.
        max_connections: beyond this, connections that wait for a request are closed for new
            ones, and new ones where none waits.
        reuse_port: other processes listen on this port, too, and the kernel deals out who comes.
        keepalive: seconds for which a connection without a request is kept open.
    """

    def __init__(
        self,
        app: web.Application | Handler,
        *,
        host: str,
        port: int,
        setting: str,
        max_connections: int,
        reuse_port: bool = False,
        keepalive: float = _KEEPALIVE,
    ) -> None:
        self._runner: web.BaseRunner
        self._connection: type[_Connection]
        if isinstance(app, web.Application):
            self._runner = web.AppRunner(app, access_log=None)
            self._connection = _ApplicationsConnection
        else:
            self._runner = web.ServerRunner(web.Server(app))
            self._connection = _Connection
        self._host = host
        self._setting = setting
        self._port = port
        self._limit = ConnectionLimit(max_connections)
        self._reuse_port = reuse_port
        self._keepalive = keepalive
        self._servers: list[asyncio.Server] = []
        self._opened = False
        self._reserved: list[socket.socket] = []

    @property
    def address(self) -> str:
        """`http://host:port`, with the port that was taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def is_open(self) -> bool:
        """Whether it listens, or did so until it was told to stop."""
        return self._opened

    @property
    def connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server
        return len(server.connections) if server is not None else 0

    async def reserve(self) -> None:
        """Bind the address without listening: it is ours, and connections to it are refused.

        Raises:
            SettingsError: the address cannot be had.
        """
        try:
            self._reserved = await bind(self._host, self._port, reuse_port=self._reuse_port)
        except OSError as error:
            raise self._unusable(error) from error
        self._port = self._reserved[0].getsockname()[1]

    async def open(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            for each in self._reserved:
                prepare_to_listen(each)
                # A copy: we go on accepting connections from ours when the server is closed.
                server = await loop.create_server(
                    self._factory(), sock=each.dup(), backlog=_BACKLOG
                )
                self._servers.append(server)
            if not self._reserved:
                server = await loop.create_server(
                    self._factory(),
                    self._host,
                    self._port,
                    backlog=_BACKLOG,
                    reuse_port=self._reuse_port or None,
                )
                self._servers.append(server)
                self._port = server.sockets[0].getsockname()[1]
        except OSError as error:
            await self._runner.cleanup()
            raise self._unusable(error) from error
        self._opened = True

    def _unusable(self, error: OSError) -> SettingsError:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        return SettingsError(
            f"{self._setting}: {self._host}:{self._port} cannot be listened on: {reason}"
        )

    def _factory(self) -> Callable[[], web.RequestHandler]:
        manager = self._runner.server
        assert manager is not None
        loop = asyncio.get_running_loop()

        def connection() -> web.RequestHandler:
            return self._connection(
                manager,
                limit=self._limit,
                loop=loop,
                access_log=None,
                keepalive_timeout=self._keepalive,
                lingering_time=_LINGER,
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
                max_headers=_MOST_HEADERS,
                auto_decompress=False,
            )

        return connection

    def drain(self) -> None:
        """From now on each answer is the last one of its connection."""
        self._limit.draining = True

    async def stop_listening(self) -> None:
        """Accept no new connections; those that the kernel has accepted for us are served.

        Connections that wait for another request are closed. One that is new is given a moment
        for its first request. The handlers of all requests that have come have begun when this
        returns: nothing new has to be taken from then on.
        """
        self.drain()
        for server in self._servers:
            server.close()
        loop = asyncio.get_running_loop()
        factory = self._factory() if self._opened else None
        for listening in self._reserved:
            if factory is not None:
                for accepted in accept_queued(listening):
                    await loop.connect_accepted_socket(factory, accepted)
            listening.close()
        self._reserved = []
        self._limit.close_idle()
        settled = loop.time() + _SETTLE
        while self._limit.new and loop.time() < settled:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(_SETTLE_POLL)
        for _ in range(_HANDED_ON):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Stop listening and close every connection; requests in progress have a moment left."""
        for server in self._servers:
            server.close()
        for listening in self._reserved:
            listening.close()
        self._reserved = []
        if self._opened and self._runner.server is not None:
            self._runner.server.pre_shutdown()
            await self._runner.server.shutdown(_SHUTDOWN)
        for server in self._servers:
            await server.wait_closed()
        self._servers = []
        self._opened = False
        await self._runner.cleanup()
