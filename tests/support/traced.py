"""One censor behind a server, with tracing around them and an exporter that keeps every span."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from multidict import CIMultiDict
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from domain.messages import Begin, Deleted, ItemDeleted, Takedown
from operations.tracing.tracing import Tracing
from support.fakes import ITEM, T0, FakeReply, deletion, takedown_now
from support.settling import settle
from support.stage import Stage

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@dataclass
class FakeRequest:
    method: str = "DELETE"
    raw_path: str = f"/items/{ITEM}"
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)


@dataclass
class FakeResponse:
    status: int
    headers: dict[str, str]


@dataclass
class DeletionRecord:
    partition: int = 3
    offset: int = 17
    headers: Sequence[tuple[str, bytes | None]] = ()


REQUEST = "DELETE /items/{itemId}"
SEND = "send item_reported"
PROCESS = "process item_deleted"


class Traced:
    """The stage, and what is traced of it."""

    def __init__(self, *places: str, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            sampler=sampler, resource=Resource.get_empty(), shutdown_on_exit=False
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.now: datetime = T0
        self.tracing = Tracing(
            self.provider,
            reported="item_reported",
            deleted="item_deleted",
            utc_now=lambda: self.now,
            version="1.2",
        )
        self.stage = Stage(*places)
        self.stage.actor._publisher = self.tracing.publisher(self.stage.publisher)
        self.stage.feed.subscribe(self.tracing.processing)
        self.takedown: Takedown | None = None

    async def _carry(self, request: FakeRequest) -> FakeResponse:
        """What the server does, as far as it matters here."""
        name = self.tracing.requests.traceparent(request.headers.get("traceparent"))
        self.takedown = replace(takedown_now(), traceparent=name)
        reply = FakeReply()
        self.stage.ref.tell(Begin(self.takedown, reply))
        while not reply.done():  # noqa: ASYNC110 - a virtual clock
            await asyncio.sleep(0.01)
        status = 200 if isinstance(reply.outcome, Deleted) else 504
        return FakeResponse(status, {"Takedown-Id": self.takedown.takedown_id})

    def ask(self, traceparent: str | None = None) -> asyncio.Task[Any]:
        request = FakeRequest()
        if traceparent is not None:
            request.headers["Traceparent"] = traceparent
        return asyncio.ensure_future(self.tracing.requests.around(self._carry)(request))

    async def delete(self, name: str, record: DeletionRecord | None = None) -> ItemDeleted:
        """As the service does it with what it reads."""
        event = deletion(name)
        if self.stage.bus.publish(event):
            self.tracing.processing.read(event, record or DeletionRecord())
        else:
            self.tracing.processing.unmatched(event, record or DeletionRecord())
        await settle()
        return event

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return [s for s in self.exporter.get_finished_spans() if name in {None, s.name}]

    def span(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span


def name_of(span: ReadableSpan) -> str:
    """The `traceparent` that names it."""
    context = span.context
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    return name_of(span)[36:52]


def linked(span: ReadableSpan) -> list[str]:
    return [f"{link.context.span_id:016x}" for link in span.links]


Make = Callable[..., Traced]


@asynccontextmanager
async def making() -> AsyncIterator[Make]:
    """Makes traced stages; at the end each is closed, and no request is left."""
    made: list[Traced] = []

    def traced(*places: str, **options: Any) -> Traced:
        made.append(Traced(*places, **options))
        return made[-1]

    yield traced
    for each in made:
        await each.stage.close()
        assert len(each.tracing.requests) == 0
