"""An actor's mailbox: a list, and the scheduling of its drains on the event loop.

Putting the first message into an empty mailbox adds one drain to the loop's dispatcher
(`dispatcher`), so that what actors tell each other is handled in the same iteration of the event
loop. A drain that leaves messages schedules itself again after everything else that is ready.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from actors.runtime.dispatcher import dispatcher_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_FEW = 8
"""So many messages are popped from a mailbox one by one."""


class Mailbox:
    """An actor's inbox, drained by the loop. `put` may be called from any thread.

    Other threads only ever append to `arrived`, which stays the same list for ever; all the rest
    is done on the loop's thread, by single operations of the list, which no other thread can
    interrupt. A thread that appends between two of them does so after what they pop.

    (An empty deque would be 760 bytes for each actor.)
    """

    __slots__ = ("_dispatcher", "_loop", "_receive", "_scheduled", "_thread", "arrived", "taken")

    def __init__(self) -> None:
        self.arrived: list[Any] = []
        self.taken: list[Any] | None = None  # popped from `arrived`, the first one last
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[], object] | None = None
        self._scheduled = False
        self._thread = 0

    def on_own_thread(self) -> bool:
        """Whether the caller runs on the thread of the loop that drains this mailbox."""
        return get_ident() == self._thread

    def attach(self, loop: asyncio.AbstractEventLoop, receive: Callable[[], object]) -> None:
        """Have `receive` called on `loop` whenever there is something to handle.

        If it returns something true, it took long, and others run before the rest is handled.
        """
        self._loop = loop
        self._dispatcher = dispatcher_of(loop)
        self._receive = receive
        self._thread = get_ident()
        self._schedule()  # on_start has to run, and messages may be waiting already

    def put(self, message: Any, /) -> None:
        """Add a message, or an `Asked`, at the end."""
        self.arrived.append(message)
        if self._loop is None or self._scheduled:
            return
        if get_ident() == self._thread:
            self._scheduled = True
            self._dispatcher.add(self._run)
        else:
            self._loop.call_soon_threadsafe(self._schedule)

    def get(self) -> Any:
        """Pop the first message; IndexError if there is none."""
        if self.taken:
            return self.taken.pop()
        arrived = self.arrived
        if len(arrived) <= _FEW:
            return arrived.pop(0)
        # Of a long list each `pop(0)` would move all the others.
        taken = arrived.copy()
        del arrived[: len(taken)]
        taken.reverse()
        self.taken = taken
        return taken.pop()

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self.arrived and not self.taken

    def __len__(self) -> int:
        return len(self.arrived) + len(self.taken or ())

    def _schedule(self) -> None:
        if not self._scheduled and self._receive is not None and self._loop is not None:
            self._scheduled = True
            self._dispatcher.add(self._run)

    def _run(self) -> bool:
        # Cleared first: a put from another thread after the drain's last check then schedules a run
        # of its own, and at worst one run finds nothing.
        self._scheduled = False
        gives_way = False
        if self._receive is not None:
            gives_way = bool(self._receive())
            if (self.arrived or self.taken) and not self._scheduled and self._loop is not None:
                self._scheduled = True
                if gives_way:
                    # The dispatcher runs one drain that takes long in each iteration of the loop.
                    self._dispatcher.add(self._run)
                else:
                    # More than one drain may handle: the rest comes after everything else.
                    self._loop.call_soon(self._run)
        return gives_way
