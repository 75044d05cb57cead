"""Rates and latencies of the last seconds, and what ended within the last minutes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from operations.observation.schemas.fields import At, Count, Rate, Seconds, Shape


class Latency(Shape, frozen=True):
    """Of takedowns that ended within some time; estimated from a histogram, null without any."""

    count: Count
    p50_seconds: Seconds | None
    p90_seconds: Seconds | None
    p99_seconds: Seconds | None


class Phases(Shape, frozen=True):
    """Whom takedowns waited for: us, the catalogue, Kafka, or the Items service."""

    located: Annotated[Latency, Meta(description="From accepted until the catalogue answered.")]
    acknowledged: Annotated[Latency, Meta(description="From publishing until Kafka's last ack.")]
    deleted: Annotated[Latency, Meta(description="From publishing until the last deletion.")]


class PerSecond(Shape, frozen=True):
    """Rates over the last 10 seconds."""

    accepted: Rate
    rejected: Rate
    answered: Rate
    published: Annotated[Rate, Meta(description="Delete requests acknowledged by Kafka.")]
    events_read: Annotated[Rate, Meta(description="Deletions read.")]
    events_matched: Annotated[Rate, Meta(description="Those that a censor waited for.")]
    transitions: Rate


class HistoryBucket(Shape, frozen=True):
    """What ended within one span of time."""

    at: Annotated[At, Meta(description="The span's end.")]
    seconds: Annotated[Seconds, Meta(description="The span's length.")]
    outcomes: Annotated[dict[str, int], Meta(examples=[{"Deleted": 50, "TimedOut": 1}])]
    rejected: Count
    in_flight: Annotated[Count, Meta(description="At the span's end.")]
    events_read: Count
    events_matched: Count
    latency: Latency
    lag_max_seconds: Seconds


class History(Shape, frozen=True):
    """The last minutes, oldest first."""

    buckets: tuple[HistoryBucket, ...]
