"""What stands above the table and in the other tabs, as text with colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from operations.top.words import bar, clock, count, rate, seconds, shown

if TYPE_CHECKING:
    from operations.observation.schemas.history import Latency
    from operations.observation.schemas.overview import Overview
    from operations.observation.schemas.statistics import ReaderFacts, Statistics
    from operations.top.world import World

GOOD, BAD, WARN, DIM, NAME = "green", "bold red", "yellow", "dim", "bold"
OUTCOMES = {
    "Deleted": GOOD,
    "NotFound": "cyan",
    "TimedOut": WARN,
    "Refused": BAD,
    "Unavailable": WARN,
    "Failed": BAD,
}
_BAR = 24
_CROWDED = 0.8
_LAGS = 0.1


def _part(text: Text, name: str, value: str, style: str = "", gap: str = "   ") -> None:
    text.append(f"{name} ", DIM)
    text.append(value, style or NAME)
    text.append(gap)


def header(world: World, elapsed: float = 0.0) -> Text:
    """At a glance: five lines.

    Args:
        world: what is known.
        elapsed: seconds since it was told.
    """
    known = world.overview
    if known is None:
        return Text("waiting for the first word ...\n\n\n\n", DIM)
    text = Text(no_wrap=True, overflow="ellipsis")
    _readiness(text, known)
    text.append("\n")
    _in_flight(text, known, elapsed)
    text.append("\n")
    _rates(text, known)
    text.append("\n")
    _last_minute(text, known)
    text.append("\n")
    _trouble(text, known)
    return text


def _readiness(text: Text, known: Overview) -> None:
    failing = [(name, check.detail) for name, check in known.checks.items() if not check.ok]
    if known.ready and not failing:
        text.append("READY", f"{GOOD} bold")
        text.append("  " + ", ".join(map(shown, known.checks)), DIM)
    else:
        text.append("NOT READY  ", BAD)
        text.append("; ".join(f"{shown(name)}: {shown(why)}" for name, why in failing), BAD)
    if known.draining:
        text.append("  DRAINING", WARN)
    text.append(f"   started {shown(known.started_at[:19])}Z", DIM)


def _in_flight(text: Text, known: Overview, elapsed: float) -> None:
    share = known.in_flight / known.maximum if known.maximum else 0.0
    style = BAD if share > _CROWDED else GOOD
    text.append("in flight ", DIM)
    text.append(count(known.in_flight), NAME)
    text.append(f" / {count(known.maximum)} ", DIM)
    text.append(bar(share, _BAR), f"{style} on grey23")
    text.append("   ")
    for name, number in known.waiting_for.items():
        _part(text, f"for {shown(name)}", count(number), gap="  ")
    if known.oldest_seconds is not None:
        _part(text, " oldest", seconds(known.oldest_seconds + elapsed), gap="  ")
    if known.nearest_deadline_seconds is not None:
        said = known.nearest_deadline_seconds
        left = said if said < 0 else max(0.0, said - elapsed)
        _part(text, "next deadline in", seconds(left), BAD if said < 0 else "")


def _rates(text: Text, known: Overview) -> None:
    speed = known.per_second
    text.append("each second  ", DIM)
    for name, value in (
        ("accepted", speed.accepted),
        ("rejected", speed.rejected),
        ("answered", speed.answered),
        ("published", speed.published),
        ("events read", speed.events_read),
        ("matched", speed.events_matched),
    ):
        _part(text, name, rate(value), BAD if name == "rejected" and value else "")


def _last_minute(text: Text, known: Overview) -> None:
    text.append("last 60 s    ", DIM)
    _latency(text, known.latency)
    text.append(" ")
    for name, number in known.last_minute.items():
        _part(text, shown(name), count(number), OUTCOMES.get(name, "") if number else DIM, "  ")


def _latency(text: Text, latency: Latency) -> None:
    for label, value in (
        ("p50", latency.p50_seconds),
        ("p90", latency.p90_seconds),
        ("p99", latency.p99_seconds),
    ):
        _part(text, label, seconds(value) or "-", gap="  ")


def _trouble(text: Text, known: Overview) -> None:
    _part(text, "STUCK", count(known.stuck_count), BAD if known.stuck_count else "")
    lag = known.loop.lag_max_seconds
    _part(text, "loop lag", f"{seconds(lag)} at most", BAD if lag > _LAGS else "")
    for topic, behind in known.behind.items():
        _part(text, f"{shown(topic)} behind", count(behind), WARN if behind else "")
    for name, number in (
        ("restarts", known.restarts),
        ("dead letters", known.dead_letters),
        ("skipped", known.skipped_records),
        ("late", known.late_events),
    ):
        _part(text, name, count(number), WARN if number else "")


# ------------------------------------------------------------------------------- Kafka


def kafka(statistics: Statistics | None) -> Text:
    """Readers, producer, event bus and catalogue."""
    text = Text()
    if statistics is None:
        return text
    for reader in statistics.readers:
        _reader(text, reader)
    producer = statistics.publisher
    text.append("producer  ", NAME)
    text.append("working" if producer.working else "INTERRUPTED", GOOD if producer.working else BAD)
    text.append("\n  ")
    _part(text, "acknowledged", count(producer.published))
    _part(text, "each second", rate(producer.published_per_second))
    _part(text, "in flight", count(producer.in_flight))
    _part(text, "lost", count(producer.failed), BAD if producer.failed else "")
    _part(text, "made", count(producer.producers))
    _error(text, producer.last_error)
    bus = statistics.bus
    text.append("\n\nevent bus\n  ", NAME)
    _part(text, "deletions", count(bus.published))
    _part(text, "matched", count(bus.matched))
    _part(text, "late", count(bus.late))
    _part(text, "subscriptions", count(bus.subscriptions))
    text.append("\n\ncatalogue\n  ", NAME)
    for name, value in statistics.catalogue.items():
        _part(text, shown(str(name)), shown(str(value)))
    return text


def _reader(text: Text, reader: ReaderFacts) -> None:
    text.append(f"{shown(reader.topic)}  ", NAME)
    if not reader.positioned:
        text.append("INTERRUPTED", BAD)
    else:
        text.append("reading" if reader.caught_up else "catching up", GOOD)
    text.append("\n  ")
    _part(text, "behind", count(reader.behind), WARN if reader.behind else "")
    _part(text, "read", count(reader.read))
    _part(text, "each second", rate(reader.read_per_second))
    _part(text, "skipped", count(reader.skipped), WARN if reader.skipped else "")
    _part(text, "connected", f"{count(reader.sessions)} x")
    text.append("\n  positions ", DIM)
    text.append("  ".join(f"{p}:{at}" for p, at in reader.positions.items()))
    _error(text, reader.last_error)
    text.append("\n\n")


def _error(text: Text, error: str) -> None:
    if error:
        text.append("\n  last error ", DIM)
        text.append(shown(error), WARN)


# ------------------------------------------------------------------------------- losses


def losses(world: World) -> Text:
    """Dead letters, skipped records, stale deletions, and what is stuck."""
    text = Text()
    known = world.losses
    text.append("stuck\n", NAME)
    for incident in world.overview.stuck if world.overview else ():
        text.append(f"  {clock(incident.since)}  {incident.kind}  {shown(incident.detail)}\n", BAD)
    if known is None:
        return text
    text.append(f"\nskipped records ({count(known.skipped_records_count)})\n", NAME)
    for record in known.skipped_records:
        text.append(f"  {clock(record.at)}  ", DIM)
        text.append(f"{shown(record.topic)}[{record.partition}] @ {record.offset}  ")
        text.append(f"{shown(record.reason)}\n", WARN)
    text.append(f"\nstale deletions ({count(known.stale_deletions_count)})\n", NAME)
    for stale in known.stale_deletions:
        text.append(f"  {clock(stale.at)}  ", DIM)
        text.append(f"{shown(stale.item_id)} {shown(stale.container_id)}  ")
        text.append(f"dated {stale.deleted_at}, listed {stale.listed_at}\n", WARN)
    text.append(f"\ndead letters ({count(known.dead_letters_count)})\n", NAME)
    for letter in known.dead_letters:
        text.append(f"  {clock(letter.at)}  ", DIM)
        text.append(f"{shown(letter.message)} for {shown(letter.receiver)}  ")
        text.append(f"{shown(letter.takedown_id or '')}\n", DIM)
    return text
