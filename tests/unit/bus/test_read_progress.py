"""When what was in the log has been read, for callers that wait for that."""

from __future__ import annotations

import asyncio

import pytest
from support.log import FakeTopic
from support.reading import Reading, caught_up, reading
from support.settling import settle

from bus.kafka.positioning import Start
from domain.errors import KafkaUnavailable


async def test_catching_up_waits_for_what_was_there_and_not_for_what_comes_later() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.fetching.stuck = True
        topic.append("a")
        waiting = asyncio.create_task(it.reader.catch_up())
        await asyncio.sleep(0.5)
        assert not waiting.done()
        topic.fetching.stuck = False
        await waiting
        assert it.values == ["a"]


async def test_callers_at_the_same_time_share_one_question() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        await settle()
        before = topic.asked.count("ends")
        await asyncio.gather(*(it.reader.catch_up() for _ in range(100)))
        assert topic.asked.count("ends") - before == 1


async def test_the_logs_end_is_asked_for_after_the_last_caller_came() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.answering_takes = 0.2
        first = asyncio.create_task(it.reader.catch_up())
        await asyncio.sleep(0.3)  # the answer about the first one's end is on its way
        topic.fetching.stuck = True
        topic.append("late")
        second = asyncio.create_task(it.reader.catch_up())
        await asyncio.wait([first], timeout=1.0)
        assert first.done(), "the log was empty when it asked"
        assert not second.done(), "its record is not read yet"
        topic.fetching.stuck = False
        await second
        assert it.values == ["late"]


async def test_a_caller_who_gave_up_is_not_missed() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.fetching.stuck = True
        topic.append("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await it.reader.catch_up()
        topic.fetching.stuck = False
        await caught_up(it)
        assert it.values == ["a"]


async def test_nobody_can_catch_up_before_it_is_positioned() -> None:
    it = Reading(FakeTopic(), start=Start.END, rewinds=False)
    with pytest.raises(KafkaUnavailable, match="not connected yet"):
        await it.reader.catch_up()


async def test_when_the_session_is_lost_who_waits_is_told_why() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.fetching.stuck = True
        topic.append("a")
        waiting = asyncio.create_task(it.reader.catch_up())
        await asyncio.sleep(0.5)
        topic.break_connections()
        with pytest.raises(KafkaUnavailable, match="the connection broke"):
            await waiting
