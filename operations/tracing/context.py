"""W3C trace context, from text to OpenTelemetry's and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from web.headers import is_traceparent

if TYPE_CHECKING:
    from collections.abc import Sequence


def span_context(traceparent: str | None, *, remote: bool) -> SpanContext | None:
    """What a `traceparent` names; None if there is none, or it is not valid.

    Args:
        traceparent: text from a header, of whatever kind.
        remote: it came from another program.
    """
    if traceparent is None or not is_traceparent(traceparent):
        return None
    _, trace_id, span_id, flags = traceparent.split("-")[:4]
    # Of the flags only `sampled` means something to us; others are not passed on (W3C, 3.2.2.5).
    sampled = int(flags, 16) & TraceFlags.SAMPLED
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(sampled))


def is_sampled(ours: str) -> bool:
    """Whether anything below a span of ours is recorded, by its `traceparent`."""
    return ours.endswith("-01")


def below(parent: SpanContext | None) -> Context:
    """The context for a span below `parent`; a new trace without one.

    Never the current one: what runs on the loop belongs to many takedowns.
    """
    context = Context()
    return context if parent is None else set_span_in_context(NonRecordingSpan(parent), context)


def traceparent(context: SpanContext) -> str:
    """What names this span in a header."""
    # Only the flag that every reader of version 00 knows.
    sampled = context.trace_flags & TraceFlags.SAMPLED
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{sampled:02x}"


def traceparent_in(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    """The first `traceparent` among a record's headers, if it is text at all."""
    for name, value in headers:
        if name == "traceparent" and value is not None:
            return value.decode("ascii", "replace")
    return None


def text(value: str) -> str:
    """Text from outside as a span may carry it: short, and valid in UTF-8.

    One lone surrogate would make the exporter give up the whole batch that it is in.
    """
    return value[:200].encode("utf-8", "replace").decode()
