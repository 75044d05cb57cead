"""The process around a command: its log, signals, limits and event loop, from start to exit."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from app.lifecycle import Failed, Lifecycle
from app.logs import configure, log_the_rest
from app.open_files import allow_many_files, within
from app.signals import block_signals, handle_signals, hold_signals, ignore_signals
from app.workers.stdout import share_output
from domain.errors import BrokerStartError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.settings import Settings

logger = logging.getLogger("takedown")

Start: TypeAlias = "Callable[[Settings, Lifecycle, Failed], Awaitable[Callable[[], None]]]"
"""Starts a command's parts, each registered with the lifecycle; returns what a second signal calls.

The future is set, with the reason, when the command has failed."""

FAILED = 1
"""The exit status when something failed."""

_COLLECT_AFTER = 20_000
"""Objects created and not freed after which the collector searches for cycles. A takedown leaves
no cycles."""

_SAME_KEYSTROKE = 0.5
"""Seconds within which a second signal repeats the first: the terminal sends a Ctrl-C to every
process of its group, and a program that starts others passes it on to them."""


def run(start: Start, settings: Settings, number: int | None = None) -> int:
    """Run a command until it is asked to stop or fails.

    Args:
        start: starts the command's parts.
        settings: every setting.
        number: of the worker that this process is, if it is one.

    Returns:
        The exit status.

    Raises:
        SettingsError: a setting cannot be used.
    """
    hold_signals()
    json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stdout.isatty()
    )
    configure(level=settings.log_level, json=json)
    if settings.workers > 1 or number is not None:
        share_output(number)
    log_the_rest()
    settings = within(settings, allow_many_files())
    _collect_less_often()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_until_stopped(start, settings))
    except (SettingsError, click.ClickException):
        raise
    except Exception:
        logger.critical("Stopped by a defect", exc_info=True)
        return FAILED
    finally:
        ignore_signals()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _collect_less_often() -> None:
    """Exempt what is imported from garbage collection, and search for cycles less often."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


class _StopRequests:
    """The signals that ask the process to stop, and what the second of them hurries.

    Attributes:
        stop: set by the first signal.
        hurry: called by each further one: do not wait for what is in flight.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._first_at = self._loop.time()

    def on_signal(self, name: str) -> None:
        if not self.stop.is_set():
            logger.info("Stopping on %s", name)
            self._first_at = self._loop.time()
            self.stop.set()
        elif self._loop.time() - self._first_at > _SAME_KEYSTROKE:
            logger.warning("Stopping at once on another %s", name)
            if self.hurry is not None:
                self.hurry()

    def on_hangup(self) -> None:
        if not self.stop.is_set():
            self.on_signal("SIGHUP")


async def _until_stopped(start: Start, settings: Settings) -> int:
    failed: Failed = asyncio.get_running_loop().create_future()
    requests = _StopRequests()
    lifecycle = Lifecycle()
    handle_signals(
        on_stop=requests.on_signal, on_hangup=requests.on_hangup, on_reload=lifecycle.reload
    )
    try:
        starting = asyncio.ensure_future(start(settings, lifecycle, failed))
        stopping = asyncio.ensure_future(requests.stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            requests.hurry = starting.result()
            endings: list[asyncio.Future[Any]] = [stopping, failed]
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        else:
            starting.cancel()
            await asyncio.wait([starting])
        stopping.cancel()
    except BrokerStartError as error:
        logger.error("The embedded broker does not start: %s", error)
        return FAILED
    finally:
        await lifecycle.stop()
        block_signals()
    if failed.done():
        logger.critical("Stopped: %s", failed.result())
        return FAILED
    logger.info("Stopped")
    return 0
