"""The span of each publication: `send item_reported`.

It stands between the censors and the publisher, so that the records carry the context of the span
that sent them, as the conventions for messaging have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from opentelemetry.trace import SpanKind, Status, StatusCode

from domain.messages import PublishFailed
from operations.tracing.context import below, is_sampled, span_context, text, traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from actors.item_censor.actor import Publication, Publisher, Tell
    from domain.messages import Container, Takedown
    from operations.tracing.requests import RequestSpans


class TracedPublisher:
    """Publishes through another publisher.

    Args:
        publisher: does it.
        topic: where to.
        tracer: makes spans.
        requests: hears of the contexts that records carry.
    """

    def __init__(
        self, publisher: Publisher, *, topic: str, tracer: Tracer, requests: RequestSpans
    ) -> None:
        self._publisher = publisher
        self._topic = topic
        self._tracer = tracer
        self._requests = requests

    def publish(
        self, takedown: Takedown, containers: tuple[Container, ...], tell: Tell
    ) -> Publication:
        """As `Publisher.publish`; the span lasts until all are settled or nobody waits.

        Without one, the records carry the context of the request.
        """
        if not is_sampled(takedown.traceparent):
            return self._publisher.publish(takedown, containers, tell)
        span = self._begin(takedown, len(containers))
        context = span.get_span_context()
        if context.is_valid:
            takedown = replace(takedown, traceparent=traceparent(context))

        def settled(event: Any) -> object:
            _end(span, event)
            return tell(event)

        return _TracedPublication(self._publisher.publish(takedown, containers, settled), span)

    def _begin(self, takedown: Takedown, count: int) -> Span:
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.operation.name": "send",
            "messaging.destination.name": self._topic,
            "messaging.kafka.message.key": takedown.item_id,
            "takedown.id": takedown.takedown_id,
        }
        if count > 1:  # the conventions want no count on a single message
            attributes["messaging.batch.message_count"] = count
        span = self._tracer.start_span(
            f"send {self._topic}",
            below(span_context(takedown.traceparent, remote=False)),
            kind=SpanKind.PRODUCER,
            attributes=attributes,
        )
        request = self._requests.find(takedown.traceparent)
        if request is not None:
            request.sends.append(span.get_span_context())
        return span


class _TracedPublication:
    __slots__ = ("_publication", "_span")

    def __init__(self, publication: Publication, span: Span) -> None:
        self._publication = publication
        self._span = span

    def stop(self) -> None:
        """Nobody waits any more; what becomes of the records is not told then."""
        self._publication.stop()
        if self._span.is_recording():
            self._span.set_attribute("takedown.abandoned", value=True)
            self._span.end()


def _end(span: Span, event: Any) -> None:
    if not span.is_recording():
        return
    if isinstance(event, PublishFailed):
        kind = "not_acknowledged" if event.handed_over else "not_handed_over"
        span.set_attribute("error.type", kind)
        span.set_attribute("takedown.unpublished", len(event.unpublished))
        span.set_status(Status(StatusCode.ERROR, text(event.cause)))
        if event.unacknowledged:
            return  # more is told, or nobody waits for it and the publication is stopped
    span.end()
