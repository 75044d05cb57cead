"""What makes a service one worker among several, and its connection to the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.lifecycle import Failed, fail
from app.workers.ipc import PublicApiOpened

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings
    from app.workers.ipc import Link

SHUTDOWN = 60.0
"""Seconds on top of the deadline; the steps of a worker's own shutdown are bounded by less."""

_OPEN_AFTER = 5.0
"""Seconds that a worker which replaces another one waits for readiness before it takes callers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker uses the callers' port that it shares.

    Attributes:
        open_after: seconds after which the callers' port is opened at the latest, or None; until
            then it waits for readiness. A worker that replaces another one does not wait forever:
            when no worker is ready, callers get an answer that says so.
        on_open: called when the public API has been opened.
    """

    open_after: float | None
    on_open: Callable[[], None]


def join(settings: Settings, failed: Failed, link: Link, *, replaces: bool) -> WorkerOptions:
    """Watch the link, so that this worker stops once its supervisor has gone.

    Args:
        settings: of this worker.
        failed: set when the supervisor has gone.
        link: to the supervisor.
        replaces: it was started instead of a worker that has ended.
    """
    loop = asyncio.get_running_loop()

    def on_gone() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and soon the process
            loop.call_soon_threadsafe(fail, failed, "its supervisor has gone")

    link.watch(on_gone, linger=settings.shutdown_grace + settings.timeout + SHUTDOWN)
    return WorkerOptions(
        open_after=_OPEN_AFTER if replaces else None,
        on_open=lambda: link.report(PublicApiOpened()),
    )
