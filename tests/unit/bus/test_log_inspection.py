"""Partitions that are added to a topic, or vanish from it, are found."""

from __future__ import annotations

import asyncio

from support.log import FakeTopic
from support.reading import caught_up, reading

from bus.kafka.positioning import Start


async def test_new_partitions_are_found_and_read_from_their_start() -> None:
    topic = FakeTopic()
    async with reading(topic, start=Start.END) as it:
        topic.append("a")
        await caught_up(it)
        topic.grow(2)
        topic.append("b", "c", partition=2)
        await asyncio.sleep(3)
        assert it.values == ["a", "b", "c"]
        assert it.reader.statistics().partitions == 3
        assert it.reader.statistics().sessions == 1


async def test_new_partitions_that_catching_up_finds_are_read_before_it_answers() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.grow(2)
        topic.append("b", partition=2)
        await caught_up(it)
        assert it.values == ["b"]


async def test_a_topic_with_fewer_partitions_is_another_topic() -> None:
    topic = FakeTopic(partitions=3)
    async with reading(topic, rewinds=True) as it:
        topic.append("a")
        await caught_up(it)
        topic.make_again(partitions=2)
        topic.append("b")
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["b"]
