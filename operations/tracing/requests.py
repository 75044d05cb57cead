"""The span of each request at the public API.

It wraps the server's handler from outside. The server takes the span's context for the takedown's
`traceparent`: so it is in the log, and what the takedown does later finds its way to the span.
"""

from __future__ import annotations

from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import SpanKind, Status, StatusCode

from bus.kafka.codec import parse_item_id
from operations.tracing.context import below, span_context, text, traceparent
from web.headers import take_traceparent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.trace import Span, SpanContext, Tracer

_ITEMS = "/items/"
_ROUTE = "/items/{itemId}"
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


class Request(Protocol):
    """What is read of a request; aiohttp's has more."""

    @property
    def method(self) -> str:
        """Its method, whatever that is."""

    @property
    def raw_path(self) -> str:
        """Its path as it was sent."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, found in any case."""


class Response(Protocol):
    """What is read of a response."""

    @property
    def status(self) -> int:
        """Its status."""

    @property
    def headers(self) -> Any:
        """Its headers."""


class OpenRequest:
    """A request without an answer.

    Attributes:
        span: its span.
        sends: the contexts that its records carry.
    """

    __slots__ = ("sends", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.sends: list[SpanContext] = []


class RequestSpans:
    """Makes the spans of requests, and knows the open ones.

    Args:
        tracer: makes spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[str, OpenRequest] = {}
        self._current: ContextVar[str | None] = ContextVar("request's traceparent", default=None)

    def __len__(self) -> int:
        return len(self._open)

    def find(self, traceparent: str) -> OpenRequest | None:
        """The open request whose takedown has this `traceparent`."""
        return self._open.get(traceparent)

    def traceparent(self, header: str | None) -> str:
        """For the server: the trace context of the takedown that this request asks for."""
        return self._current.get() or take_traceparent(header)

    def around(self, handle: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """The server's handler, with a span around it."""

        async def traced(request: Request) -> Response:
            span = self._begin(request)
            context = span.get_span_context()
            # Not valid when the SDK is switched off (OTEL_SDK_DISABLED): as if it were not there.
            name = traceparent(context) if context.is_valid else None
            self._current.set(name)  # of this connection's task; its next request sets it anew
            if name is not None and span.is_recording():
                self._open[name] = OpenRequest(span)
            try:
                response: Response = await handle(request)
                _describe(span, response)
                return response
            finally:
                if name is not None:
                    self._open.pop(name, None)
                span.end()

        return traced

    def _begin(self, request: Request) -> Span:
        method = request.method if request.method in _METHODS else "_OTHER"
        path = request.raw_path.partition("?")[0]
        attributes = {"http.request.method": method, "url.path": text(path), "url.scheme": "http"}
        name = "HTTP" if method == "_OTHER" else method
        if path.startswith(_ITEMS):
            attributes["http.route"] = _ROUTE
            name = f"{name} {_ROUTE}"
            item_id = parse_item_id(path[len(_ITEMS) :])
            if item_id is not None:
                attributes["takedown.item_id"] = item_id
        parent = span_context(request.headers.get("traceparent"), remote=True)
        return self._tracer.start_span(
            name, below(parent), kind=SpanKind.SERVER, attributes=attributes
        )


def _describe(span: Span, response: Response) -> None:
    span.set_attribute("http.response.status_code", response.status)
    takedown_id = response.headers.get("Takedown-Id")
    if takedown_id is not None:
        span.set_attribute("takedown.id", takedown_id)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # The caller's own mistakes are no errors of ours, say the conventions.
        span.set_attribute("error.type", str(response.status))
        span.set_status(Status(StatusCode.ERROR))
