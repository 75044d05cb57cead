"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import exposition
from prometheus_client.parser import text_string_to_metric_families
from support.observed import Samples

from operations.metrics.metrics import Metrics, counter, gauge, labelled_counter, labelled_gauge

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


def shown(metrics: Metrics) -> Samples:
    return Samples(exposition.generate_latest(metrics.registry).decode())


def test_each_answer_is_counted_by_status_and_outcome() -> None:
    metrics = Metrics(lambda: ())

    metrics.answered(status=200, outcome="Deleted", seconds=0.02)
    metrics.answered(status=200, outcome="Deleted", seconds=0.2)
    metrics.answered(status=504, outcome="TimedOut", seconds=10.0)

    samples = shown(metrics)
    counted = "takedown_http_answers_total"
    assert samples.value(counted, status="200", outcome="Deleted") == 2
    assert samples.value(counted, status="504", outcome="TimedOut") == 1


def test_an_answer_at_the_deadline_is_told_from_one_that_is_too_late() -> None:
    metrics = Metrics(lambda: ())

    for seconds in (10.0, 10.2, 10.3):
        metrics.answered(status=504, outcome="TimedOut", seconds=seconds)

    samples = shown(metrics)
    bucket = "takedown_http_answer_seconds_bucket"
    assert samples.value(bucket, status="504", le="10.0") == 1
    assert samples.value(bucket, status="504", le="10.25") == 2
    assert samples.value(bucket, status="504", le="+Inf") == 3


def test_what_the_parts_know_is_read_at_each_scrape_and_not_before() -> None:
    scrapes = 0

    def read() -> Iterator[Metric]:
        nonlocal scrapes
        scrapes += 1
        yield gauge("one", "One.", scrapes)
        yield counter("two", "Two.", 2)
        yield labelled_gauge("three", "Three.", "topic", [("a", 3), ("b", 4)])
        yield labelled_counter("four", "Four.", "reason", {"x": 5}.items())

    metrics = Metrics(read)
    assert scrapes == 0
    shown(metrics)
    samples = shown(metrics)

    assert samples.value("one") == 2
    assert samples.value("two_total") == 2
    assert samples.value("three", topic="b") == 4
    assert samples.value("four_total", reason="x") == 5


def test_labels_with_any_text_come_out_as_they_went_in() -> None:
    odd = 'a "quoted"\nline \\ with ümlaut'
    metrics = Metrics(lambda: [labelled_gauge("odd", "Odd.", "label", [(odd, 1)])])

    assert shown(metrics).value("odd", label=odd) == 1


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(lambda: ()), Metrics(lambda: ())

    one.answered(status=200, outcome="Deleted", seconds=0.1)

    text = exposition.generate_latest(other.registry).decode()
    assert not [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
