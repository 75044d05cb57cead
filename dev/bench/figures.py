"""From one run's measurements to the part of the page that holds them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from dev.bench import scaling as scaling_bench
from dev.bench import targets
from dev.bench.plots import plot
from dev.bench.processes import ROOT
from dev.bench.report import MINIMAL, SERVICE, table
from dev.bench.targets import SHAPES
from dev.bench.trend import trend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dev.bench.latency import Latencies
    from dev.bench.results import Results
    from dev.bench.scaling import Scaling
    from dev.bench.soak import Soaked

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
BEGIN = "<!-- bench: what follows is written by `make bench` -->"
END = "<!-- bench: end -->"


def target_table(results: Results) -> str:
    """What was to be reached, and what was."""
    rows = [
        *targets.cpu(results.rows),
        *targets.looked_at(results.looked_at),
        *targets.latency(results.latencies),
        *targets.workers(results.workers),
        *targets.messages(results.messages),
        *targets.memory(results.memory),
        *targets.timeouts(results.timeouts),
        *targets.starts(results.starts),
        *targets.foreign(results.foreign),
        *targets.soak(results.soak),
    ]
    return _markdown(("figure", "target", "measured", "reached"), [row.cells for row in rows])


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "| --- |" + " ---: |" * (len(headings) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def latency_table(latencies: Latencies) -> str:
    """Percentiles against load, and what of them is the generator's own: medians of the rounds."""

    def ms(server: str, load: float, name: str) -> str:
        return f"{latencies.median(server, load, name) * 1e3:.2f}"

    return _markdown(
        (
            "share of the saturating load",
            "server",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "sent late p50/p99 ms",
            "share of latency",
        ),
        [
            (
                f"{load:.0%} ({load * latencies.saturated:.0f} /s)",
                server,
                *(ms(server, load, name) for name in ("p50", "p90", "p99", "p999")),
                f"{ms(server, load, 'late_p50')} / {ms(server, load, 'late_p99')}",
                f"{latencies.median(server, load, 'late_share'):.1%}",
            )
            for load in latencies.loads
            for server in (MINIMAL, SERVICE)
        ],
    )


def latency_text(latencies: Latencies) -> str:
    """How it was measured, and the table."""
    where = (
        "The servers had one core, and generator, responder and broker the other"
        if latencies.pinned
        else "All programs shared all cores"
    )
    nice = {one.measured.nice for one in latencies.rounds}
    before = (
        "the generator went before all others on its core"
        if max(nice) < 0
        else "the generator had to wait for its turn like all others"
    )
    return f"""Open loop, so that nobody waits for the server before he asks. Latency counts from
the moment at which the request was to be sent. {where};
{before}. {latencies.saturated:.0f} requests a second
saturate the slower of the two there. Medians of the rounds, in which the servers took turns. `sent
late` is by how much requests left after their time, and the last column what share of all latency
that is. It is the generator's own doing, and beyond saturation the wait for one of its connections:

{latency_table(latencies)}"""


def workers_text(scaling: Scaling) -> str:
    """How many workers carry how much."""
    return (
        "`--workers N`, 3 containers, each worker with as many callers;\n"
        f"{scaling_bench.how(scaling)}.\n"
        "Medians of the rounds, and in brackets the median ratio of neighbouring rounds:\n\n"
        f"{scaling_bench.table(scaling)}"
    )


def soak_text(soaked: Soaked) -> str:
    """The soak in a few lines."""
    windows = soaked.windows
    ratio = [window.ratio for window in windows]
    cpu = [window.cpu_us for window in windows]
    yardstick = [window.yardstick_us for window in windows]
    memory = [window.memory_mb for window in windows]
    takedowns = soaked.each * len(windows)
    seconds = sum(window.seconds for window in windows)
    leak = trend(memory).change * statistics.median(memory) * 1e6 / takedowns
    return (
        f"Soak: {takedowns:,} takedowns in {seconds:.0f} s (ten a second would take "
        f"{takedowns / 36_000:.1f} hours), after {soaked.warm_up:,}\nto warm up, in "
        f"{len(windows)} windows, in each of which the minimal bridge was asked, too. CPU per "
        f"request,\nservice / minimal bridge: {statistics.median(ratio):.2f}, {trend(ratio)} from "
        f"the first window to the\nlast. Each by itself, with what the machine drifted: service "
        f"{statistics.median(cpu):.0f} us, {trend(cpu)};\nminimal bridge "
        f"{statistics.median(yardstick):.0f} us, {trend(yardstick)}. The service's own\nmemory "
        f"{statistics.median(memory):.1f} MB, {trend(memory)}, which is {leak:+,.0f} bytes a "
        "takedown. The\nslope is Theil's and Sen's, with its 95 % confidence interval in brackets."
    )


def messages_text(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Messages a second, medians of the rounds."""
    return "; ".join(
        f"{how}: "
        + ", ".join(
            f"{name} {statistics.median(one[shape][key] for one in rounds):,.0f}"
            for key, name in (("ours", "ours"), ("pykka", "pykka's"))
        )
        for shape, how in SHAPES.items()
    )


def paragraphs(results: Results, drawn: Sequence[str]) -> list[str]:
    """What stands below the table of targets, as far as it was measured."""

    def picture(name: str, text: str) -> list[str]:
        return [f"![{text}](performance/{name}.svg)"] if name in drawn else []

    found: list[str] = []
    if results.rows:
        found.append(
            f"Closed loop, {results.plan}. `spread` is the lowest and the highest ratio\n"
            f"of two rounds that followed each other:\n\n{table(results.rows)}"
        )
    if results.others:
        costs = ", ".join(f"{name} {cost:.0f} us" for name, cost in results.others.items())
        found.append(
            f"CPU of a request with 3 containers by others: {costs}. `pykka` is "
            "`dev/bench/pykka_bridge.py`,\na thread and a ThreadingActor for each request; "
            "`hello` is aiohttp that answers at once."
        )
    found += picture("cpu", "CPU per request")
    if results.latencies:
        found.append(latency_text(results.latencies))
    found += picture("latency", "Latency against load")
    if results.workers:
        found.append(workers_text(results.workers))
    found += picture("workers", "Throughput against workers")
    if results.messages:
        found.append(f"Actor messages a second: {messages_text(results.messages)}.")
    if results.memory:
        sizes = "; ".join(f"{one['takedowns']:,.0f}: {one['bytes']:,.0f}" for one in results.memory)
        found.append(f"Bytes of a takedown in flight, by how many there are: {sizes}.")
    found += picture("memory", "Memory against takedowns in flight")
    if results.foreign:
        costs = ", ".join(
            f"{name} {statistics.median(each):.1f} us" for name, each in results.foreign.items()
        )
        found.append(f"CPU of an event for another instance's item: {costs}.")
    if results.soak:
        found.append(soak_text(results.soak))
    return found


def section(results: Results, drawn: Sequence[str]) -> str:
    """The generated part of the page; `drawn` are the plots that there are."""
    facts = results.facts
    if results.neighbours is not None:
        facts += f"; other programs took {results.neighbours:.1%} of all cores meanwhile"
    failures = [f"Not measured: *{part}*: {why}" for part, why in results.failures.items()]
    return "\n\n".join(
        [
            *filter(None, [results.warning]),
            facts,
            target_table(results),
            "In brackets: the lowest and the highest of the rounds.",
            *failures,
            *paragraphs(results, drawn),
        ]
    )


def write(results: Results, page: Path = PAGE, plots: Path = PLOTS) -> None:
    """Put the generated part between its markers, and the plots beside the page."""
    text = section(results, plot(results, plots))
    page.write_text(put_between(page.read_text("utf-8"), text), "utf-8")


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
