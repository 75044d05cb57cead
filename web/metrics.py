"""What Prometheus is told.

Counters and histograms are fed as things happen; everything that a part knows of itself is read
from its `statistics()` when it is scraped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9.5, 10, 10.25)

Read = Callable[[], Iterable["Metric"]]


class Metrics:
    """The metrics of one service.

    Args:
        read: gives the metrics that are read from the parts when scraped.
    """

    def __init__(self, read: Read) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series nobody asks for
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "takedown_http_answers",
            "Answers at the callers' door, by status and outcome.",
            ["status", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "takedown_http_answer_seconds",
            "Seconds from accepting a request to its answer, by status.",
            ["status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_Reader(read))

    def answered(self, *, status: int, outcome: str, seconds: float) -> None:
        """One answer was given at the callers' door."""
        text = str(status)
        self._answers.labels(text, outcome).inc()
        self._seconds.labels(text).observe(seconds)


class _Reader(Collector):
    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        yield from self._read()

    def describe(self) -> Iterator[Metric]:
        return iter(())


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """One gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """One counter without labels."""
    return CounterMetricFamily(name, text, value=value)


def labelled_counter(
    name: str, text: str, label: str, values: Iterable[tuple[str, float]]
) -> CounterMetricFamily:
    """One counter for each value of a label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values:
        family.add_metric([key], value)
    return family


def labelled_gauge(
    name: str, text: str, label: str, values: Iterable[tuple[str, float]]
) -> GaugeMetricFamily:
    """One gauge for each value of a label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values:
        family.add_metric([key], value)
    return family
