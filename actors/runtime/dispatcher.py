"""Whose turn it is: the mailboxes of one loop that have something to be handled.

A takedown is seven messages from actor to actor. If each mailbox asked the loop for a turn of its
own, each of these messages would wait until everything else that is ready has had its turn. So they
stand in one line, and the loop comes to it once in a turn: what one actor tells another is handled
in the same turn, after those that stood there before. A mailbox whose message took long ends the
turn of the line.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

AT_ONCE = 256
"""How many mailboxes have their turn before others on the loop have theirs."""

MOST_AT_ONCE = 2000
"""The same if so many wait: what comes in during one turn of the loop must go out in the next, or
the line grows and everything in it is late. They take about 40 ms."""


class Dispatcher:
    """The line of one loop, to be used on its thread alone; `dispatcher_of` finds it."""

    __slots__ = ("_line", "_loop", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._line: deque[Callable[[], object]] = deque()
        self._scheduled = False

    def add(self, drain: Callable[[], object]) -> None:
        """Call `drain` once, in this turn of the loop if it is the line's, else in the next.

        If it returns something true, it has taken long, and the rest of the line waits for the
        loop's next turn.
        """
        self._line.append(drain)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        line = self._line
        try:
            for _ in range(min(max(AT_ONCE, len(line)), MOST_AT_ONCE)):
                if not line or line.popleft()():
                    break
        finally:
            self._scheduled = bool(line)
            if line:
                self._loop.call_soon(self._run)


_DISPATCHERS: dict[asyncio.AbstractEventLoop, Dispatcher] = {}


def dispatcher_of(loop: asyncio.AbstractEventLoop) -> Dispatcher:
    """The line of this loop; to be called on its thread."""
    dispatcher = _DISPATCHERS.get(loop)
    if dispatcher is None:
        # They hold their loop, so that a table of weak references would keep it for ever.
        for other in tuple(_DISPATCHERS):
            if other.is_closed():
                _DISPATCHERS.pop(other, None)
        dispatcher = _DISPATCHERS[loop] = Dispatcher(loop)
    return dispatcher
