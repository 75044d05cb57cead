"""Readiness: each check by name, and what is wrong in words."""

from __future__ import annotations

from coordinator.readiness import Health, Readiness


class Check:
    def __init__(self, problem: str | None = None) -> None:
        self.problem = problem

    def __call__(self) -> str | None:
        return self.problem


def test_without_checks_it_is_ready() -> None:
    readiness = Readiness()
    assert readiness.why_not() is None
    assert readiness.health() == Health({"running": None})
    assert readiness.health().ready


def test_every_check_is_listed_with_what_is_wrong() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check())
    readiness.add("catalogue", Check("behind"))
    health = readiness.health()
    assert health.checks == {"consumer": None, "catalogue": "behind", "running": None}
    assert not health.ready


def test_why_not_names_the_first_check_that_fails() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check())
    readiness.add("catalogue", Check("behind"))
    readiness.add("producer", Check("away"))
    assert readiness.why_not() == "catalogue: behind"


def test_checks_are_looked_at_anew_each_time() -> None:
    readiness, check = Readiness(), Check("not yet")
    readiness.add("consumer", check)
    assert not readiness.health().ready
    check.problem = None
    assert readiness.health().ready
    assert readiness.why_not() is None
    check.problem = "lost"
    assert readiness.why_not() == "consumer: lost"


def test_draining_is_not_ready_though_all_checks_are_well_and_takedowns_may_begin() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check())
    readiness.drain()
    assert readiness.why_not() is None
    assert readiness.health().checks == {"consumer": None, "running": "shutting down"}
    assert not readiness.health().ready


def test_refusing_is_not_ready_and_no_takedown_may_begin() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check())
    readiness.refuse()
    assert readiness.why_not() == "shutting down"
    assert not readiness.health().ready


def test_shutting_down_comes_before_what_is_wrong_otherwise() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check("lost"))
    readiness.drain()
    assert readiness.why_not() == "consumer: lost"
    readiness.refuse()
    assert readiness.why_not() == "shutting down"


def test_a_problem_without_words_is_a_problem() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check(""))
    assert not readiness.health().ready
    assert readiness.why_not() == "consumer: "


def test_callers_are_told_the_check_that_fails_and_a_plain_cause_and_operators_all_of_it() -> None:
    full = "User:alice may not Read: `kafka-acls.sh --bootstrap-server 10.0.0.7:9092 --add`"
    readiness = Readiness()
    readiness.add("consumer", Check(), "deletions cannot be read now")
    readiness.add("catalogue", Check(full), "it is not known where items are")
    assert readiness.why_not_plainly() == "catalogue: it is not known where items are"
    assert readiness.why_not() == f"catalogue: {full}"
    assert readiness.health().checks["catalogue"] == full
    readiness.refuse()
    assert readiness.why_not_plainly() == "shutting down"


def test_when_all_is_well_callers_are_told_nothing() -> None:
    readiness = Readiness()
    readiness.add("consumer", Check(), "deletions cannot be read now")
    assert readiness.why_not_plainly() is None
