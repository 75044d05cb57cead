"""How a reader sets its positions, on a virtual clock, with a topic in memory."""

from __future__ import annotations

import asyncio

from support.log import FakeTopic
from support.reading import Reading, caught_up, reading
from support.settling import settle

from bus.kafka.positioning import Start


async def test_a_reader_that_starts_at_the_beginning_reads_what_was_there() -> None:
    topic = FakeTopic()
    topic.append("a", "b")
    topic.append("c", partition=1)
    async with reading(topic) as it:
        await caught_up(it)
        assert sorted(it.values) == ["a", "b", "c"]
        assert it.reader.caught_up


async def test_a_reader_that_starts_at_the_end_reads_only_what_comes() -> None:
    topic = FakeTopic()
    topic.append("old")
    async with reading(topic, start=Start.END) as it:
        topic.append("new")
        await caught_up(it)
        assert it.values == ["new"]


async def test_a_quiet_topic_is_positioned_long_before_a_broker_would_answer_its_fetches() -> None:
    topic = FakeTopic()
    it = Reading(topic, start=Start.END, rewinds=False)
    task = asyncio.create_task(it.reader.run())
    assert await it.positioned() < 0.1
    await settle()
    assert topic.fetching.held_back_for == 0.5, "from then on they are held back as long as it says"
    task.cancel()
    await asyncio.wait([task])


async def test_it_is_not_positioned_before_every_position_is_set() -> None:
    topic = FakeTopic()
    topic.answering_takes = 0.5
    it = Reading(topic, start=Start.END, rewinds=False)
    task = asyncio.create_task(it.reader.run())
    while not any(consumer.assigned for consumer in topic.consumers):
        assert not it.reader.positioned
        await asyncio.sleep(0.01)
    assert -1 not in topic.fetching.assigned.values()
    await it.positioned()
    task.cancel()
    await asyncio.wait([task])


async def test_a_new_leader_that_does_not_know_its_end_yet_is_not_taken_for_a_new_topic() -> None:
    topic = FakeTopic(partitions=1)
    async with reading(topic, rewinds=True) as it:
        topic.append("a", "b", "c")
        await caught_up(it)
        topic.partitions[0].leads_since = 1
        await it.positioned(so=False)
        topic.partitions[0].leads_since = None
        await it.positioned()
        topic.append("d")
        await caught_up(it)
        assert it.values == ["a", "b", "c", "d"], "not one of them twice"
        assert it.rewound == 0


async def test_a_log_whose_end_stays_below_our_position_is_another_one() -> None:
    """The embedded broker refuses no position; its high water mark is all that it says."""
    topic = FakeTopic(partitions=1)
    async with reading(topic, start=Start.END) as it:
        topic.append("a", "b", "c")
        await caught_up(it)
        topic.refuses_positions = False
        topic.make_again(partitions=1)
        topic.append("d")
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a", "b", "c", "d"]
