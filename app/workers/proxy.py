"""Passes a question on to one worker's admin API, and its answer back as it comes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from yarl import URL

from web.connection import end_with_peer

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("takedown.workers")

_REQUEST_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Cache-Control",
    "If-Modified-Since",
    "If-None-Match",
    "Last-Event-ID",
)
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # Our own server writes these itself.
        "date",
        "server",
    }
)
_BEGIN_WITHIN = 5.0
_LOOK_UP = 1.0
"""Seconds between two looks whether somebody still listens to a stream in which nothing happens."""


class Unanswered(Exception):
    """The worker has not answered; the message says why."""


class Passing:
    """Passes questions on; a stream goes on until either side ends it.

    At most one chunk is held for a reader that is slow: the worker then waits.

    Args:
        http: asks the workers.
        maximum: answers under way at once; more are refused.
    """

    def __init__(self, http: aiohttp.ClientSession, *, maximum: int) -> None:
        self._http = http
        self._maximum = maximum
        self.under_way = 0

    @property
    def full(self) -> bool:
        """Whether no more can be passed on now."""
        return self.under_way >= self._maximum

    async def pass_on(self, request: web.Request, admin: str, tail: str) -> web.StreamResponse:
        """Ask the worker at `admin` for the path `tail` (as it came, still encoded).

        Raises:
            Unanswered: it has not begun to answer.
        """
        self.under_way += 1
        try:
            answer = await self._begin(request, admin, tail)
            try:
                return await self._copy(request, answer)
            finally:
                answer.close()
        finally:
            self.under_way -= 1

    async def _begin(self, request: web.Request, admin: str, tail: str) -> aiohttp.ClientResponse:
        url = URL(admin + tail, encoded=True)
        if query := request.rel_url.raw_query_string:
            url = URL(f"{url}?{query}", encoded=True)
        headers = {
            name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers
        }
        # The session's bound is for short answers; a stream lasts.
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with asyncio.timeout(_BEGIN_WITHIN):
                return await self._http.request(
                    request.method, url, headers=headers, timeout=timeout, allow_redirects=False
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(str(error) or "it did not answer in time") from error

    async def _copy(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        ours = web.StreamResponse(
            status=answer.status,
            reason=answer.reason,
            headers=[(k, v) for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP],
        )
        if answer.content_type == "text/event-stream":
            end_with_peer(request)
        await ours.prepare(request)
        if request.method != "HEAD":
            try:
                while chunk := await _next(answer.content, lambda: _has_gone(request)):
                    await ours.write(chunk)
            except aiohttp.ClientError as error:
                # The status is out. An answer that breaks off must not look like a whole one.
                logger.info("A worker's answer to %s broke off: %r", request.path, error)
                if request.transport is not None:
                    request.transport.abort()
        return ours


async def _next(content: aiohttp.StreamReader, has_gone: Callable[[], bool]) -> bytes:
    """What comes next; nothing at the end, or when nobody listens any longer."""
    while not has_gone():
        try:
            async with asyncio.timeout(_LOOK_UP):
                return await content.readany()
        except TimeoutError:
            continue
    return b""


def _has_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
