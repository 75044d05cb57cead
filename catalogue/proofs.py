"""Shows for each hit that no newer list of its item existed when the request came.

A hit is reported at once, and its takedown begins. At the same time the log is read to the end that
it has now; once that is done, whatever is newer was published, and `CatalogueCaughtUp` says so. If
it cannot be shown now, since Kafka is away or all is read again, it is tried again until shortly
before the takedown's deadline; then the takedown's own timer answers.

There is no task for a request: a future of the log calls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from messages import CatalogueCaughtUp

if TYPE_CHECKING:
    from messages import Takedown

Tell = Callable[[Any], object]
Prove = Callable[[], "asyncio.Future[None]"]

FIRST_WAIT = 0.05
LONGEST_WAIT = 0.5
"""Seconds before it is tried again; twice as long each time."""


class Proofs:
    """Those that are asked for now.

    Args:
        valid: whether what was read counts now: not while all is read again, since what is newer
            is not published then.
        margin: seconds before the deadline at which a takedown is given up.
    """

    def __init__(self, *, valid: Callable[[], bool], margin: float) -> None:
        self._valid = valid
        self._margin = margin
        self._futures: set[asyncio.Future[None]] = set()
        self._timers: dict[object, asyncio.TimerHandle] = {}
        self._stopped = False

    def __len__(self) -> int:
        """How many takedowns wait for theirs."""
        return len(self._futures) + len(self._timers)

    def follow(self, prove: Prove, takedown: Takedown, tell: Tell, failed: int = 0) -> None:
        """Report `CatalogueCaughtUp` to `tell` once it is shown."""
        future = prove()
        self._futures.add(future)
        future.add_done_callback(partial(self._on_done, prove, takedown, tell, failed))

    def _on_done(
        self,
        prove: Prove,
        takedown: Takedown,
        tell: Tell,
        failed: int,
        future: asyncio.Future[None],
    ) -> None:
        self._futures.discard(future)
        if self._stopped:
            return
        if not future.cancelled() and future.exception() is None and self._valid():
            tell(CatalogueCaughtUp(takedown.takedown_id))
            return
        loop = asyncio.get_running_loop()
        again = loop.time() + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failed, 16))
        if again < takedown.deadline - self._margin:
            timer = object()
            self._timers[timer] = loop.call_at(
                again, self._again, timer, prove, takedown, tell, failed + 1
            )

    def _again(
        self, timer: object, prove: Prove, takedown: Takedown, tell: Tell, failed: int
    ) -> None:
        del self._timers[timer]
        self.follow(prove, takedown, tell, failed)

    def stop(self) -> None:
        """Report nothing more."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        futures, self._futures = self._futures, set()
        for future in futures:
            future.cancel()
