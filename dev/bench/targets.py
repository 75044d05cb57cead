"""What was to be reached, and what was: a row for each target, also where nothing was measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dev.bench.latency import HALF, Latencies
from dev.bench.report import MINIMAL, SERVICE, Row
from dev.bench.soak import HOUR
from dev.bench.trend import trend
from dev.bench.viewer import VIEWED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dev.bench.load import Measured
    from dev.bench.scaling import Scaling
    from dev.bench.soak import Soaked

SHAPES = {
    "many": "round a ring of 1,000 actors",
    "tell": "told to one actor by one sender",
    "ask": "asked of one actor, each answer waited for",
}
SIZES = (1, 3, 20)
NOT_MEASURED = "not measured"

CPU_DRIFT, MEMORY_DRIFT = 0.05, 0.02
"""By how much the end of the soak may surely lie above its beginning, and still be no drift."""


@dataclass(frozen=True, slots=True)
class Target:
    """One row. `reached` is None where nothing was measured, or nothing was to be reached."""

    what: str
    limit: str
    measured: str
    reached: bool | None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        reached = {True: "yes", False: "no", None: "-"}[self.reached]
        return self.what, self.limit, f"**{self.measured}**", reached


def missing(what: str, limit: str) -> Target:
    return Target(what, limit, NOT_MEASURED, None)


def middle(values: Sequence[float], digits: int, unit: str = "") -> str:
    """The median, and in brackets the lowest and the highest where there is more than one."""
    text = f"{statistics.median(values):.{digits}f}{unit}"
    if len(values) > 1:
        text += f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return text


def cpu(rows: Sequence[Row] | None) -> list[Target]:
    what, limit = "CPU per request, service / minimal bridge, containers: {}", "<= 1.00"
    if rows is None:
        return [missing(what.format(size), limit) for size in SIZES]
    return [
        Target(
            what.format(row.containers),
            limit,
            f"{row.cpu_ratio:.2f} ({row.spread[0]:.2f} to {row.spread[1]:.2f})",
            row.cpu_ratio <= 1.0,
        )
        for row in rows
    ]


def looked_at(rounds: Mapping[str, Sequence[Measured]] | None) -> list[Target]:
    what = "the same with 3 containers, with a dashboard open and a scrape each second"
    limit = "noted"
    if rounds is None:
        return [missing(what, limit)]
    row = Row.of(3, rounds[VIEWED], rounds[MINIMAL])
    alone = Row.of(3, rounds[SERVICE], rounds[MINIMAL])
    measured = (
        f"{row.cpu_ratio:.2f} ({row.spread[0]:.2f} to {row.spread[1]:.2f}); "
        f"in turns with it, not looked at: {alone.cpu_ratio:.2f}"
    )
    return [Target(what, limit, measured, None)]


def latency(latencies: Latencies | None) -> list[Target]:
    targets = []
    for percentile, most in (("p50", 0.5), ("p99", 2.0)):
        what = f"added latency at half of the saturating load, {percentile}"
        limit = f"<= {most:g} ms"
        if latencies is None:
            targets.append(missing(what, limit))
            continue
        added = latencies.added_ms(HALF, percentile)
        reached = statistics.median(added) <= most
        targets.append(Target(what, limit, middle(added, 2, " ms"), reached))
    return targets


def workers(scaling: Scaling | None) -> list[Target]:
    limit = ">= 1.8"
    if scaling is None:
        return [missing("CPU-bound throughput, two workers / one", limit)]
    ratios = scaling.ratios(scaling.most)
    if scaling.share is None:
        bound = "accounted by CPU"
    else:
        bound = f"each has {scaling.share:.2f} of a core and uses {scaling.used:.0%} of that"
    what = f"CPU-bound throughput, two workers / one ({bound})"
    return [Target(what, limit, middle(ratios, 2), statistics.median(ratios) >= 1.8)]


def messages(rounds: Sequence[Mapping[str, Any]] | None) -> list[Target]:
    targets = []
    for shape, how in SHAPES.items():
        what = f"actor messages a second, ours / pykka's ThreadingActor: {how}"
        if not rounds:
            targets.append(missing(what, ">= 10"))
            continue
        ratios = [one[shape]["ratio"] for one in rounds]
        reached = statistics.median(ratios) >= 10
        targets.append(Target(what, ">= 10", middle(ratios, 1), reached))
    return targets


def memory(found: Sequence[Mapping[str, float]] | None) -> list[Target]:
    if not found:
        return [missing("memory of a takedown in flight", "<= 4 KB")]
    most = max(found, key=lambda one: one["takedowns"])
    kilobytes = most["bytes"] / 1024
    what = f"memory of a takedown in flight, {most['takedowns']:,.0f} at once"
    return [Target(what, "<= 4 KB", f"{kilobytes:.1f} KB", kilobytes <= 4)]


def timeouts(found: Sequence[Sequence[Mapping[str, float]]] | None) -> list[Target]:
    what = "{} that time out together: answers later than deadline + 250 ms"
    if not found:
        return [missing(what.format("100,000"), "0")]
    targets = []
    for rounds in found:
        late = [one["too_late"] for one in rounds]
        last = middle([one["latest_ms"] for one in rounds], 0, " ms")
        measured = f"{statistics.median(late):,.0f}; the last one is late by {last}"
        name = what.format(f"{rounds[0]['takedowns']:,.0f}")
        targets.append(Target(name, "0", measured, not any(late)))
    return targets


def starts(seconds: Sequence[float] | None) -> list[Target]:
    what, limit = "start to ready, warm, with 10,000 items", "<= 1.0 s"
    if not seconds:
        return [missing(what, limit)]
    return [Target(what, limit, middle(seconds, 2, " s"), statistics.median(seconds) <= 1)]


def foreign(found: Mapping[str, Sequence[float]] | None) -> list[Target]:
    what, limit = "CPU of an event for another instance's item", "<= 3 us"
    if not found:
        return [missing(what, limit)]
    costs = found["service"]
    return [Target(what, limit, middle(costs, 1, " us"), statistics.median(costs) <= 3)]


def soak(soaked: Soaked | None) -> list[Target]:
    hours = soaked.each * len(soaked.windows) / HOUR if soaked else 1.0
    worth = "an hour's worth" if hours == 1 else f"{hours:.3g} hours' worth"
    targets = []
    for what, figure, most in (
        (f"{worth} of takedowns: drift of CPU per request / minimal bridge's", "ratio", CPU_DRIFT),
        (f"{worth} of takedowns: drift of memory", "memory_mb", MEMORY_DRIFT),
    ):
        limit = f"none: surely < {most:.0%}"
        if soaked is None:
            targets.append(missing(what, limit))
            continue
        drift = trend([getattr(window, figure) for window in soaked.windows])
        targets.append(Target(what, limit, str(drift), drift.high < most))
    return targets
