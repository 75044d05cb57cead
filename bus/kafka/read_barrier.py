"""Who waits until a log is read to where it ended when they asked.

Callers that ask at the same time share one question to the broker. It is always asked after the
last of them came; whoever comes while it is on its way waits for the next one, since the log may
have grown meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

Ends: TypeAlias = Mapping[Any, int]
"""Where each partition of the log ends."""


class Waiter(Protocol):
    """Who waits: a future, or what costs less than one. Told at once, from within the round."""

    def done(self) -> bool:
        """Whether it does not wait any more."""

    def set_result(self, result: None, /) -> None:
        """It is read."""

    def set_exception(self, error: Exception, /) -> None:
        """It cannot be shown."""


class Round:
    """One question, and who waits for what it says to be read; `ends` is None until it is known."""

    __slots__ = ("ends", "waiters")

    def __init__(self, ends: Ends | None, waiters: list[Waiter]) -> None:
        self.ends = ends
        self.waiters = waiters


class CatchingUp:
    """The rounds of one reader.

    Args:
        distance: how many records are left to read up to such ends.
    """

    def __init__(self, distance: Callable[[Ends], int]) -> None:
        self._distance = distance
        self._rounds: list[Round] = []
        self._waiting: list[Waiter] = []
        self._read: Ends | None = None

    def ask(self, waiter: Waiter) -> None:
        """Done once all is read that was there when this was called; or fails."""
        self._waiting.append(waiter)

    def expect(self, ends: Ends) -> asyncio.Future[None]:
        """Done once it is read to these ends; or fails."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rounds.append(Round(ends, [waiter]))
        return waiter

    @property
    def asked(self) -> bool:
        """Whether somebody waits for a round that has not begun."""
        return bool(self._waiting)

    def begin(self) -> Round:
        """Begin a round for all who wait; the caller finds the ends out and sets them."""
        begun = Round(None, self._waiting)
        self._waiting = []
        self._rounds.append(begun)
        return begun

    def renew(self, ends: Ends) -> None:
        """The log ends there now: whoever waits for an end that was cut off waits for this one.

        An end is never cut off by anything but a new leader that lacks the last records. What it
        has is what is in the log, and these ends were asked for later than the ones before.
        """
        for round_ in self._rounds:
            if round_.ends is not None and any(
                end > ends.get(tp, end) for tp, end in round_.ends.items()
            ):
                round_.ends = ends

    def settle(self) -> None:
        """Let those go on who waited for what is read by now."""
        for round_ in tuple(self._rounds):
            if self._is_read(round_.ends):
                self._rounds.remove(round_)
                for waiter in round_.waiters:
                    if not waiter.done():
                        waiter.set_result(None)

    def _is_read(self, ends: Ends | None) -> bool:
        if ends is None:
            return False
        # The same ends as before, mostly: what was read to them stays read until `fail`.
        if ends is not self._read and self._distance(ends) == 0:
            self._read = ends
        return ends is self._read

    def fail(self, error: Exception) -> None:
        """Tell everyone who waits that it cannot be shown."""
        self._read = None
        waiters = [*self._waiting, *(w for round_ in self._rounds for w in round_.waiters)]
        self._waiting.clear()
        self._rounds.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
