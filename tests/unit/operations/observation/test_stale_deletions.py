"""Deletions that confirm nothing: counted, shown, and logged once a minute."""

from __future__ import annotations

import logging

import pytest
from support.fakes import ITEM, T0, deletion

from actors.item_censor.states import ReportStaleDeletion
from domain.messages import TakedownId
from operations.observation.clock import Clock
from operations.observation.stale_deletions import StaleDeletions


class Stage:
    def __init__(self, **options: int) -> None:
        self.now = 100.0
        self.stale = StaleDeletions(Clock(lambda: self.now, lambda: T0), **options)

    def note(self, name: str = "a", times: int = 1) -> None:
        event = deletion(name, after=-60)
        for _ in range(times):
            self.stale.note(ReportStaleDeletion(TakedownId("mine"), event, T0))


def test_the_last_ones_are_shown_with_both_dates() -> None:
    stage = Stage(keep=2)
    stage.note("a")
    stage.now += 1
    stage.note("b")
    stage.note("c" * 1000)

    newest, before = stage.stale.view()
    assert stage.stale.count == 3
    assert (before.container_id, before.item_id, before.takedown_id) == ("b", ITEM, "mine")
    assert before.deleted_at == "2026-01-02T03:03:05.678000Z"
    assert before.listed_at == "2026-01-02T03:04:05.678000Z"
    assert len(newest.container_id) <= 201


def test_a_flood_of_them_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    with caplog.at_level(logging.WARNING):
        stage.note("a")
        for _ in range(59):
            stage.now += 1
            stage.note("b", times=10)
        assert len(caplog.messages) == 1
        stage.now += 1
        stage.note("c")

    first, second = caplog.messages
    for words in (
        ITEM,
        "container a",
        "2026-01-02T03:03:05.678000Z",
        "2026-01-02T03:04:05.678000Z",
    ):
        assert words in first
    assert "1 such deletions since" in first
    assert "591 such deletions since" in second
