"""What each signal does to the process, and its standard streams.

- SIGINT, SIGTERM: stop; a second one does not wait for what is in flight.
- SIGHUP, with a terminal: its terminal is closed, and that stops the process like SIGTERM. It
  often comes twice (from the kernel and from the shell), so it never counts as a second signal.
- SIGHUP, without a terminal: an operator asks for a reload.
- SIGUSR1, SIGUSR2: logged and ignored. By default they would end the process, and tools that
  rotate logs send them.
- SIGPIPE: ignored, as Python does: a write to a closed pipe or socket is an error of its own.
- SIGQUIT: left alone: it ends the process at once, with a core dump where the system allows one.

"With a terminal" means that the process has a controlling terminal when it starts. Only then do
the kernel and the shells send a SIGHUP when a terminal is closed, whatever the standard streams
are; without one, SIGHUP can only be a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("takedown")

_IGNORED = (signal.SIGUSR1, signal.SIGUSR2)
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *_IGNORED)


def has_terminal() -> bool:
    """Whether the process has a controlling terminal now."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def hold_signals() -> None:
    """Have those wait that are not handled yet and would end the process: see `handle_signals`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP, *_IGNORED))


def handle_signals(
    *,
    on_stop: Callable[[str], None],
    on_hangup: Callable[[], None],
    on_reload: Callable[[], Awaitable[None]],
) -> None:
    """Handle signals on the running loop.

    Args:
        on_stop: receives the name of each SIGINT and SIGTERM.
        on_hangup: the terminal was closed.
        on_reload: reloads; requests that come meanwhile are one more.
    """
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, on_stop, signum.name)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` leaves it: that is meant
        hangup = on_hangup if has_terminal() else _Reloading(on_reload).request
        loop.add_signal_handler(signal.SIGHUP, hangup)
    for signum in _IGNORED:
        loop.add_signal_handler(signum, logger.info, "%s is ignored", signum.name)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP, *_IGNORED))


def block_signals() -> None:
    """Have all of them wait while the loop, and with it their handlers, is closed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)


def ignore_signals() -> None:
    """None changes the exit status any more: the process is about to end by itself.

    Without this, a signal in its last moments (a second Ctrl-C, the shell's own SIGHUP, a rotation
    of logs) ends it by default, and lines that wait to be written are lost.
    """
    for signum in _HANDLED:
        signal.signal(signum, signal.SIG_IGN)


class _Reloading:
    """One reload at a time, however fast the requests come."""

    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        self._reload = reload
        self._requested = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        self._requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="reload")

    async def _run(self) -> None:
        while self._requested:
            self._requested = False
            await self._reload()


def open_standard_streams() -> None:
    """Open those that are closed on nothing.

    Otherwise the next file or socket of the process gets the number 0, 1 or 2, and what is meant
    for standard output goes to Kafka or to a client.
    """
    for fileno in range(3):
        try:
            os.fstat(fileno)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, fileno in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            stream = os.fdopen(fileno, "r" if fileno == 0 else "w", closefd=False)
            setattr(sys, name, stream)
