"""What the bench of several workers measured, and its table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one service.

    Attributes:
        answered: good answers.
        seconds: length of the window.
        cpu: CPU seconds of each worker.
        supervisor: the supervisor's.
    """

    answered: int
    seconds: float
    cpu: tuple[float, ...]
    supervisor: float

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds

    @property
    def accounted(self) -> float:
        """Answers a second if each worker had a core, and callers came evenly."""
        return len(self.cpu) * self.answered / sum(self.cpu)

    @property
    def busiest(self) -> float:
        """Answers a second until the busiest worker's core is full."""
        return self.answered / max(self.cpu)

    def used(self, share: float) -> float:
        """How much its workers used of the CPU that they were given: `share` of a core each."""
        return sum(self.cpu) / (share * self.seconds * len(self.cpu))


@dataclass(frozen=True, slots=True)
class Shape:
    """How the services are loaded.

    Attributes:
        workers: how many each service has.
        containers: of each item.
        rounds: for each service.
        seconds: of a round.
        callers: for each worker, so that each has as much to do at once, however many they are.
    """

    workers: tuple[int, ...]
    containers: int
    rounds: int
    seconds: float
    callers: int


@dataclass(frozen=True, slots=True)
class Scaling:
    """All rounds by the number of workers, and the share of a core that each process was given.

    `why_not` says why they were not throttled, when they were to be.
    """

    rounds: dict[int, list[Round]]
    share: float | None
    why_not: str = ""

    @property
    def most(self) -> int:
        """The largest number of workers."""
        return max(self.rounds)

    def ratios(self, workers: int, figure: str | None = None) -> list[float]:
        """Of each round to that of the fewest workers beside it; by default of what counts here."""
        figure = figure or ("accounted" if self.share is None else "per_second")
        first = self.rounds[min(self.rounds)]
        return [
            float(getattr(one, figure) / getattr(other, figure))
            for one, other in zip(self.rounds[workers], first, strict=True)
        ]

    @property
    def used(self) -> float:
        """The least that workers used of what they were given, as a share; the median of rounds."""
        if self.share is None:
            return 1.0
        return min(
            statistics.median(one.used(self.share) for one in rounds)
            for rounds in self.rounds.values()
        )


def table(scaling: Scaling) -> str:
    """A row for each number of workers: medians, and in brackets the median ratio to the first."""
    lines = [
        "| workers | CPU us/request | supervisor's | answers/s | accounted /s | busiest /s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for workers, rounds in scaling.rounds.items():
        cpu = statistics.median((sum(r.cpu) + r.supervisor) / r.answered for r in rounds)
        supervisor = statistics.median(r.supervisor / r.answered for r in rounds)
        shown = " | ".join(
            f"{statistics.median(getattr(one, name) for one in rounds):.0f} "
            f"({statistics.median(scaling.ratios(workers, name)):.2f})"
            for name in ("per_second", "accounted", "busiest")
        )
        lines.append(f"| {workers} | {cpu * 1e6:.0f} | {supervisor * 1e6:.1f} | {shown} |")
    return "\n".join(lines)


def how(scaling: Scaling) -> str:
    """How the workers were bound, in words."""
    if scaling.share is not None:
        return (
            f"each process bound to {scaling.share:.2f} of a core, of which its workers used "
            f"{scaling.used:.0%} or more"
        )
    return "accounted by CPU, not throttled" + (f" ({scaling.why_not})" if scaling.why_not else "")
