"""Tracing by the settings: spans through OpenTelemetry, or none, and then nothing is imported."""

from __future__ import annotations

import functools
import os
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from app.deletions import deliver_deletions
from domain.errors import SettingsError
from web.headers import take_traceparent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from actors.fsm.transitions import TransitionFeed
    from actors.item_censor.actor import Publisher
    from app.lifecycle import Lifecycle
    from app.settings import Settings
    from bus.kafka.record_handler import Record
    from domain.messages import ItemDeleted

    Handler = Callable[[Any], Awaitable[Any]]

_FLUSH = 5.0


class Tracing(Protocol):
    """What traces the parts of a service."""

    @property
    def traceparent(self) -> Callable[[str | None], str]:
        """Makes the trace context of a takedown, by the caller's header."""

    def begin(self, feed: TransitionFeed) -> None:
        """Observe the censors' transitions from now on."""

    def around(self, handle: Handler) -> Handler:
        """The public API's handler, with a span around it."""

    def publisher(self, publisher: Publisher) -> Publisher:
        """A publisher whose records carry the context of the span that sent them."""

    def deletions(
        self,
        publish: Callable[[ItemDeleted], object],
        unmatched: Callable[[ItemDeleted], object],
    ) -> Callable[[Record], None]:
        """The handler of each record of `item_deleted`.

        Args:
            publish: delivers a deletion; returns whether an actor waited for it.
            unmatched: receives those for which no actor waited.
        """


class NoTracing:
    """Makes no spans: every part is used as it is, without another layer."""

    @property
    def traceparent(self) -> Callable[[str | None], str]:
        """The caller's own, or a new one."""
        return take_traceparent

    def begin(self, feed: TransitionFeed) -> None:
        """Observe nothing."""

    def around(self, handle: Handler) -> Handler:
        """The handler itself."""
        return handle

    def publisher(self, publisher: Publisher) -> Publisher:
        """The publisher itself."""
        return publisher

    def deletions(
        self,
        publish: Callable[[ItemDeleted], object],
        unmatched: Callable[[ItemDeleted], object],
    ) -> Callable[[Record], None]:
        """See `Tracing`."""
        return deliver_deletions(publish, unmatched)


def tracing_of(
    settings: Settings, lifecycle: Lifecycle, utc_now: Callable[[], datetime]
) -> Tracing:
    """Tracing as the settings ask for it. The shutdown exports what is left.

    Raises:
        SettingsError: the extra is not installed, or an `OTEL_...` variable cannot be used.
    """
    if settings.traces == "off":
        return NoTracing()
    try:
        from operations.tracing import tracing as spans  # noqa: PLC0415 - of an extra
        from operations.tracing.exporter import otlp_provider  # noqa: PLC0415 - the same
    except ImportError as error:
        raise SettingsError(
            f"TAKEDOWN_TRACES={settings.traces} needs takedown's extra `tracing`: {error}"
        ) from None
    tracing = spans.Tracing(
        otlp_provider(os.environ, version()),
        reported=settings.topic_item_reported,
        deleted=settings.topic_item_deleted,
        utc_now=utc_now,
        version=version(),
    )
    lifecycle.started("export what is left of traces", tracing.stop, within=_FLUSH)
    return tracing


@functools.cache
def version() -> str:
    """The version of the installed package; "0" in a checkout that was not installed."""
    try:
        return metadata.version("takedown")
    except metadata.PackageNotFoundError:
        return "0"
