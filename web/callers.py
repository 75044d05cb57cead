"""The callers' door: `DELETE /items/{itemId}`, one answer, in time, always true.

A 404 from this door means that an item does not exist, and nothing else. So whatever is wrong
with a request, a mistyped path included, is a 400 (or 405, 413): no caller can take a mistake of
its own for evidence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pykka
from aiohttp import HttpVersion10, web

from bus.codec import parse_item_id
from errors import CallerError
from messages import (
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
from web.door import new_takedown_id
from web.headers import parse_wait, take_traceparent
from web.problems import outcome_response, problem_response

if TYPE_CHECKING:
    from messages import ItemId

logger = logging.getLogger("takedown.http")

_LARGEST_BODY = 64 * 1024
_GRACE = 0.2
"""Seconds after the deadline at which the door stops waiting for the answer it must have had."""

_LATEST = 0.25
"""Seconds after the deadline within which the contract still takes an answer for one in time."""

_TAKEDOWN_ID = web.RequestKey("takedown_id", str)
_ITEM_ID = web.RequestKey("item_id", str)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Ask(Protocol):
    """Asks the coordinator."""

    def __call__(self, message: TakeDown, *, timeout: float) -> Awaitable[Outcome]:
        """Send `message`; the outcome comes within `timeout` seconds or `pykka.Timeout`."""


class Observe(Protocol):
    """Hears of each answer of this door, for metrics."""

    def __call__(self, *, status: int, outcome: str, seconds: float) -> None:
        """One answer was given."""


class CallersDoor:
    """The application behind the callers' door.

    Args:
        ask: asks the coordinator.
        timeout: seconds from accepting a request to its answer, at the latest.
        observe: hears of each answer.
        utc_now: the wall clock, for labels.
    """

    def __init__(
        self,
        *,
        ask: Ask,
        timeout: float,
        observe: Observe,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ask = ask
        self._timeout = timeout
        self._observe = observe
        self._utc_now = utc_now

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._answer_always], client_max_size=_LARGEST_BODY)
        app.router.add_delete("/items/{itemId:.*}", self._delete)
        app.on_response_prepare.append(_finish_headers)
        return app

    # ------------------------------------------------------------------------ every answer

    @property
    def _answer_always(self) -> Any:
        @web.middleware
        async def answer(request: web.Request, handler: _Handler) -> web.StreamResponse:
            started = asyncio.get_running_loop().time()
            takedown_id = new_takedown_id()
            request[_TAKEDOWN_ID] = takedown_id
            try:
                _require_version(request)
                response = await handler(request)
            except CallerError as error:
                response = problem_response(
                    400,
                    error.code,
                    "Bad request",
                    error.detail,
                    takedown_id,
                    item_id=request.get(_ITEM_ID),
                )
                self._refused(request, response, started, error.code)
            except web.HTTPException as error:
                response = _translate(error, takedown_id)
                self._refused(request, response, started, "bad-request")
            except Exception:
                logger.exception(
                    "Defect while answering a request", extra={"takedownId": takedown_id}
                )
                response = problem_response(
                    500, "internal-error", "Internal error", "A defect", takedown_id
                )
                self._refused(request, response, started, "defect")
            response.headers["Takedown-Id"] = takedown_id
            if request.body_exists:
                response.force_close()  # what nobody reads must not be taken for a request
            return response

        return answer

    def _refused(
        self, request: web.Request, response: web.StreamResponse, started: float, outcome: str
    ) -> None:
        seconds = asyncio.get_running_loop().time() - started
        self._observe(status=response.status, outcome=outcome, seconds=seconds)
        logger.info(
            "Refused a request",
            extra={
                "takedownId": request[_TAKEDOWN_ID],
                "status": response.status,
                "method": request.method,
                "path": request.raw_path[:200],
            },
        )

    # ------------------------------------------------------------------------ the one route

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        accepted_at = asyncio.get_running_loop().time()
        if (request.content_length or 0) > _LARGEST_BODY:
            raise web.HTTPRequestEntityTooLarge(_LARGEST_BODY, request.content_length or 0)
        item_id = _item_id(request)
        request[_ITEM_ID] = item_id  # an error from here on can name it
        wait = parse_wait(request.headers.getall("Prefer", []))
        takedown = self._accept(request, item_id, wait, accepted_at)
        outcome = await self._outcome(takedown)
        elapsed = asyncio.get_running_loop().time() - accepted_at
        response = outcome_response(outcome, takedown.takedown_id, item_id, elapsed)
        if wait is not None and wait < self._timeout:
            response.headers["Preference-Applied"] = f"wait={wait}"
        name = type(outcome).__name__
        self._observe(status=response.status, outcome=name, seconds=elapsed)
        logger.info(
            "Answered a takedown",
            extra={
                "takedownId": takedown.takedown_id,
                "itemId": item_id,
                "status": response.status,
                "outcome": name,
                "elapsedMs": round(elapsed * 1000, 1),
                "traceparent": takedown.traceparent,
            },
        )
        return response

    def _accept(
        self, request: web.Request, item_id: ItemId, wait: int | None, accepted_at: float
    ) -> Takedown:
        seconds = self._timeout if wait is None else min(self._timeout, wait)
        now = self._utc_now()
        return Takedown(
            takedown_id=TakedownId(request[_TAKEDOWN_ID]),
            item_id=item_id,
            accepted_at=accepted_at,
            deadline=accepted_at + seconds,
            accepted_utc=now,
            deadline_utc=now + timedelta(seconds=seconds),
            traceparent=take_traceparent(request.headers.get("traceparent")),
        )

    async def _outcome(self, takedown: Takedown) -> Outcome:
        now = asyncio.get_running_loop().time
        try:
            timeout = takedown.deadline - now() + _GRACE
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
        if isinstance(outcome, Deleted) and now() > takedown.deadline + _LATEST:
            # The process was stopped between the censor's answer and here: what comes out so late
            # must not be taken for an answer in time.
            return TimedOut(tuple(map(_place, outcome.containers)), ())
        return outcome


def _place(container: DeletedContainer) -> Container:
    return Container(container.container_id, container.container_type)


def _require_version(request: web.Request) -> None:
    # aiohttp takes a request line without a version, such as one that was cut off, for HTTP/0.9.
    if request.version < HttpVersion10:
        raise CallerError("malformed-request", "The request line names no version of HTTP")


def _item_id(request: web.Request) -> ItemId:
    text = request.match_info["itemId"]
    item_id = parse_item_id(text)
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
            f"A takedown needs no body; more than {_LARGEST_BODY} bytes are not taken",
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


async def _finish_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "takedown"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
