"""Metrics of several workers in one exposition."""

from __future__ import annotations

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    exposition,
)
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from support.observed import Samples

from app.workers.metrics import BadExposition, merge, own, parse, registry_of


def text_of(answers: int, seconds: list[float], **gauges: float) -> str:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the service does
    registry = CollectorRegistry()
    counter = Counter("takedown_answers", 'Answers, "all".', ["status"], registry=registry)
    counter.labels('2"0\\0\n').inc(answers)
    histogram = Histogram("takedown_seconds", "Seconds.", buckets=(0.1, 1), registry=registry)
    for each in seconds:
        histogram.observe(each)
    for name, value in gauges.items():
        Gauge(name, "A gauge.", registry=registry).set(value)
    return exposition.generate_latest(registry).decode()


def shown(texts: list[str]) -> Samples:
    families = merge({number: parse(text) for number, text in enumerate(texts)})
    return Samples(exposition.generate_latest(registry_of(families)).decode())


def test_every_series_of_every_worker_is_there_with_its_number() -> None:
    samples = shown([text_of(3, [0.05, 0.5]), text_of(4, [5.0])])
    for number, answers, fast in (("0", 3, 1), ("1", 4, 0)):
        labels = {"worker": number}
        counted = "takedown_answers_total"
        assert samples.value(counted, status='2"0\\0\n', **labels) == answers
        assert samples.value("takedown_seconds_bucket", le="0.1", **labels) == fast
        assert samples.value("takedown_seconds_count", **labels) == 3 - int(number) - 1
    assert samples.value("takedown_seconds_sum", worker="1") == 5.0
    assert {name for name, _ in samples.samples} == {
        "takedown_answers_total",
        "takedown_seconds_bucket",
        "takedown_seconds_count",
        "takedown_seconds_sum",
    }


def test_a_family_that_only_one_worker_has_is_there_too() -> None:
    samples = shown([text_of(0, []), text_of(0, [], takedown_new=7)])
    assert samples.value("takedown_new", worker="1") == 7
    assert ("takedown_new", frozenset({("worker", "0")})) not in samples.samples


def test_a_label_of_the_same_name_is_kept_under_another() -> None:
    samples = shown(['# TYPE x gauge\nx{worker="bee"} 1\n'])
    assert samples.value("x", worker="0", exported_worker="bee") == 1


def test_it_is_whole_in_both_of_prometheus_formats() -> None:
    families = [*own({0: True, 1: False}, {0: 2, 1: 0}), *merge({0: parse(text_of(3, [0.5]))})]
    encode, _ = exposition.choose_encoder("application/openmetrics-text; version=1.0.0")
    text = encode(registry_of(families)).decode()
    by_name = {family.name: family for family in open_families(text)}  # type: ignore[no-untyped-call]
    assert by_name["takedown_answers"].type == "counter"
    assert by_name["takedown_seconds"].type == "histogram"
    plain = Samples(exposition.generate_latest(registry_of(families)).decode())
    assert plain.value("takedown_workers") == 2
    assert plain.value("takedown_worker_up", worker="1") == 0
    assert plain.value("takedown_worker_restarts_total", worker="0") == 2


@pytest.mark.parametrize("text", ['x{worker="1" 1\n', "x one\n", "# TYPE x\nx{ 1", "x\n"])
def test_what_is_no_exposition_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadExposition):
        parse(text)
