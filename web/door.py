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
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from errors import SettingsError
from messages import TakedownId
from web.problems import problem_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.BaseRequest], Awaitable[Any]]

logger = logging.getLogger("takedown.http")

_BACKLOG = 1024
_KEEPALIVE = 60.0
_LINGER = 1.0
_LONGEST_LINE = 8190
_MOST_HEADERS = 64
_SHUTDOWN = 2.0


def new_takedown_id() -> TakedownId:
    """A name for one request."""
    digits = secrets.token_hex(16)
    variant = "89ab"[int(digits[16], 16) & 3]
    # A random UUID (version 4), written straight from its digits.
    return TakedownId(
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
    )


class _Connection(web.RequestHandler):
    """One connection; answers what is not HTTP, and is refused when there are too many."""

    __slots__ = ("_maximum", "_refused")

    def __init__(self, manager: web.Server, *, maximum: int, **options: Any) -> None:
        super().__init__(manager, **options)
        self._maximum = maximum
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        manager = self._manager
        if manager is not None and len(manager.connections) >= self._maximum:
            self._refused = True
            self.force_close()  # from now on it takes no data
            cast("asyncio.Transport", transport).abort()  # uvloop's is no subclass of it
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._refused:
            super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("Defect while answering a request", exc_info=exc)
            code, title = "internal-error", "Internal error"
            detail = "A defect in this service"
        else:
            code, title = "malformed-request", "Malformed request"
            detail = (message or "This is not HTTP").splitlines()[0][:200]
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


class Door:
    """Serves an application on one port.

    Args:
        app: the application; or one handler for every request, whatever its path and method,
            which then costs no search for a route, and must not raise aiohttp's HTTP errors.
        host: the address to listen on.
        port: the port; 0 takes any free one.
        setting: what to change when the address cannot be had.
        max_connections: connections beyond this are closed as soon as they come.
        reuse_port: other processes listen on this port, too, and the kernel deals out who comes.
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
        self._max_connections = max_connections
        self._reuse_port = reuse_port
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`http://host:port`, with the port that was taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server
        return len(server.connections) if server is not None else 0

    async def open(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._factory(),
                self._host,
                self._port,
                backlog=_BACKLOG,
                reuse_port=self._reuse_port or None,
            )
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"{self._setting}: {self._host}:{self._port} cannot be listened on: "
                f"{os.strerror(error.errno) if error.errno else error}"
            ) from error
        self._port = self._server.sockets[0].getsockname()[1]

    def _factory(self) -> Callable[[], web.RequestHandler]:
        manager = self._runner.server
        assert manager is not None
        loop = asyncio.get_running_loop()

        def connection() -> web.RequestHandler:
            return self._connection(
                manager,
                maximum=self._max_connections,
                loop=loop,
                access_log=None,
                keepalive_timeout=_KEEPALIVE,
                lingering_time=_LINGER,
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
                max_headers=_MOST_HEADERS,
                auto_decompress=False,
            )

        return connection

    async def close(self) -> None:
        """Stop listening and close every connection; requests that run have a moment left."""
        if self._server is not None:
            self._server.close()
            if self._runner.server is not None:
                self._runner.server.pre_shutdown()
                await self._runner.server.shutdown(_SHUTDOWN)
            await self._server.wait_closed()
            self._server = None
        await self._runner.cleanup()
