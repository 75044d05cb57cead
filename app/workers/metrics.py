"""One exposition out of many: every series of every worker, with the label `worker`.

They are not added up here: a worker that is restarted begins at 0, and only the reader's `rate`,
series by series, can tell that from a decrease. `sum without (worker)` gives the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LABEL = "worker"


class BadExposition(Exception):
    """What a worker showed is not Prometheus' text format."""


def parse(text: str) -> list[Metric]:
    """The families of one worker's exposition.

    Raises:
        BadExposition: it is none.
    """
    try:
        return list(text_string_to_metric_families(text))
    except (ValueError, KeyError, IndexError) as error:
        raise BadExposition(str(error)) from error


def merge(expositions: Mapping[int, Iterable[Metric]]) -> list[Metric]:
    """All families, each once, with every worker's samples; by the worker's number.

    A label `worker` that a sample has already is kept as `exported_worker`, as Prometheus does it.
    """
    families: dict[str, Metric] = {}
    for number, metrics in expositions.items():
        for metric in metrics:
            family = families.get(metric.name)
            if family is None:
                family = families[metric.name] = Metric(
                    metric.name, metric.documentation, metric.type
                )
            for sample in metric.samples:
                labels = dict(sample.labels)
                if LABEL in labels:
                    labels[f"exported_{LABEL}"] = labels.pop(LABEL)
                family.samples.append(sample._replace(labels={LABEL: str(number), **labels}))
    return list(families.values())


def own(up: Mapping[int, bool], restarts: Mapping[int, int]) -> Iterator[Metric]:
    """What the supervisor itself knows, by the worker's number."""
    yield GaugeMetricFamily("takedown_workers", "Workers that there should be.", value=len(up))
    family = GaugeMetricFamily(
        "takedown_worker_up", "1 for a worker whose metrics are shown.", labels=[LABEL]
    )
    for number, is_up in up.items():
        family.add_metric([str(number)], float(is_up))
    yield family
    counter = CounterMetricFamily(
        "takedown_worker_restarts", "Worker processes started again.", labels=[LABEL]
    )
    for number, count in restarts.items():
        counter.add_metric([str(number)], count)
    yield counter


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)

    def describe(self) -> Iterator[Metric]:
        return iter(())


def registry_of(families: Iterable[Metric]) -> CollectorRegistry:
    """A registry for an encoder of prometheus_client."""
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return registry
