"""What Prometheus is told.

Everything is read when it is scraped: what a part knows of itself from its `statistics()`, and the
answers of the public API from plain counters, since a request pays for each call that counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from operations.observation.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9.5, 10, 10.25)

_FORMAT = re.compile(
    r"(?:application/openmetrics-text|text/plain)(?:[ \t]*+;[ \t]*+(?:"
    r"version=(?:0\.0\.[14]|1\.0\.0)|charset=utf-8|q=[0-9.]{1,5}|escaping=[a-z0-9-]{1,20}))*+"
)
"""What Prometheus asks for. The library parses versions without expecting errors, and repeats them
in its Content-Type."""

Read = Callable[[], Iterable["Metric"]]


def choose_encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """How to write the metrics for this `Accept` header, and as what Content-Type.

    Of formats and versions that are unknown nothing is refused: the answer is plain text then.
    """
    known = (part.strip() for part in accept.split(","))
    return exposition.choose_encoder(",".join(each for each in known if _FORMAT.fullmatch(each)))


class Metrics:
    """The metrics of one service.

    Args:
        read: gives the metrics that are read from the parts when scraped.
    """

    def __init__(self, read: Read) -> None:
        self.registry = CollectorRegistry()
        self._answers: dict[tuple[int, str], int] = {}
        self._seconds: dict[int, Histogram] = {}
        self.registry.register(_Reader(self._answered))
        self.registry.register(_Reader(read))

    def answered(self, *, status: int, outcome: str, seconds: float) -> None:
        """One answer was given at the public API."""
        key = (status, outcome)
        self._answers[key] = self._answers.get(key, 0) + 1
        histogram = self._seconds.get(status)
        if histogram is None:
            histogram = self._seconds[status] = Histogram(_BUCKETS)
        histogram.observe(seconds)

    def _answered(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "takedown_http_answers",
            "Answers at the public API, by status and outcome.",
            labels=["status", "outcome"],
        )
        for (status, outcome), count in self._answers.items():
            answers.add_metric([str(status), outcome], count)
        yield answers
        yield histograms(
            "takedown_http_answer_seconds",
            "Seconds from accepting a request to its answer, by status.",
            "status",
            [(str(status), each) for status, each in self._seconds.items()],
        )


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


def histograms(
    name: str, text: str, label: str | None, values: Iterable[tuple[str, Histogram]]
) -> HistogramMetricFamily:
    """One histogram for each value of a label, or the one without."""
    family = HistogramMetricFamily(name, text, labels=None if label is None else [label])
    for value, each in values:
        family.add_metric([] if label is None else [value], each.cumulative(), each.total)
    return family
