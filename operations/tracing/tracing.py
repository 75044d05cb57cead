"""Tracing as the composition root uses it: what wraps which part of the service."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from bus.kafka.codec import decode_item_deleted
from operations.tracing.processing import ProcessingSpans
from operations.tracing.requests import RequestSpans
from operations.tracing.sending import TracedPublisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from opentelemetry.sdk.trace import TracerProvider

    from actors.fsm.transitions import TransitionFeed
    from actors.item_censor.actor import Publisher
    from bus.kafka.record_handler import Record
    from domain.messages import ItemDeleted

logger = logging.getLogger("takedown.traces")

FLUSH = 4.0
"""Seconds at the end for the remaining spans to reach the collector."""


class Tracing:
    """The spans of one service.

    Args:
        provider: makes and exports them.
        reported: the topic of the delete requests.
        deleted: the topic of the deletions.
        utc_now: the wall clock, for labels.
        version: of the service.

    Attributes:
        requests: the spans of requests.
        processing: the spans of deletions; an observer of the feed.
        around: wraps the public API's handler in a span.
        traceparent: makes the trace context of a takedown, by the caller's header.
    """

    def __init__(
        self,
        provider: TracerProvider,
        *,
        reported: str,
        deleted: str,
        utc_now: Callable[[], datetime],
        version: str,
    ) -> None:
        self._provider = provider
        self._reported = reported
        self._tracer = provider.get_tracer("takedown", version)
        self.requests = RequestSpans(self._tracer)
        self.processing = ProcessingSpans(
            topic=deleted, tracer=self._tracer, requests=self.requests, utc_now=utc_now
        )
        self.around = self.requests.around
        self.traceparent = self.requests.traceparent

    def begin(self, feed: TransitionFeed) -> None:
        """Observe the censors' transitions from now on."""
        feed.subscribe(self.processing)

    def publisher(self, publisher: Publisher) -> TracedPublisher:
        """A publisher whose records carry the context of the span that sent them."""
        return TracedPublisher(
            publisher, topic=self._reported, tracer=self._tracer, requests=self.requests
        )

    def deletions(
        self,
        publish: Callable[[ItemDeleted], object],
        unmatched: Callable[[ItemDeleted], object],
    ) -> Callable[[Record], None]:
        """The handler of each record of `item_deleted`, which notes where the deletion came from.

        Args:
            publish: delivers a deletion; returns whether an actor waited for it.
            unmatched: receives those for which no actor waited.
        """
        processing = self.processing

        def handle(record: Record) -> None:
            event = decode_item_deleted(record.value)
            if publish(event):
                processing.read(event, record)
            else:
                processing.unmatched(event, record)
                unmatched(event)

        return handle

    async def stop(self, within: float = FLUSH) -> None:
        """Send what is left, for so many seconds at most.

        A collector that does not answer can block the SDK for longer than any bound. So a daemon
        thread does it, for which the program's end does not wait.
        """
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def shut_down() -> None:
            try:
                self._provider.shutdown()
            finally:
                with suppress(RuntimeError):  # the loop has ended, and nothing waits any more
                    loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=shut_down, name="flush traces", daemon=True).start()
        try:
            async with asyncio.timeout(within):
                await stopped.wait()
        except TimeoutError:
            logger.warning("Some traces did not get to the collector before the shutdown")
