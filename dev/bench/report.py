"""From rounds to figures: medians, ratios, and the table that is printed."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dev.bench.load import Measured

SERVICE = "service"
MINIMAL = "minimal"

QUIET = 1.0
"""The load average of a minute up to which a machine counts as quiet."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of one server's rounds with items of one size.

    Attributes:
        cpu_us: CPU microseconds for each answered request.
        per_second: answered requests a second.
        p50_ms, p99_ms: latency.
        busy: share of one core that the server used; near 1, the server was the bottleneck.
    """

    cpu_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    busy: float

    @classmethod
    def of(cls, rounds: Sequence[Measured]) -> Figures:
        def median(values: Sequence[float]) -> float:
            return statistics.median(values)

        return cls(
            cpu_us=median([one.cpu_per_request * 1e6 for one in rounds]),
            per_second=median([one.per_second for one in rounds]),
            p50_ms=median([one.p50 * 1e3 for one in rounds]),
            p99_ms=median([one.p99 * 1e3 for one in rounds]),
            busy=median([one.cpu / one.seconds for one in rounds]),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """Both servers with items in `containers` containers each.

    `spread` is the lowest and the highest CPU ratio of two rounds that followed each other: how
    much the figure is to be trusted.
    """

    containers: int
    service: Figures
    minimal: Figures
    spread: tuple[float, float]

    @classmethod
    def of(cls, containers: int, service: Sequence[Measured], minimal: Sequence[Measured]) -> Row:
        ratios = [
            one.cpu_per_request / other.cpu_per_request
            for one, other in zip(service, minimal, strict=True)
        ]
        return cls(containers, Figures.of(service), Figures.of(minimal), (min(ratios), max(ratios)))

    @property
    def cpu_ratio(self) -> float:
        """Below 1 the service spends less CPU on a request than the minimal bridge."""
        return self.service.cpu_us / self.minimal.cpu_us

    @property
    def throughput_ratio(self) -> float:
        """Above 1 the service answers more."""
        return self.service.per_second / self.minimal.per_second


HEADINGS = (
    "containers",
    "service CPU us/request",
    "minimal CPU us/request",
    "CPU ratio (spread)",
    "service req/s",
    "minimal req/s",
    "throughput ratio",
    "service p50/p99 ms",
    "minimal p50/p99 ms",
    "service/minimal core use",
)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    cells = [
        HEADINGS,
        *(
            (
                str(row.containers),
                f"{row.service.cpu_us:.0f}",
                f"{row.minimal.cpu_us:.0f}",
                f"**{row.cpu_ratio:.2f}** ({row.spread[0]:.2f}-{row.spread[1]:.2f})",
                f"{row.service.per_second:.0f}",
                f"{row.minimal.per_second:.0f}",
                f"{row.throughput_ratio:.2f}",
                f"{row.service.p50_ms:.1f} / {row.service.p99_ms:.1f}",
                f"{row.minimal.p50_ms:.1f} / {row.minimal.p99_ms:.1f}",
                f"{row.service.busy:.0%} / {row.minimal.busy:.0%}",
            )
            for row in rows
        ),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = [
        "| "
        + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * (width - 1) + ":" for width in widths) + " |")
    return "\n".join(lines)


def main_line(rows: Sequence[Row]) -> str:
    """The one ratio to look at: that of 3 containers, or else of the middle row."""
    row = next((row for row in rows if row.containers == 3), rows[len(rows) // 2])
    return (
        f"CPU per request, service / minimal bridge, {row.containers} containers: "
        f"{row.cpu_ratio:.2f}"
    )


def machine(broker: str, load: tuple[float, float, float] | None = None) -> str:
    """The facts without which the figures mean nothing; the load average is today's by default."""
    averages = ", ".join(f"{value:.1f}" for value in load or os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"{platform.python_implementation()} {platform.python_version()}; broker: {broker}; "
        f"load average before: {averages}"
    )


def warning(load: float) -> str:
    """What is to be said first if others were at work before we began; empty if nobody was."""
    if load <= QUIET:
        return ""
    return (
        f"**Not a quiet machine**: in the minute before the run {load:.1f} programs wanted to run "
        "on average. Ratios spread more than they should, and what depends on a process's turn "
        "(latency, starts, threads) says little."
    )


class Neighbours:
    """How much CPU everybody else used, from when this was made.

    All programs of the bench must have ended, and been waited for, before it is asked.
    """

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._ours = _ours()
        self._all = _everybodys()

    def share(self) -> float:
        """Of all cores' time: what was not idle and not ours (the kernel's own work included)."""
        used = _everybodys() - self._all - (_ours() - self._ours)
        return max(0.0, used / ((time.monotonic() - self._at) * (os.cpu_count() or 1)))


def _ours() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def _everybodys() -> float:
    times = psutil.cpu_times()._asdict()
    # Guests are counted as users already.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(spent for kind, spent in times.items() if kind not in idle))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not a project's file
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
