"""From one run's measurements to the table, the plots and the part of the page that holds them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.processes import ROOT
from bench.report import MINIMAL, SERVICE, Row, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.open_loop import OpenMeasured

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
BEGIN = "<!-- bench: what follows is written by `make bench` -->"
END = "<!-- bench: end -->"

SHAPES = {
    "many": "round a ring of 1,000 actors",
    "tell": "told to one actor by one sender",
    "ask": "asked of one actor, each answer waited for",
}

SERVICES_COLOUR, MINIMALS_COLOUR, OTHERS_COLOUR = "#1f6fb4", "#9a9a9a", "#c8b273"


@dataclass(frozen=True, slots=True)
class Latency:
    """One server's percentiles at one share of the saturating load."""

    server: str
    load: float
    measured: OpenMeasured


@dataclass(frozen=True, slots=True)
class Window:
    """One part of the soak: CPU microseconds of a request, the process's memory in MB, answers."""

    cpu_us: float
    memory_mb: float
    answered: int


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run of `make bench` found; seconds, microseconds and bytes as named."""

    facts: str
    plan: str
    rows: Sequence[Row]
    others: Mapping[str, float]
    latencies: Sequence[Latency]
    saturated: float
    foreign: Mapping[str, float]
    soak: Sequence[Window]
    starts: Sequence[float]
    messages: Mapping[str, Any]
    memory: Sequence[Mapping[str, float]]
    timeouts: Sequence[Mapping[str, float]]


def added_ms(latencies: Sequence[Latency], load: float, percentile: str) -> float:
    """Milliseconds by which the service is slower than the minimal bridge at this load."""
    of = {one.server: getattr(one.measured, percentile) for one in latencies if one.load == load}
    return float(of[SERVICE] - of[MINIMAL]) * 1e3


def drift(values: Sequence[float]) -> float:
    """The median of the last third, less that of the first, as a share of the first.

    The first tenth is left out: that is the warming up.
    """
    steady = values[max(1, len(values) // 10) :]
    third = max(1, len(steady) // 3)
    first = statistics.median(steady[:third])
    return statistics.median(steady[-third:]) / first - 1


def targets(results: Results) -> str:
    """What was to be reached, and what was."""
    lines = [
        (
            f"CPU per request, service / minimal bridge, containers: {row.containers}",
            "<= 1.00",
            f"{row.cpu_ratio:.2f}",
            row.cpu_ratio <= 1.0,
        )
        for row in results.rows
    ]
    for percentile, limit in (("p50", 0.5), ("p99", 2.0)):
        added = added_ms(results.latencies, 0.5, percentile)
        what = f"added latency at half of the saturating load, {percentile}"
        lines.append((what, f"<= {limit:g} ms", f"{added:.2f} ms", added <= limit))
    for shape, how in SHAPES.items():
        ratio = results.messages[shape]["ratio"]
        what = f"actor messages a second, ours / pykka's ThreadingActor: {how}"
        lines.append((what, ">= 10", f"{ratio:.1f}", ratio >= 10))
    most = max(results.memory, key=lambda one: one["takedowns"])
    kilobytes = most["bytes"] / 1024
    lines.append(
        (
            f"memory of a takedown in flight, {most['takedowns']:,} at once",
            "<= 4 KB",
            f"{kilobytes:.1f} KB",
            kilobytes <= 4,
        )
    )
    lines += [
        (
            f"{one['takedowns']:,} that time out together: answers later than deadline + 250 ms",
            "0",
            f"{one['too_late']:,} (the last {one['latest_ms']:.0f} ms late)",
            not one["too_late"],
        )
        for one in results.timeouts
    ]
    start = statistics.median(results.starts)
    what = "start to ready, warm, with 10,000 items"
    lines.append((what, "<= 1.0 s", f"{start:.2f} s", start <= 1))
    foreign = results.foreign["service"]
    lines.append(
        (
            "CPU of an event for another instance's item",
            "<= 3 us",
            f"{foreign:.1f} us",
            foreign <= 3,
        )
    )
    cpu = drift([window.cpu_us for window in results.soak])
    memory = drift([window.memory_mb for window in results.soak])
    lines.append(("soak: drift of CPU per request", "none", f"{cpu:+.1%}", abs(cpu) < 0.05))
    lines.append(("soak: drift of memory", "none", f"{memory:+.1%}", memory < 0.02))
    return _markdown(
        ("figure", "target", "measured", "reached"),
        [(a, b, f"**{c}**", "yes" if reached else "no") for a, b, c, reached in lines],
    )


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "| --- |" + " ---: |" * (len(headings) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def latency_table(results: Results) -> str:
    """Percentiles against load."""
    return _markdown(
        ("share of the saturating load", "server", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"),
        [
            (
                f"{one.load:.0%} ({one.measured.rate:.0f} /s)",
                one.server,
                *(
                    f"{getattr(one.measured, name) * 1e3:.2f}"
                    for name in ("p50", "p90", "p99", "p999")
                ),
            )
            for one in sorted(results.latencies, key=lambda one: (one.load, one.server))
        ],
    )


def soak_text(windows: Sequence[Window]) -> str:
    """The soak in one line."""
    cpu = drift([window.cpu_us for window in windows])
    memory = drift([window.memory_mb for window in windows])
    answered = sum(window.answered for window in windows)
    return (
        f"{answered:,} takedowns in {len(windows)} windows: CPU per request "
        f"{windows[-1].cpu_us:.0f} us in the last ({cpu:+.1%}), memory "
        f"{windows[-1].memory_mb:.1f} MB ({memory:+.1%})"
    )


def section(results: Results) -> str:
    """The generated part of the page."""
    told = "; ".join(
        f"{how}: ours {results.messages[shape]['ours']:,.0f}, "
        f"pykka's {results.messages[shape]['pykka']:,.0f}"
        for shape, how in SHAPES.items()
    )
    others = ", ".join(f"{name} {cost:.0f} us" for name, cost in results.others.items())
    foreign = ", ".join(f"{name} {cost:.1f} us" for name, cost in results.foreign.items())
    memory = "; ".join(f"{one['takedowns']:,}: {one['bytes']:,.0f}" for one in results.memory)
    return f"""{results.facts}

{targets(results)}

Closed loop, {results.plan}. `spread` is the lowest and the highest ratio
of two rounds that followed each other:

{table(results.rows)}

CPU of a request with 3 containers by others: {others}. `pykka` is `bench/pykka_bridge.py`, a
thread and a ThreadingActor for each request; `hello` is aiohttp that answers at once.

![CPU per request](performance/cpu.svg)

Open loop, so that nobody waits for the server before he asks; latency counts from the moment at
which the request was to be sent. {results.saturated:.0f} requests a second saturate the slower of
the two:

{latency_table(results)}

![Latency against load](performance/latency.svg)

Actor messages a second: {told}.

Bytes of a takedown in flight, by how many there are: {memory}.

![Memory against takedowns in flight](performance/memory.svg)

CPU of an event for another instance's item: {foreign}. Soak: {soak_text(results.soak)}.
"""


def write(results: Results) -> None:
    """Put the generated part between its markers, and the plots beside the page."""
    plot(results, PLOTS)
    PAGE.write_text(put_between(PAGE.read_text("utf-8"), section(results)), "utf-8")


def put_between(page: str, text: str) -> str:
    """The page with `text` between the markers.

    Raises:
        ValueError: it does not have each marker once, in their order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the page needs {BEGIN!r} and {END!r}, once each")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def plot(results: Results, folder: Path) -> None:
    """Draw the plots as SVG, so small that they can live in the repository."""
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second, and is for the developer only

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "takedown", "svg.fonttype": "none", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)

    def save(name: str, title: str, x: str, y: str) -> None:
        plt.title(title)
        plt.xlabel(x)
        plt.ylabel(y)
        plt.grid(alpha=0.3)
        plt.legend()
        plt.tight_layout()
        plt.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close()

    plt.figure(figsize=(6, 3.2))
    places = range(len(results.rows))
    for shift, name, colour in (
        (-0.2, SERVICE, SERVICES_COLOUR),
        (0.2, MINIMAL, MINIMALS_COLOUR),
    ):
        costs = [getattr(row, name).cpu_us for row in results.rows]
        plt.bar([place + shift for place in places], costs, 0.4, label=name, color=colour)
    plt.xticks(list(places), [str(row.containers) for row in results.rows])
    save("cpu", "CPU of a request", "containers", "microseconds")

    plt.figure(figsize=(6, 3.2))
    for name, colour in ((SERVICE, SERVICES_COLOUR), (MINIMAL, MINIMALS_COLOUR)):
        own = sorted((one for one in results.latencies if one.server == name), key=lambda o: o.load)
        rates = [one.measured.rate for one in own]
        for percentile, style in (("p50", "-"), ("p99", "--")):
            plt.plot(
                rates,
                [getattr(one.measured, percentile) * 1e3 for one in own],
                style,
                marker="o",
                markersize=3,
                color=colour,
                label=f"{name} {percentile}",
            )
    plt.yscale("log")
    save("latency", "Latency against load, 3 containers", "requests a second", "milliseconds")

    plt.figure(figsize=(6, 3.2))
    plt.plot(
        [one["takedowns"] for one in results.memory],
        [one["bytes"] * one["takedowns"] / 1e6 for one in results.memory],
        marker="o",
        markersize=3,
        color=SERVICES_COLOUR,
        label="coordinator to bus",
    )
    save("memory", "Memory against takedowns in flight", "takedowns", "MB")
