"""The sessions of a reader, on a virtual clock, with a topic in memory."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.log import FakeTopic
from support.reading import caught_up, reading

from bus.kafka.positioning import Start
from domain.errors import KafkaUnavailable


async def test_it_is_not_ready_at_once_though_stopping_the_clients_takes_long() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.stopping_takes = 60.0
        waiting = asyncio.create_task(it.reader.catch_up())
        topic.break_connections()
        assert await it.positioned(so=False) < 0.1
        assert it.reader.last_error == "KafkaConnectionError: the connection broke"
        with pytest.raises(KafkaUnavailable, match="the connection broke"):
            await asyncio.wait_for(waiting, 0.1)
        topic.stopping_takes = 0.0
        assert await it.positioned() < 12.0, "the bounds of stopping both"


async def test_positions_are_carried_over_a_lost_session() -> None:
    topic = FakeTopic()
    async with reading(topic, start=Start.END) as it:
        topic.append("a")
        await caught_up(it)
        topic.break_connections()
        await it.positioned(so=False)
        topic.append("b", "c")
        topic.append("d", partition=1)
        assert await it.positioned() < 1.0
        await caught_up(it)
        assert sorted(it.values) == ["a", "b", "c", "d"]
        assert it.reader.statistics().sessions == 2
        assert it.prepared == 2


async def test_a_broker_that_is_down_is_asked_again_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = FakeTopic()
    async with reading(topic, start=Start.END) as it:
        topic.down = True
        await it.positioned(so=False)
        await asyncio.sleep(60)
        assert 10 < topic.sessions < 70, "neither never nor all the time"
        topic.append("a")
        topic.down = False
        assert await it.positioned() < 3.0
        await caught_up(it)
        assert it.values == ["a"]
    interruptions = [r for r in caplog.records if "is interrupted" in r.message]
    assert 1 <= len(interruptions) < 4, "said once, not at each attempt"


async def test_a_defect_ends_the_session_and_not_the_reader(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = FakeTopic()
    async with reading(topic) as it:

        def raise_defect(*_arguments: object) -> int:
            raise ZeroDivisionError

        topic.fetching.highwater = raise_defect  # type: ignore[assignment]
        await it.positioned(so=False)
        topic.append("a")
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a"]
    assert any(record.exc_info for record in caplog.records if record.levelno >= logging.ERROR)
