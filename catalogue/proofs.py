"""Shows for each hit that no newer list of its item existed when the request came.

A hit is reported at once, and its takedown begins. At the same time the log is read to the end that
it has now; once that is done, whatever is newer was published, and `CatalogueCaughtUp` says so. If
it cannot be shown now, since Kafka is away or all is read again, it is tried again until shortly
before the takedown's deadline; then the takedown's own timer answers.

There is neither a task nor a future for a request: the round that reads the log's end calls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from domain.backoff import longest_wait
from domain.messages import CatalogueCaughtUp

if TYPE_CHECKING:
    from bus.kafka.read_barrier import Waiter
    from domain.messages import Takedown

Tell = Callable[[Any], object]
ProveTo = Callable[["Waiter"], object]

FIRST_WAIT = 0.05
LONGEST_WAIT = 0.5
"""Seconds before it is tried again; twice as long each time."""


class Proofs:
    """Those that are asked for now.

    Args:
        prepare: called before `valid`, once the log is read to the end that was asked for. It
            reports what has to be reported before a proof.
        valid: whether what was read counts now: not while all is read again, since what is newer
            is not published then.
        margin: seconds before the deadline at which a takedown is given up.
    """

    def __init__(
        self, *, prepare: Callable[[], object], valid: Callable[[], bool], margin: float
    ) -> None:
        self.prepare = prepare
        self.valid = valid
        self.margin = margin
        self._waiting: set[_Proof] = set()

    def __len__(self) -> int:
        """How many takedowns wait for theirs."""
        return len(self._waiting)

    def follow(self, prove_to: ProveTo, takedown: Takedown, tell: Tell) -> None:
        """Report `CatalogueCaughtUp` to `tell` once it is shown."""
        proof = _Proof(self, prove_to, takedown, tell)
        self._waiting.add(proof)
        prove_to(proof)

    def ended(self, proof: _Proof) -> None:
        """It is reported, or given up."""
        self._waiting.discard(proof)

    def stop(self) -> None:
        """Report nothing more."""
        waiting, self._waiting = self._waiting, set()
        for proof in waiting:
            proof.stop()


class _Proof:
    """One takedown's."""

    __slots__ = ("_failed", "_proofs", "_prove_to", "_stopped", "_takedown", "_tell", "_timer")

    def __init__(self, proofs: Proofs, prove_to: ProveTo, takedown: Takedown, tell: Tell) -> None:
        self._proofs = proofs
        self._prove_to = prove_to
        self._takedown = takedown
        self._tell = tell
        self._failed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def done(self) -> bool:
        """Whether it is not waited for any more."""
        return self._stopped

    def set_result(self, _result: None) -> None:
        """It is shown, if what was read counts."""
        self._proofs.prepare()
        if self._proofs.valid():
            self._proofs.ended(self)
            self._tell(CatalogueCaughtUp(self._takedown.takedown_id))
        else:
            self._try_again()

    def set_exception(self, _error: Exception) -> None:
        """It cannot be shown now."""
        self._try_again()

    def _try_again(self) -> None:
        loop = asyncio.get_running_loop()
        again = loop.time() + longest_wait(self._failed, FIRST_WAIT, LONGEST_WAIT)
        self._failed += 1
        if again < self._takedown.deadline - self._proofs.margin:
            self._timer = loop.call_at(again, self._prove_to, self)
        else:
            self._proofs.ended(self)

    def stop(self) -> None:
        """Report nothing more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
