"""Named timers that cannot arrive late.

Each start of a timer gets a new generation. What the loop delivers goes through the actor's
mailbox like any message, and on arrival it counts only if its generation is still the current
one: a timer that was cancelled or replaced never reaches the actor, nor its next request.

Nor does the order in which a loop hands things out decide what came first. After it was held up
(the process was stopped, the machine was busy) timers and what other programs sent are all there
at once; the owner asks for the timers that are due before it handles anything else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from actors.runtime.timer_heap import alarms_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actors.runtime.timer_heap import Alarm


class TimerFired(Struct, frozen=True):
    """To the owner of the timer, through its mailbox."""

    name: str
    generation: int
    event: Any = None


class NamedTimers:
    """The timers of one actor.

    Args:
        loop: whose clock counts.
        deliver: puts a `TimerFired` into the owner's mailbox.

    Attributes:
        first_due: when the first one fires; the owner looks at it before each message.
    """

    __slots__ = ("_active", "_alarms", "_deliver", "_generation", "_loop", "first_due")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deliver: Callable[[TimerFired], object]
    ) -> None:
        self._loop = loop
        self._alarms = alarms_of(loop)
        self._deliver = deliver
        self._generation = 0
        self._active: dict[str, Alarm] = {}  # each with its `TimerFired`
        self.first_due = math.inf

    def __len__(self) -> int:
        return len(self._active)

    def remaining(self) -> dict[str, float]:
        """Seconds until each active timer fires."""
        now = self._loop.time()
        return {name: timer.at - now for name, timer in self._active.items()}

    def start(self, name: str, at: float, event: object) -> None:
        """Start a timer that fires at `at` (the loop's time) with `event`; replaces its like."""
        self.cancel(name)
        self._generation += 1
        fired = TimerFired(name, self._generation, event)
        self._active[name] = self._alarms.set(at, self._deliver, fired)
        self.first_due = min(self.first_due, at)

    def cancel(self, name: str) -> None:
        """Cancel the timer of this name, if there is one."""
        timer = self._active.pop(name, None)
        if timer is not None:
            self._alarms.cancel(timer)
            self._look()

    def cancel_all(self) -> None:
        """Cancel every timer."""
        for name in tuple(self._active):
            self.cancel(name)

    def take_due(self) -> Any | None:
        """The event of the first timer whose time has come, or None; it will not arrive again."""
        if not self._active or self.first_due > self._loop.time():
            return None
        fired: TimerFired = min(self._active.values()).argument
        self.cancel(fired.name)
        return fired.event

    def accept(self, fired: TimerFired) -> Any | None:
        """The event of a timer that has arrived, or None if it was cancelled or replaced."""
        timer = self._active.get(fired.name)
        if timer is None or timer.argument.generation != fired.generation:
            return None
        del self._active[fired.name]
        self._look()
        return timer.argument.event

    def _look(self) -> None:
        active = self._active
        self.first_due = min(timer.at for timer in active.values()) if active else math.inf
