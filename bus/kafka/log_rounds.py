"""When a log's end is asked for, so that those who wait share the answers.

One question is in flight at a time. The first one after a quiet moment goes out at once; the next
one not before `PACE` has passed since then, so that those who come at the same time share it. The
quick way is tried first (see `bus.kafka.log_end`), and the long way is the session's to take.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.kafka.log_end import Report
    from bus.kafka.read_barrier import CatchingUp, Ends, Round, Waiter

Ask: TypeAlias = "Callable[[Report], bool]"

PACE = 0.001
"""Seconds between the beginnings of two rounds at least.

With the exchange itself it is shorter than it takes until a deletion can come back (a publish, the
Items service, an event), so that it costs a takedown no time; and under load many share a round.
"""


class LogRounds:
    """The questions of one reader.

    Args:
        catching_up: who waits for them.

    Attributes:
        quick: how many were answered in the quick way.
        long: how many were answered in the long way.
    """

    def __init__(self, catching_up: CatchingUp) -> None:
        self._catching_up = catching_up
        self._quick: Ask | None = None
        self._round: Round | None = None
        self._start: asyncio.Handle | None = None
        self._long = asyncio.Event()
        self._not_before = 0.0
        self._looks: list[asyncio.Future[Ends]] = []
        self._looks_of_round: list[asyncio.Future[Ends]] = []
        self.quick = 0
        self.long = 0

    def ask(self, waiter: Waiter) -> None:
        """Done once all is read that was there when this was called; or fails."""
        self._catching_up.ask(waiter)
        self._next()

    async def look(self) -> Ends:
        """Where the log ends, asked for after this was called; it need not be read so far.

        Raises:
            KafkaUnavailable: the session is over.
        """
        look: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()
        self._looks.append(look)
        self._next()
        return await look

    def use(self, quick: Ask | None) -> None:
        """The quick way of asking, of this session."""
        self._quick = quick

    def reset(self) -> None:
        """The session is over: nothing is in flight any more."""
        if self._start is not None:
            self._start.cancel()
        self._quick = self._round = self._start = None
        for look in (*self._looks, *self._looks_of_round):
            if not look.done():
                look.set_exception(KafkaUnavailable("the session is over"))
                look.exception()  # the task that waits for it may be cancelled, too
        self._looks, self._looks_of_round = [], []
        self._long.clear()

    async def long_way(self) -> None:
        """Wait until the end has to be found out in the long way; `answered` ends that."""
        await self._long.wait()
        self._long.clear()

    def answered(self, ends: Ends) -> None:
        """These are the ends, asked for after `long_way` returned."""
        if self._round is not None:
            self.long += 1
            self._settle(self._round, ends)

    def _next(self) -> None:
        if self._round is not None or self._start is not None:
            return
        loop = asyncio.get_running_loop()
        if self._not_before <= loop.time():
            # Not at once: others who ask in this iteration of the loop share it.
            self._start = loop.call_soon(self._begin)
        else:
            self._start = loop.call_at(self._not_before, self._begin)

    def _begin(self) -> None:
        self._start = None
        self._not_before = asyncio.get_running_loop().time() + PACE
        self._round = self._catching_up.begin()
        self._looks_of_round, self._looks = self._looks, []
        if self._quick is None or not self._quick(partial(self._reported, self._round)):
            self._long.set()

    def _reported(self, round_: Round, ends: Ends | None) -> None:
        if round_ is not self._round:
            return  # of a session that is over
        if ends is None:
            self._long.set()
        else:
            self.quick += 1
            self._settle(round_, ends)

    def _settle(self, round_: Round, ends: Ends) -> None:
        round_.ends = ends
        self._round = None
        looks, self._looks_of_round = self._looks_of_round, []
        for look in looks:
            if not look.done():
                look.set_result(ends)
        self._catching_up.settle()
        if self._catching_up.asked or self._looks:
            self._next()
