"""The first skipped records are logged in full, then how many there are."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.fakes import ITEM
from support.log_records import LogRecord

from bus.kafka.skip_log import IN_FULL, PERIOD, SkipLog


def record(offset: int) -> LogRecord:
    return LogRecord("topic", 3, offset, b"value", key=ITEM.encode() + b"\xff")


async def test_a_thousand_are_a_few_lines_and_one_with_the_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = SkipLog("topic")
    with caplog.at_level(logging.WARNING):
        for offset in range(1000):
            log.note(record(offset), "no JSON")
        await asyncio.sleep(PERIOD + 1)
    assert len(caplog.records) == IN_FULL + 1
    first, last = caplog.records[0], caplog.records[-1]
    assert first.getMessage() == "Skipped an unreadable record: no JSON"
    fields = {name: getattr(first, name) for name in ("topic", "partition", "offset", "key")}
    assert fields == {"topic": "topic", "partition": 3, "offset": 0, "key": ITEM + "\\xff"}
    assert f"Skipped {1000 - IN_FULL} more unreadable records of topic" in last.getMessage()
    assert getattr(last, "offset", None) == 999


async def test_the_next_period_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    log = SkipLog("topic")
    with caplog.at_level(logging.WARNING):
        for offset in range(3):
            log.note(record(offset), "no JSON")
            await asyncio.sleep(PERIOD + 1)
    assert [each.getMessage() for each in caplog.records] == [
        "Skipped an unreadable record: no JSON"
    ] * 3


async def test_what_waits_is_logged_when_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    log = SkipLog("topic")
    with caplog.at_level(logging.WARNING):
        for offset in range(IN_FULL + 5):
            log.note(record(offset), "no JSON")
        log.close()
    assert "Skipped 5 more unreadable records" in caplog.text


async def test_one_whose_key_is_not_known_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    log = SkipLog("topic")
    log.note(record(0), "too large", named=False)
    log.close()
    assert caplog.records[0].levelno == logging.ERROR
    assert "their keys are not known" in caplog.text
