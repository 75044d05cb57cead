"""Whether the Items service is asked at all: a circuit breaker that counts, on the loop's time.

`purgatory` keeps the three states and their rules. Two things it leaves open are decided here:

* It opens and half-opens by the wall clock (`time.time()`), and nothing of ours may. So its time
  to live is infinite: it never half-opens by itself, and whoever owns the circuit begins a trial
  when the loop's clock says so.
* Half-open, it lets every request through at once. Here nobody but the trial passes while the
  circuit is not closed: one request, whatever stands at the door.

It also takes an exception that it is told to exclude for a success, and any other for a failure,
a cancellation too. So it is told of each result by name, and of a cancellation nothing.
"""

from __future__ import annotations

import math
from typing import Literal

from purgatory.domain.model import CLOSED, OPENED, Context, HalfOpenedState

CircuitState = Literal["closed", "opened", "half-opened"]


class Circuit:
    """Counts failures in a row; opens at `threshold` of them.

    Args:
        threshold: failures in a row that open it; one is enough during a trial.
    """

    def __init__(self, *, threshold: int) -> None:
        self._context = Context("items-service", threshold, ttl=math.inf)

    @property
    def state(self) -> CircuitState:
        """Where it stands."""
        return self._context.state

    @property
    def closed(self) -> bool:
        """Whether anybody but a trial may pass."""
        return self._context.state == CLOSED

    def begin_trial(self) -> None:
        """One request may show that all is well again; its result decides. Closed: nothing."""
        if self._context.state == OPENED:
            self._context.set_state(HalfOpenedState())
            self._context.messages.clear()

    def succeeded(self) -> None:
        """A request was answered: none has failed in a row. Ends a trial; not an open circuit.

        A success that began before the circuit opened says nothing about now, unless a trial
        runs: then it is the younger evidence.
        """
        self._context.handle_end_request()
        # Events for shared storage, which nobody has here: they would only add up.
        self._context.messages.clear()

    def failed(self, error: Exception) -> None:
        """A request failed."""
        self._context.handle_exception(error)
        self._context.messages.clear()
