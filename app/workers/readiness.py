"""One readiness out of many.

The kernel gives a connection to any worker that listens, whether it is ready or not. So the service
is ready when every worker that takes connections is ready, and at least one does. A worker that has
ended takes none: it is missing, and its callers come to the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinator.readiness import Health

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.workers.child import State


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHealth:
    """What is known of one worker.

    Attributes:
        number: from 0.
        state: what it is doing.
        listening: whether it takes callers' connections.
        health: what it says itself, or None when it did not answer.
        ending: how its last process ended, if one did.
    """

    number: int
    state: State
    listening: bool
    health: Health | None
    ending: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with it, in words."""
        if self.health is None:
            if self.listening:
                return f"{self.state}; it does not answer"
            return f"{self.state}; it ended {self.ending}" if self.ending else str(self.state)
        for name, problem in self.health.checks.items():
            if problem is not None:
                return f"{name}: {problem}"
        return None if self.listening else "it accepts no connections yet"


def merged(workers: Sequence[WorkerHealth], *, stopping: bool) -> Health:
    """The health of the whole service, one check for each worker that takes connections."""
    checks = {f"worker {each.number}": each.problem for each in workers if each.listening}
    checks["workers"] = (
        None
        if checks
        else "none accepts connections: "
        + "; ".join(f"worker {each.number}: {each.problem}" for each in workers)
    )
    checks["running"] = "shutting down" if stopping else None
    return Health(checks, _missing_safeguards(workers))


def _missing_safeguards(workers: Sequence[WorkerHealth]) -> Mapping[str, str]:
    """Of all workers that answered; one that several of them miss is listed once."""
    reasons: dict[str, dict[str, None]] = {}
    for each in workers:
        for name, why in (each.health.missing_safeguards if each.health else {}).items():
            reasons.setdefault(name, {})[why] = None
    return {name: "; ".join(whys) for name, whys in reasons.items()}
