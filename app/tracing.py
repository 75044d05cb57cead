"""Tracing by the settings."""

from __future__ import annotations

import functools
import os
from importlib import metadata
from typing import TYPE_CHECKING

from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from app.settings import Settings
    from operations.tracing.tracing import Tracing


def tracing_of(settings: Settings, utc_now: Callable[[], datetime]) -> Tracing | None:
    """Tracing as the settings ask for it; None, with nothing imported for it, when it is off.

    Raises:
        SettingsError: the extra is not installed, or an `OTEL_...` variable cannot be used.
    """
    if settings.traces == "off":
        return None
    try:
        from operations.tracing.exporter import otlp_provider  # noqa: PLC0415 - of an extra
        from operations.tracing.tracing import Tracing  # noqa: PLC0415 - the same
    except ImportError as error:
        raise SettingsError(
            f"TAKEDOWN_TRACES={settings.traces} needs takedown's extra `tracing`: {error}"
        ) from None
    return Tracing(
        otlp_provider(os.environ, version()),
        reported=settings.topic_item_reported,
        deleted=settings.topic_item_deleted,
        utc_now=utc_now,
        version=version(),
    )


@functools.cache
def version() -> str:
    """The version of the installed package; "0" in a checkout that was not installed."""
    try:
        return metadata.version("takedown")
    except metadata.PackageNotFoundError:
        return "0"
