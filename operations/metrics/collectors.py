"""Reads the metrics that the parts know of themselves, whenever Prometheus asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.runtime.dead_letters import DEAD_LETTERS
from operations.log_output.handler import lines_dropped
from operations.metrics.metrics import counter, gauge, labelled_counter, labelled_gauge
from operations.metrics.takedowns import observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from actors.fsm.transitions import TransitionFeed
    from bus.event_bus import EventBus
    from bus.kafka.publisher import KafkaPublisher
    from bus.kafka.reader import TopicReader
    from catalogue.http.catalogue import HttpCatalogue
    from catalogue.view import CatalogueView
    from coordinator.coordinator import CoordinatorStatistics
    from coordinator.readiness import Readiness
    from operations.observation.live_updates import Broadcast
    from operations.observation.views import Observatory


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that are asked for their statistics."""

    readiness: Readiness
    coordinator: Callable[[], CoordinatorStatistics | None]
    bus: EventBus
    readers: tuple[TopicReader, ...]
    publisher: KafkaPublisher
    catalogue: CatalogueView | None
    over_http: HttpCatalogue | None
    feed: TransitionFeed
    connections: Callable[[], int]
    observatory: Observatory
    broadcast: Broadcast

    def collect(self) -> Iterator[Metric]:
        """Everything, as Prometheus' metric families."""
        yield from self._readiness()
        yield from self._coordinator()
        yield from self._kafka()
        bus = self.bus.statistics()
        yield gauge("takedown_bus_subscriptions", "Subscriptions.", bus.subscriptions)
        yield counter("takedown_bus_published", "Deletions published.", bus.published)
        yield counter("takedown_bus_matched", "Deletions that a censor waited for.", bus.matched)
        yield counter("takedown_bus_lists", "Newer lists of items published.", bus.lists)
        yield counter("takedown_bus_lists_matched", "Lists of items in flight.", bus.lists_matched)
        yield from self._view()
        yield from self._over_http()
        yield from observed(self.observatory, self.broadcast, self.feed)
        yield counter(
            "takedown_dead_letters", "Messages that no actor handled.", DEAD_LETTERS.count
        )
        yield counter("takedown_log_lines_dropped", "Log lines dropped.", lines_dropped())
        machines = self.feed.machines()
        yield gauge("takedown_actors", "Live censors.", len(machines))
        yield gauge("takedown_timers", "Timers that run.", sum(len(m.timers) for m in machines))
        yield gauge("takedown_tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
        yield gauge("takedown_http_connections", "Open connections.", self.connections())

    def _view(self) -> Iterator[Metric]:
        if self.catalogue is None:
            return
        catalogue = self.catalogue.statistics()
        yield gauge("takedown_catalogue_items", "Items known.", catalogue.items)
        yield gauge("takedown_catalogue_containers", "Containers known.", catalogue.containers)
        yield gauge(
            "takedown_catalogue_items_in_doubt",
            "Items whose newest record cannot be read.",
            catalogue.in_doubt,
        )
        yield counter("takedown_catalogue_misses", "Searches for evidence.", catalogue.misses)
        yield gauge("takedown_catalogue_pending", "Changes not stored yet.", catalogue.pending)
        yield gauge("takedown_catalogue_bytes", "Its size on disk.", catalogue.bytes)
        yield gauge(
            "takedown_catalogue_failing",
            "1 while nothing can be stored.",
            float(bool(catalogue.problem)),
        )
        yield counter("takedown_catalogue_commits", "Transactions.", catalogue.commits)
        yield counter(
            "takedown_catalogue_rebuilds", "Times all was read again.", catalogue.rebuilds
        )
        yield counter(
            "takedown_catalogue_overtaken",
            "Records older than another partition's.",
            catalogue.overtaken,
        )

    def _over_http(self) -> Iterator[Metric]:
        if self.over_http is None:
            return
        asked = self.over_http.statistics()
        for name, text, value in (
            ("requests", "Requests to the Items service.", asked.requests),
            ("retries", "Requests of a search after its first.", asked.retries),
            ("failures", "Requests that brought no evidence.", asked.failures),
        ):
            yield counter(f"takedown_catalogue_http_{name}", text, value)
        yield labelled_counter(
            "takedown_catalogue_http_searches",
            "Searches ended, by result.",
            "result",
            [
                ("hit", asked.hits),
                ("miss", asked.misses),
                ("unavailable", asked.unavailable),
            ],
        )
        yield gauge("takedown_catalogue_http_waiting", "Searches in flight.", asked.waiting)
        yield labelled_gauge(
            "takedown_catalogue_http_circuit",
            "1 for the state that the circuit is in.",
            "state",
            [(s, float(s == asked.circuit)) for s in ("closed", "opened", "half-opened")],
        )

    def _readiness(self) -> Iterator[Metric]:
        health = self.readiness.health()
        yield gauge("takedown_ready", "1 when takedowns may begin.", float(health.ready))
        yield labelled_gauge(
            "takedown_ready_check",
            "1 when this readiness check holds.",
            "check",
            [(name, float(problem is None)) for name, problem in health.checks.items()],
        )
        yield gauge(
            "takedown_missing_safeguards",
            "Safeguards that the brokers do not provide; /readyz lists them.",
            len(health.missing_safeguards),
        )

    def _coordinator(self) -> Iterator[Metric]:
        coordinator = self.coordinator()
        if coordinator is None:
            return
        yield gauge("takedown_in_flight", "Takedowns in flight.", coordinator.in_flight)
        yield gauge("takedown_pool_idle", "Idle censors in the pool.", coordinator.idle)
        yield gauge(
            "takedown_waiting_for_kafka",
            "Takedowns that wait for Kafka and have not begun.",
            coordinator.waiting,
        )
        yield gauge("takedown_pool_maximum", "Most takedowns in flight.", coordinator.maximum)
        yield counter("takedown_accepted", "Takedowns begun.", coordinator.accepted)
        yield labelled_counter(
            "takedown_rejected",
            "Takedowns not begun, by reason.",
            "reason",
            coordinator.rejected.items(),
        )
        yield labelled_counter(
            "takedown_outcomes", "Takedowns ended.", "outcome", coordinator.outcomes.items()
        )
        yield counter("takedown_restarts", "Censors restarted.", coordinator.restarts)
        yield counter("takedown_replaced", "Censors given up.", coordinator.replaced)

    def _kafka(self) -> Iterator[Metric]:
        readers = [reader.statistics() for reader in self.readers]
        for name, text, values in (
            ("read", "Records read.", [(r.topic, float(r.read)) for r in readers]),
            ("skipped", "Unreadable records.", [(r.topic, float(r.skipped)) for r in readers]),
            ("sessions", "Connections made.", [(r.topic, float(r.sessions)) for r in readers]),
        ):
            yield labelled_counter(f"takedown_reader_{name}", text, "topic", values)
        yield labelled_gauge(
            "takedown_reader_behind",
            "Records between our position and the log's end.",
            "topic",
            [(r.topic, float(r.behind)) for r in readers],
        )
        publisher = self.publisher.statistics()
        yield gauge("takedown_publish_in_flight", "Not acknowledged.", publisher.in_flight)
        yield counter("takedown_published", "Requests acknowledged.", publisher.published)
        yield counter("takedown_publish_failures", "Requests lost.", publisher.failed)
