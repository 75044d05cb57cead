"""The plots beside the page, as SVG so small that they can live in the repository."""

from __future__ import annotations

import statistics
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dev.bench.report import MINIMAL, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.bench.results import Results

COLOURS = {SERVICE: "#1f6fb4", MINIMAL: "#9a9a9a"}
IDEAL = "#c8b273"


def plot(results: Results, folder: Path) -> list[str]:
    """Draw what was measured; a plot of what was not is removed. Returns the names of the drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, found, draw in (
        ("cpu", results.rows, _cpu),
        ("latency", results.latencies, _latency),
        ("memory", results.memory, _memory),
        ("workers", results.workers, _workers),
    ):
        path = folder / f"{name}.svg"
        if found:
            with _figure(path) as figure:
                draw(found, figure)
            drawn.append(name)
        else:
            path.unlink(missing_ok=True)
    return drawn


@contextmanager
def _figure(path: Path) -> Iterator[Any]:
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second, and is for the developer only

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "takedown", "svg.fonttype": "none", "font.size": 9})
    plt.figure(figsize=(6, 3.2))
    yield plt
    plt.grid(alpha=0.3)
    plt.legend()
    plt.tight_layout()
    plt.savefig(path, metadata={"Date": None})
    plt.close()


def _label(plt: Any, title: str, x: str, y: str) -> None:
    plt.title(title)
    plt.xlabel(x)
    plt.ylabel(y)


def _cpu(rows: Any, plt: Any) -> None:
    places = range(len(rows))
    for shift, name in ((-0.2, SERVICE), (0.2, MINIMAL)):
        costs = [getattr(row, name).cpu_us for row in rows]
        at = [place + shift for place in places]
        plt.bar(at, costs, 0.4, label=name, color=COLOURS[name])
    plt.xticks(list(places), [str(row.containers) for row in rows])
    _label(plt, "CPU of a request", "containers", "microseconds")


def _latency(latencies: Any, plt: Any) -> None:
    for name, colour in COLOURS.items():
        rates = [load * latencies.saturated for load in latencies.loads]
        for percentile, style in (("p50", "-"), ("p99", "--")):
            values = [latencies.median(name, load, percentile) * 1e3 for load in latencies.loads]
            label = f"{name} {percentile}"
            plt.plot(rates, values, style, marker="o", markersize=3, color=colour, label=label)
    plt.yscale("log")
    _label(plt, "Latency against load, 3 containers", "requests a second", "milliseconds")


def _memory(found: Any, plt: Any) -> None:
    plt.plot(
        [one["takedowns"] for one in found],
        [one["bytes"] * one["takedowns"] / 1e6 for one in found],
        marker="o",
        markersize=3,
        color=COLOURS[SERVICE],
        label="coordinator to bus",
    )
    _label(plt, "Memory against takedowns in flight", "takedowns", "MB")


def _workers(scaling: Any, plt: Any) -> None:
    counts = sorted(scaling.rounds)
    figure = "accounted" if scaling.share is None else "per_second"
    rates = {
        count: sorted(getattr(one, figure) for one in scaling.rounds[count]) for count in counts
    }
    medians = [statistics.median(rates[count]) for count in counts]
    errors = [
        [median - rates[count][0] for count, median in zip(counts, medians, strict=True)],
        [rates[count][-1] - median for count, median in zip(counts, medians, strict=True)],
    ]
    plt.bar(
        counts,
        medians,
        0.5,
        yerr=errors,
        capsize=4,
        color=COLOURS[SERVICE],
        label="service, median and spread",
    )
    first = medians[0] / counts[0]
    plt.plot(
        counts,
        [first * count for count in counts],
        "--",
        marker="o",
        markersize=3,
        color=IDEAL,
        label="as many times one worker",
    )
    plt.xticks(counts)
    bound = (
        "accounted by CPU" if scaling.share is None else f"{scaling.share:.2f} of a core for each"
    )
    _label(plt, f"Throughput against workers, {bound}", "workers", "answers a second")
