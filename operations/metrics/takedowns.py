"""The metrics of what looks on: states, outcomes, durations, lag, and what is stuck."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from actors.fsm.actor import MachineActor
from operations.metrics.metrics import counter, gauge, histograms, labelled_counter, labelled_gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from actors.fsm.transitions import TransitionFeed
    from operations.observation.live_updates import Broadcast
    from operations.observation.views import Observatory


def observed(
    observatory: Observatory, broadcast: Broadcast, feed: TransitionFeed
) -> Iterator[Metric]:
    """Everything, as Prometheus' metric families."""
    yield from _actors(observatory, feed)
    journal = observatory.journal
    yield histograms(
        "takedown_duration_seconds",
        "Seconds from accepting a takedown to its end, of those that a censor handled.",
        "outcome",
        [(name, each) for name, each in journal.durations.items() if any(each.counts)],
    )
    for name, text, each in (
        ("catalogue", "Seconds from accepting a takedown to the catalogue's answer.", "located"),
        ("acknowledgement", "Seconds from publishing to Kafka's last ack.", "acknowledged"),
        ("last_container", "Seconds from publishing to the last deletion.", "deleted"),
    ):
        yield histograms(
            f"takedown_{name}_wait_seconds", text, None, [("", getattr(journal, each))]
        )
    bus = observatory.bus()
    yield counter(
        "takedown_events_unmatched",
        "Deletions that no censor waited for.",
        bus.published - bus.matched,
    )
    yield counter("takedown_events_late", "Deletions after the deadline.", journal.late_events)
    yield counter(
        "takedown_stale_deletions",
        "Deletions that confirmed nothing, being older than their container's list.",
        observatory.stale_deletions.count,
    )
    yield counter("takedown_transitions", "Transitions of machines.", journal.transitions())
    yield counter("takedown_observer_failures", "Observers that raised.", feed.failures)
    sampling, watch = observatory.sampling, observatory.watch
    yield histograms(
        "takedown_loop_lag_seconds",
        "Seconds by which the event loop was late, looked at once a second.",
        None,
        [("", sampling.lags)],
    )
    yield gauge(
        "takedown_loop_lag_max_seconds", "The worst of the last minute.", sampling.worst_lag
    )
    yield labelled_gauge(
        "takedown_stuck",
        "Open incidents.",
        "kind",
        [(kind, float(count)) for kind, count in watch.open_counts().items()],
    )
    yield labelled_counter("takedown_incidents", "Incidents begun.", "kind", watch.counts.items())
    yield gauge("takedown_viewers", "Open streams.", broadcast.viewers)
    yield counter(
        "takedown_viewers_cut", "Streams whose client did not read.", broadcast.viewers_cut
    )


def _actors(observatory: Observatory, feed: TransitionFeed) -> Iterator[Metric]:
    states: Counter[str] = Counter(dict.fromkeys(observatory.states(), 0))
    waiting = deepest = 0
    for machine in feed.machines():
        states[machine.state.value] += 1
        if isinstance(machine, MachineActor):
            depth = len(machine.actor_inbox)
            waiting += depth
            deepest = max(deepest, depth)
    yield labelled_gauge(
        "takedown_censors",
        "Censors by the state of their machine.",
        "state",
        [(state, float(count)) for state, count in states.items()],
    )
    depths = GaugeMetricFamily(
        "takedown_mailbox_depth", "Messages that wait to be handled.", labels=["actor"]
    )
    depths.add_metric(["coordinator"], observatory.coordinator_mailbox())
    depths.add_metric(["censors"], waiting)
    yield depths
    yield gauge("takedown_mailbox_deepest", "Messages in one censor's mailbox.", deepest)
