"""The public API: `DELETE /items/{itemId}`, one answer, in time, always true.

A 404 from this server means that an item does not exist, and nothing else. So whatever is wrong
with a request, a mistyped path included, is a 400 (or 405, 413): no caller can take a mistake of
its own for evidence.
"""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pykka
from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.web_protocol import RequestPayloadError

from bus.kafka.codec import parse_item_id
from domain.errors import CallerError
from domain.messages import (
    Container,
    Deleted,
    DeletedContainer,
    Failed,
    Outcome,
    TakeDown,
    Takedown,
    TakedownId,
    TimedOut,
    Unavailable,
)
from web.headers import parse_wait, take_traceparent
from web.problems import outcome_response, problem_response
from web.server import new_takedown_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from domain.messages import ItemId
    from web.response import Answer

logger = logging.getLogger("takedown.http")

_LARGEST_BODY = 64 * 1024
_BODY_WITHIN = 5.0
"""Seconds within which a body must be here. It means nothing; but a request that does not come to
its end was perhaps given up by its sender, and deletes nothing."""

_GRACE = 0.2
"""Seconds after the deadline at which the server stops waiting for the answer it must have had."""

_LATEST = 0.25
"""Seconds after the deadline within which the contract still takes an answer for one in time."""

_ITEMS = "/items/"
_PATH = re.compile(f"{_ITEMS}(.*)")

_EVERY_ANSWER = {
    "Server": "takedown",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Ask(Protocol):
    """Asks the coordinator."""

    def __call__(self, message: TakeDown, *, timeout: float) -> Awaitable[Outcome]:
        """Send `message`; the outcome comes within `timeout` seconds or `pykka.Timeout`."""


class Observe(Protocol):
    """Hears of each answer of this server, for metrics."""

    def __call__(self, *, status: int, outcome: str, seconds: float) -> None:
        """One answer was given."""


class PublicApi:
    """What answers behind the public API. Made on the loop that it runs on.

    Args:
        ask: asks the coordinator.
        timeout: seconds from accepting a request to its answer, at the latest.
        observe: hears of each answer.
        utc_now: the wall clock, for labels.
        traceparent: the trace context of a takedown, by the caller's header.
    """

    def __init__(
        self,
        *,
        ask: Ask,
        timeout: float,
        observe: Observe,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        traceparent: Callable[[str | None], str] = take_traceparent,
    ) -> None:
        self._ask = ask
        self._timeout = timeout
        self._observe = observe
        self._utc_now = utc_now
        self._traceparent = traceparent
        self._now = asyncio.get_running_loop().time

    async def handle(self, request: web.BaseRequest) -> web.Response | Answer:
        """Answer one request, whatever it is."""
        accepted_at = self._now()
        takedown_id = new_takedown_id()
        item_id: ItemId | None = None
        response: web.Response | Answer
        try:
            if "Expect" in request.headers:
                await _expected(request)
            # aiohttp takes a request line without a version, such as one that was cut off, for
            # HTTP/0.9.
            if request.version < HttpVersion10:
                raise CallerError("malformed-request", "The request line names no version of HTTP")
            item_id = _item_id(request)  # an error from here on can name it
            if request.body_exists:
                await _read_body(request)
            response = await self._delete(request, takedown_id, item_id, accepted_at)
        except CallerError as error:
            response = problem_response(
                400, error.code, "Bad request", error.detail, takedown_id, item_id=item_id
            )
            self._refused(request, response, takedown_id, accepted_at, error.code)
        except web.HTTPException as error:
            response = _translate(error, takedown_id)
            self._refused(request, response, takedown_id, accepted_at, "bad-request")
        except ConnectionError:
            raise  # the caller has gone
        except Exception:
            logger.exception("Defect while answering a request", extra={"takedownId": takedown_id})
            response = problem_response(
                500, "internal-error", "Internal error", "A defect", takedown_id
            )
            self._refused(request, response, takedown_id, accepted_at, "defect")
        response.headers["Takedown-Id"] = takedown_id
        response.headers.update(_EVERY_ANSWER)
        if request.body_exists:
            response.force_close()  # what nobody reads must not be taken for a request
        return response

    def _refused(
        self,
        request: web.BaseRequest,
        response: web.Response,
        takedown_id: TakedownId,
        accepted_at: float,
        outcome: str,
    ) -> None:
        seconds = self._now() - accepted_at
        self._observe(status=response.status, outcome=outcome, seconds=seconds)
        logger.info(
            "Refused a request",
            extra={
                "takedownId": takedown_id,
                "status": response.status,
                "method": request.method,
                "path": request.raw_path[:200],
            },
        )

    async def _delete(
        self,
        request: web.BaseRequest,
        takedown_id: TakedownId,
        item_id: ItemId,
        accepted_at: float,
    ) -> Answer:
        wait = parse_wait(request.headers.getall("Prefer", []))
        takedown = self._accept(request, takedown_id, item_id, wait, accepted_at)
        outcome = await self._outcome(takedown)
        elapsed = self._now() - accepted_at
        response = outcome_response(outcome, takedown_id, item_id, elapsed)
        if wait is not None and wait < self._timeout:
            response.headers["Preference-Applied"] = f"wait={wait}"
        name = type(outcome).__name__
        self._observe(status=response.status, outcome=name, seconds=elapsed)
        logger.info(
            "Answered a takedown",
            extra={
                "takedownId": takedown_id,
                "itemId": item_id,
                "status": response.status,
                "outcome": name,
                "elapsedMs": round(elapsed * 1000, 1),
                "traceparent": takedown.traceparent,
            },
        )
        return response

    def _accept(
        self,
        request: web.BaseRequest,
        takedown_id: TakedownId,
        item_id: ItemId,
        wait: int | None,
        accepted_at: float,
    ) -> Takedown:
        seconds = self._timeout if wait is None else min(self._timeout, wait)
        now = self._utc_now()
        return Takedown(
            takedown_id=takedown_id,
            item_id=item_id,
            accepted_at=accepted_at,
            deadline=accepted_at + seconds,
            accepted_utc=now,
            deadline_utc=now + timedelta(seconds=seconds),
            traceparent=self._traceparent(request.headers.get("traceparent")),
        )

    async def _outcome(self, takedown: Takedown) -> Outcome:
        try:
            timeout = takedown.deadline - self._now() + _GRACE
            outcome = await self._ask(TakeDown(takedown), timeout=timeout)
        except pykka.ActorDeadError as error:
            if error.__cause__ is None:  # it had stopped before it came to this takedown
                return Unavailable("shutting-down", "This instance is shutting down")
            return Failed()
        except pykka.Timeout as error:
            # It cannot happen while the actors are right; the caller gets an answer anyway.
            logger.error(
                "The coordinator did not answer: %r",
                error,
                extra={"takedownId": takedown.takedown_id, "itemId": takedown.item_id},
            )
            return Failed()
        if isinstance(outcome, Deleted) and self._now() > takedown.deadline + _LATEST:
            # The process was stopped between the censor's answer and here: what comes out so late
            # must not be taken for an answer in time.
            return TimedOut(tuple(map(_place, outcome.containers)), ())
        return outcome


def _place(container: DeletedContainer) -> Container:
    return Container(container.container_id, container.container_type)


async def _expected(request: web.BaseRequest) -> None:
    if request.version != HttpVersion11:
        return
    expect = request.headers["Expect"]
    if expect.lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Only 100-continue can be expected")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _read_body(request: web.BaseRequest) -> None:
    size = 0
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            async for part in request.content.iter_any():
                size += len(part)
                if size > _LARGEST_BODY:
                    raise web.HTTPRequestEntityTooLarge(_LARGEST_BODY, size)
    except RequestPayloadError as error:
        raise CallerError("malformed-request", str(error)) from None
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def _item_id(request: web.BaseRequest) -> ItemId:
    item_id = None
    path = request.raw_path
    if request.method == hdrs.METH_DELETE and path.startswith(_ITEMS):
        item_id = parse_item_id(path[len(_ITEMS) :])
    if item_id is None:
        item_id = _item_id_otherwise(request)
    if (request.content_length or 0) > _LARGEST_BODY:
        raise web.HTTPRequestEntityTooLarge(_LARGEST_BODY, request.content_length or 0)
    return item_id


def _item_id_otherwise(request: web.BaseRequest) -> ItemId:
    """Of a path with escapes, a query or a host; or say what is wrong with the request."""
    match = _PATH.fullmatch(request.rel_url.path_safe)
    if match is None:
        raise web.HTTPNotFound
    if request.method != hdrs.METH_DELETE:
        raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_DELETE])
    item_id = parse_item_id(match[1])
    if item_id is None:
        raise CallerError(
            "invalid-item-id", "The itemId in /items/{itemId} is not a UUID in its usual text form"
        )
    return item_id


def _translate(error: web.HTTPException, takedown_id: TakedownId) -> web.Response:
    """What aiohttp says of a request that no route takes, in our words."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        response = problem_response(
            405,
            "method-not-allowed",
            "Method not allowed",
            "An item is taken down with DELETE /items/{itemId}",
            takedown_id,
            headers={"Allow": "DELETE"},
        )
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        response = problem_response(
            413,
            "body-too-large",
            "Body too large",
            f"A takedown needs no body; more than {_LARGEST_BODY} bytes are not accepted",
            takedown_id,
        )
    elif isinstance(error, web.HTTPExpectationFailed):
        response = problem_response(
            417, "expectation-failed", "Expectation Failed", error.text or "", takedown_id
        )
    elif isinstance(error, web.HTTPRequestTimeout):
        response = problem_response(
            408,
            "request-timeout",
            "Request timeout",
            f"The body was not here within {_BODY_WITHIN:g} s; nothing was published",
            takedown_id,
        )
    elif isinstance(error, web.HTTPNotFound):
        response = problem_response(
            400,
            "unknown-path",
            "Unknown path",
            "There is only DELETE /items/{itemId} here",
            takedown_id,
        )
    else:
        response = problem_response(
            error.status, "bad-request", "Bad request", error.reason, takedown_id
        )
    return response
