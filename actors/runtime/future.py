"""The answer to an `ask`: a pykka future that can be awaited on the event loop."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
from pykka._future import _Unset

from actors.runtime.timer_heap import alarms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pykka._types import OptExcInfo

    from actors.runtime.timer_heap import Alarm

T = TypeVar("T")

_TURNS = 5
"""Turns of the loop that whoever is to answer still has when the time is over."""

_HELD_UP = 0.1
"""Seconds by which a timeout that comes late says that the whole loop was held up."""


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class LoopFuture(pykka.Future[T]):
    """A `pykka.Future` that belongs to an event loop.

    On the loop's own thread `await` it: `get()` would stop the loop that is to fulfil it, so it
    raises unless the answer is there. In other threads `get()` waits, as pykka's futures do.

    Args:
        loop: the loop that fulfils it; by default the one that runs in this thread. A future
            without a loop can only be derived from another (pykka's `map()` and the like).
        timeout: seconds after which it fails with `pykka.Timeout`; None means never.
    """

    # What pykka's constructor gives to each; here they are shared by all that are not derived.
    _get_hook: Callable[[float | None], T] | None = None
    _get_hook_result: T | _Unset = _Unset()
    _alarm: Alarm | None = None
    _grace: asyncio.Handle | None = None
    _timed_out = False

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None = None, *, timeout: float | None = None
    ) -> None:
        self._bound_to = loop if loop is not None else _running_loop()
        if self._bound_to is not None:
            self._future: asyncio.Future[Any] = self._bound_to.create_future()
        if timeout is not None:
            self._timeout = timeout
            self._on_loop(self._arm)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        if self._bound_to is None:
            raise RuntimeError("This future belongs to no event loop")
        return self._bound_to

    def _on_loop(self, callback: Any, *args: Any) -> None:
        try:
            here = asyncio.get_running_loop() is self._bound_to
        except RuntimeError:
            here = False
        if here:
            callback(*args)
        else:
            self._loop.call_soon_threadsafe(callback, *args)

    def _arm(self) -> None:
        if not self._future.done():
            due = self._loop.time() + self._timeout
            self._alarm = alarms_of(self._loop).set(due, LoopFuture._time_out, self)

    def _time_out(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None and self._loop.time() - alarm.at > _HELD_UP:
            # The process was stopped, or the loop was blocked: whoever is to answer has not had a
            # turn either, and may have his answer ready.
            self._grace = self._loop.call_later(_HELD_UP, self._give_up, _TURNS)
        else:
            self._give_up(_TURNS)

    def _give_up(self, turns: int) -> None:
        self._grace = None
        if self._future.done():
            return
        if turns:
            # It may have been held up until just now: an earlier timer came in this same turn.
            self._grace = self._loop.call_soon(self._give_up, turns - 1)
        else:
            self._resolve(None, pykka.Timeout(f"{self._timeout} seconds"))
            self._timed_out = True

    def _resolve(self, value: Any, error: BaseException | None) -> None:
        if self._future.cancelled() or self._timed_out:
            self._disarm()
            return  # whoever asked has stopped waiting, which is theirs to decide
        if error is None:
            self._future.set_result(value)
        else:
            self._future.set_exception(error)
            # Nobody may be waiting any more; the actor's own failure was logged where it was.
            self._future.exception()
        self._disarm()

    def _disarm(self) -> None:
        if self._alarm is not None:
            alarms_of(self._loop).cancel(self._alarm)
            self._alarm = None
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def done(self) -> bool:
        """Whether there is an answer, an error or a timeout."""
        return self._future.done()

    def when_done(self, callback: Callable[[asyncio.Future[Any]], object]) -> None:
        """Have `callback` called on the loop once there is an answer, an error or a timeout."""
        self._on_loop(self._future.add_done_callback, callback)

    def set(self, value: T | None = None) -> None:
        """Answer with `value`.

        Raises:
            asyncio.InvalidStateError: on the loop's thread, if it was answered before. An
                answer after the timeout is dropped: no caller waits for it.
        """
        self._on_loop(self._resolve, value, None)

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        """Answer with an error; by default the one that is being handled."""
        error = (exc_info or sys.exc_info())[1]
        if error is None:
            error = RuntimeError("set_exception() without an exception")
        self._on_loop(self._resolve, None, error)

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the answer in a thread that is not the loop's own.

        Raises:
            pykka.Timeout: there was none within `timeout` seconds.
            RuntimeError: on the loop's own thread, before there is one.
        """
        if self._get_hook is not None:  # it is derived from another
            return super().get(timeout=timeout)
        if not self._future.done():
            self._wait(timeout)
        result: T = self._future.result()
        return result

    def _wait(self, timeout: float | None) -> None:
        if _running_loop() is not None:
            raise RuntimeError("get() would block the event loop: await the future instead")
        answered = threading.Event()
        self.when_done(lambda _future: answered.set())
        if not answered.wait(timeout):
            raise pykka.Timeout(f"{timeout} seconds")

    def __await__(self) -> Generator[Any, None, T]:
        if self._get_hook is None:
            return self._future.__await__()
        # Made by map(), filter(), join() or reduce(): those call get(), which blocks.
        get = functools.partial(pykka.Future.get, self, timeout=None)
        return self._loop.run_in_executor(None, get).__await__()

    __iter__ = __await__
