"""Tracing as the composition root sees it: what to put around which part."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from operations.tracing.processing import ProcessingSpans
from operations.tracing.requests import RequestSpans
from operations.tracing.sending import TracedPublisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from opentelemetry.sdk.trace import TracerProvider

    from actors.item_censor.actor import Publisher

logger = logging.getLogger("takedown.traces")

FLUSH = 4.0
"""Seconds that the spans which are left may take to get to the collector, at the end."""


class Tracing:
    """The spans of one service.

    Args:
        provider: makes them and takes them away.
        reported: the topic of the delete requests.
        deleted: the topic of the deletions.
        utc_now: the wall clock, for labels.
        version: of the service.
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

    def publisher(self, publisher: Publisher) -> TracedPublisher:
        """A publisher whose records carry the context of the span that sent them."""
        return TracedPublisher(
            publisher, topic=self._reported, tracer=self._tracer, requests=self.requests
        )

    async def stop(self, within: float = FLUSH) -> None:
        """Send what is left, for so many seconds at most.

        A collector that does not answer can hold the SDK up for longer than any bound: so that is
        left to a thread which the program's end does not wait for.
        """
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def shut_down() -> None:
            try:
                self._provider.shutdown()
            finally:
                with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                    loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=shut_down, name="flush traces", daemon=True).start()
        try:
            async with asyncio.timeout(within):
                await stopped.wait()
        except TimeoutError:
            logger.warning("Some traces did not get to the collector before the shutdown")
