"""The circuit opens after failures in a row, and only a trial can close it again."""

from __future__ import annotations

from catalogue.http.circuit_breaker import Circuit


def opened(threshold: int = 3) -> Circuit:
    circuit = Circuit(threshold=threshold)
    for _ in range(threshold):
        circuit.failed()
    return circuit


def test_it_is_closed_until_as_many_as_the_threshold_failed_in_a_row() -> None:
    circuit = Circuit(threshold=3)
    circuit.failed()
    circuit.failed()
    assert circuit.closed
    circuit.failed()
    assert circuit.state == "opened"


def test_a_success_begins_the_count_anew() -> None:
    circuit = Circuit(threshold=3)
    for _ in range(10):
        circuit.failed()
        circuit.failed()
        circuit.succeeded()
    assert circuit.closed


def test_a_trial_that_succeeds_closes_it_and_the_count_begins_anew() -> None:
    circuit = opened()
    circuit.begin_trial()
    assert circuit.state == "half-opened"
    circuit.succeeded()
    circuit.failed()
    assert circuit.closed


def test_during_a_trial_it_is_not_closed() -> None:
    circuit = opened()
    circuit.begin_trial()
    assert not circuit.closed


def test_a_trial_that_fails_opens_it_at_once() -> None:
    circuit = opened()
    circuit.begin_trial()
    circuit.failed()
    assert circuit.state == "opened"


def test_results_that_come_late_do_not_close_an_open_circuit() -> None:
    circuit = opened()
    circuit.succeeded()
    circuit.failed()
    assert circuit.state == "opened"


def test_a_trial_of_a_closed_circuit_changes_nothing() -> None:
    circuit = Circuit(threshold=2)
    circuit.failed()
    circuit.begin_trial()
    assert circuit.closed
    circuit.failed()
    assert not circuit.closed
