"""A circuit breaker: whether requests are sent to the Items service.

It counts results and measures no time: its owner begins a trial when the event loop's clock says
so. While a trial runs, only the trial's request is sent. A cancelled request is no result.
"""

from __future__ import annotations

from typing import Literal

CircuitState = Literal["closed", "opened", "half-opened"]


class Circuit:
    """Counts failures in a row, and opens at `threshold` of them.

    Args:
        threshold: failures in a row that open it; one is enough during a trial.

    Attributes:
        state: "closed": requests are sent; "opened": none is; "half-opened": a trial runs.
    """

    def __init__(self, *, threshold: int) -> None:
        self._threshold = threshold
        self._failures = 0
        self.state: CircuitState = "closed"

    @property
    def closed(self) -> bool:
        """Whether requests other than a trial are sent."""
        return self.state == "closed"

    def begin_trial(self) -> None:
        """Let one request decide whether the circuit closes. No effect unless it is open."""
        if self.state == "opened":
            self.state = "half-opened"

    def succeeded(self) -> None:
        """Record a success: it ends a row of failures, and a trial, but not an open circuit.

        A success that began before the circuit opened says nothing about now. During a trial it is
        newer than the failures that opened the circuit.
        """
        if self.state != "opened":
            self.state = "closed"
            self._failures = 0

    def failed(self) -> None:
        """Record a failure."""
        self._failures += 1
        if self.state == "half-opened" or self._failures >= self._threshold:
            self.state = "opened"
