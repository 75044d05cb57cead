"""The summary of the service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from operations.observation.schemas.fields import At, Count, Seconds, Shape
from operations.observation.schemas.health import Check
from operations.observation.schemas.history import Latency, PerSecond, Phases
from operations.observation.schemas.incidents import Incident
from operations.observation.schemas.statistics import LoopFacts


class Overview(Shape, frozen=True):
    """A summary."""

    started_at: At
    ready: bool
    checks: dict[str, Check]
    in_flight: Count
    idle: Count
    maximum: Count
    draining: bool
    states: Annotated[
        dict[str, int], Meta(description="Censors in each state.", examples=[{"Active": 17}])
    ]
    waiting_for: Annotated[
        dict[str, int],
        Meta(
            description="Takedowns in flight by what they wait for.", examples=[{"deletions": 17}]
        ),
    ]
    oldest_seconds: Annotated[Seconds | None, Meta(description="Age of the oldest in flight.")]
    nearest_deadline_seconds: Annotated[Seconds | None, Meta(description="Of all in flight.")]
    accepted: Count
    outcomes: Annotated[dict[str, int], Meta(description="Since the start.")]
    rejected: Annotated[dict[str, int], Meta(description="503s that no censor saw, by reason.")]
    per_second: PerSecond
    last_minute: Annotated[dict[str, int], Meta(description="Outcomes of the last 60 seconds.")]
    latency: Annotated[Latency, Meta(description="Takedowns of the last 60 seconds.")]
    phases: Annotated[Phases, Meta(description="Takedowns of the last 60 seconds.")]
    loop: LoopFacts
    behind: Annotated[dict[str, int], Meta(description="Records behind, by topic.")]
    restarts: Count
    replaced: Count
    dead_letters: Count
    skipped_records: Count
    late_events: Count
    stuck: Annotated[tuple[Incident, ...], Meta(description="Open incidents; the first 100.")]
    stuck_count: Count
