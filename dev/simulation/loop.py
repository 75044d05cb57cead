"""An event loop whose time passes only when there is nothing to do.

Two kinds of things have a time. *Timers* are the program's (`call_at`, `call_later`). *Happenings*
are the world's (`happen`): what other machines do, and what arrives from them. A happening runs at
its own moment and not as a callback of the program, so that the world goes on while the process is
stopped (`pause`): when it runs again, everything that came meanwhile is there at once, and so are
all timers that fell due. As in a real loop, what came from outside is handed out first.

What the program makes ready runs in the order in which it was made ready, as asyncio promises;
nothing is shuffled. The freedom that a real system has lies in when things arrive, and in how long
the program's own callbacks take: the world may act between any two of them (`after_callbacks`).
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import base_events
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_000.0
"""The loop's time at the beginning; a real one does not begin at zero, either."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall clock at that time."""


class Forever(Exception):
    """Everybody waits, and nothing will ever happen."""


class Runaway(Exception):
    """The program has been busy for so long without time passing that it will never end."""


class Happening:
    """Something that the world will do; may be cancelled."""

    __slots__ = ("_act", "_arguments", "at", "number")

    def __init__(
        self, at: float, number: int, act: Callable[..., object] | None, arguments: tuple[Any, ...]
    ) -> None:
        self.at = at
        self.number = number
        self._act = act
        self._arguments = arguments

    def cancel(self) -> None:
        """It will not happen."""
        self._act = None

    def run(self) -> None:
        """Let it happen."""
        if self._act is not None:
            self._act(*self._arguments)


class SimulatedLoop(base_events.BaseEventLoop):
    """The loop of one run.

    Args:
        patience: turns that the program may take without time passing.
    """

    def __init__(self, *, patience: int = 200_000) -> None:
        super().__init__()
        self._now = START
        self._world: list[tuple[float, int, Happening]] = []
        self._number = 0
        self._patience = patience
        self._turns = 0
        self._paused = False
        self._counting: list[tuple[int, int, Callable[[], object]]] = []
        self._counted = 0
        self.servers: dict[int, SimulatedServer] = {}
        self._next_port = 1024
        self.complaints: list[str] = []
        self.set_exception_handler(_complain)

    # ------------------------------------------------------------------------------ time

    def time(self) -> float:
        """Now, in seconds."""
        return self._now

    @property
    def paused(self) -> bool:
        """Whether the process is stopped: the world acts, and the program does not."""
        return self._paused

    def happen(self, delay: float, act: Callable[..., object], *arguments: Any) -> Happening:
        """Have the world call `act` so many seconds from now."""
        self._number += 1
        happening = Happening(self._now + delay, self._number, act, arguments)
        heapq.heappush(self._world, (happening.at, happening.number, happening))
        return happening

    def pause(self, seconds: float) -> None:
        """Stop the process for so long; to be called by a happening."""
        until = self._now + seconds
        self._paused = True
        try:
            while self._world and self._world[0][0] <= until:
                self._next_happening()
        finally:
            self._paused = False
        self._now = max(self._now, until)

    def after_callbacks(self, number: int, act: Callable[[], object]) -> None:
        """Have the world call `act` in the midst of the program: so many callbacks from now.

        What was ready at that moment is run after it.
        """
        self._number += 1
        heapq.heappush(self._counting, (self._counted + number, self._number, act))

    def _next_happening(self) -> None:
        at, _, happening = heapq.heappop(self._world)
        self._now = max(self._now, at)
        happening.run()

    def _run_once(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        ready = self._ready  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            self._let_time_pass(scheduled)
        now = self._now
        while scheduled and (scheduled[0]._when <= now or scheduled[0]._cancelled):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
        self._turns += 1
        if self._turns > self._patience:
            turns, self._turns = self._turns, 0
            raise Runaway(f"{turns} turns at {now}")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
                if self._counting:
                    self._count()

    def _count(self) -> None:
        self._counted += 1
        while self._counting and self._counting[0][0] <= self._counted:
            heapq.heappop(self._counting)[2]()

    def _let_time_pass(self, scheduled: list[Any]) -> None:
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        self._turns = 0
        if self._world and (not scheduled or self._world[0][0] <= scheduled[0]._when):
            self._next_happening()
        elif scheduled:
            self._now = max(self._now, scheduled[0]._when)
        else:
            raise Forever("everybody waits, and nothing will ever happen")

    # ----------------------------------------------------------------- what is left of I/O

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        """Cancelled timers leave the heap when their time has come."""

    def _process_events(self, _events: list[Any]) -> None:
        """There is no selector."""

    def _write_to_self(self) -> None:
        """There is no selector to wake, and no other thread."""

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        **_options: Any,
    ) -> SimulatedServer:
        """Listen on a port of this simulated machine."""
        if not port:
            self._next_port += 1
            port = self._next_port
        if port in self.servers:
            raise OSError(98, "Address already in use")
        server = SimulatedServer(self, protocol_factory, host, port)
        self.servers[port] = server
        return server


class SimulatedServer:
    """What listens on one port; callers connect by its `protocol_factory`."""

    def __init__(
        self,
        loop: SimulatedLoop,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
    ) -> None:
        self._loop = loop
        self.protocol_factory = protocol_factory
        self._name = (host, port)
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        """Its address."""
        return self._name

    def close(self) -> None:
        """Stop listening."""
        self._loop.servers.pop(self._name[1], None)

    async def wait_closed(self) -> None:
        """It is closed at once."""


def wall_clock(loop: asyncio.AbstractEventLoop) -> datetime:
    """The simulated world's wall clock."""
    return EPOCH + timedelta(seconds=loop.time() - START)


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, SimulatedLoop)
    error = context.get("exception")
    loop.complaints.append(f"{context.get('message')}: {error!r}")
