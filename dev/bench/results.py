"""Everything that one run of the bench measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dev.bench.latency import Latencies
    from dev.bench.load import Measured
    from dev.bench.report import Row
    from dev.bench.scaling import Scaling
    from dev.bench.soak import Soaked


@dataclass(slots=True)
class Results:
    """The results, part by part; None: not measured.

    Attributes:
        facts: the machine.
        plan: of the closed loop, in words.
        warning: comes first if the machine was not quiet.
        neighbours: share of all cores' time that other programs took during the run.
        failures: why a part could not be measured, by its name.
        rows: CPU per request, closed loop.
        others: CPU microseconds of a request by other servers.
        looked_at: rounds with and without a viewer, by name.
        latencies: open loop.
        foreign: CPU microseconds of an event that is not ours, round by round.
        soak: hours' worth of takedowns.
        starts: seconds until ready.
        workers: rounds by the number of workers.
        messages: actor messages a second, round by round.
        memory: bytes of a takedown in flight, by how many there are.
        timeouts: rounds, by how many time out together.
    """

    facts: str
    plan: str
    warning: str = ""
    neighbours: float | None = None
    failures: dict[str, str] = field(default_factory=dict)
    rows: Sequence[Row] | None = None
    others: Mapping[str, float] | None = None
    looked_at: Mapping[str, Sequence[Measured]] | None = None
    latencies: Latencies | None = None
    foreign: Mapping[str, Sequence[float]] | None = None
    soak: Soaked | None = None
    starts: Sequence[float] | None = None
    workers: Scaling | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    memory: Sequence[Mapping[str, float]] | None = None
    timeouts: Sequence[Sequence[Mapping[str, float]]] | None = None
