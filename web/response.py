"""An answer that is known whole before any of it is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion10
from aiohttp.helpers import rfc822_formatted_time

if TYPE_CHECKING:
    from aiohttp import web

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

_LARGE = 0x10000
"""Bytes beyond which an answer waits until most of it is on its way."""


class Answer:
    """What the public API sends: head and body in one write.

    It does what aiohttp's `RequestHandler` asks of a response, and no more. `web.Response` can
    stream, compress and change its mind about its headers; for an answer of a few hundred bytes
    that is most of what the answer costs.

    Args:
        status: the HTTP status.
        body: the whole body.
        headers: all that the body's length, the connection and the date do not decide; text that
            is ours, since it is sent as it is.
    """

    __slots__ = ("body", "headers", "keep_alive", "status")

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.keep_alive = True

    def force_close(self) -> None:
        """Hang up after this answer."""
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it.

        Raises:
            ConnectionResetError: the caller has hung up.
        """
        self.keep_alive = self.keep_alive and request.keep_alive
        version, headers = request.version, self.headers
        if not self.keep_alive:
            headers["Connection"] = "close"
        elif version == HttpVersion10:
            headers["Connection"] = "keep-alive"
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        head = (
            f"HTTP/{version.major}.{version.minor} {self.status} {_PHRASES[self.status]}\r\n"
            f"{''.join(lines)}"
            f"Content-Length: {len(self.body)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\n"
            "\r\n"
        )
        answer = head.encode("latin-1") + self.body
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The caller has hung up")
        transport.write(answer)
        if len(answer) > _LARGE:
            await request.writer.drain()

    async def write_eof(self) -> None:
        """Nothing is left to be sent."""
