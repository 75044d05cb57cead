"""The summary of the service, as the admin API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.runtime.dead_letters import DEAD_LETTERS
from operations.observation.schemas.health import Check, MissingSafeguard
from operations.observation.schemas.overview import Overview
from operations.observation.statistics import coordinator_fields, loop_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from operations.observation.history import Journal
    from operations.observation.rates import Sampling
    from operations.observation.schemas.incidents import Incidents
    from operations.observation.sources import Sources
    from operations.observation.summaries import ActorsSnapshot


def overview_of(
    sources: Sources,
    snapshot: ActorsSnapshot,
    *,
    journal: Journal,
    sampling: Sampling,
    incidents: Incidents,
    started_at: str,
    now: float,
) -> Overview:
    """The summary.

    Args:
        sources: the parts.
        snapshot: all actors.
        journal: the history of takedowns.
        sampling: rates and latencies.
        incidents: what is stuck.
        started_at: when the service was started, RFC 3339.
        now: the loop's time.
    """
    coordinator = coordinator_fields(sources)
    health = sources.readiness.health()
    last_minute, latency, phases = sampling.last_minute()
    return Overview(
        started_at=started_at,
        ready=health.ready,
        checks=checks_of(health.checks),
        in_flight=coordinator.in_flight if coordinator else 0,
        idle=coordinator.idle if coordinator else 0,
        maximum=coordinator.maximum if coordinator else 0,
        draining=coordinator.draining if coordinator else False,
        states={state: snapshot.states[state] for state in sources.states()},
        waiting_for={
            what: snapshot.waiting[what] for what in ("catalogue", "acknowledgement", "deletions")
        },
        oldest_seconds=None if snapshot.oldest is None else now - snapshot.oldest,
        nearest_deadline_seconds=None if snapshot.nearest is None else snapshot.nearest - now,
        accepted=coordinator.accepted if coordinator else 0,
        outcomes=coordinator.outcomes if coordinator else {},
        rejected=coordinator.rejected if coordinator else {},
        per_second=sampling.per_second(),
        last_minute=last_minute,
        latency=latency,
        phases=phases,
        loop=loop_fields(sampling),
        behind={r.topic: r.behind for r in (each.statistics() for each in sources.readers)},
        restarts=coordinator.restarts if coordinator else 0,
        replaced=coordinator.replaced if coordinator else 0,
        dead_letters=DEAD_LETTERS.count,
        skipped_records=sources.skipped(),
        late_events=journal.late_events,
        stuck=incidents.stuck,
        stuck_count=incidents.stuck_count,
    )


def checks_of(checks: Mapping[str, str | None]) -> dict[str, Check]:
    """Readiness checks as they are shown."""
    return {
        name: Check(ok=problem is None, detail=problem or "ok") for name, problem in checks.items()
    }


def safeguards_of(missing: Mapping[str, str]) -> list[MissingSafeguard]:
    """Missing safeguards as they are shown, by name."""
    return [MissingSafeguard(name=name, why=why) for name, why in sorted(missing.items())]
