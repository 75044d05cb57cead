"""A topic that is deleted, and one that is recreated: the reader knows, and is never ready blind.

On a virtual clock, with a topic in memory. A look is a second away unless something hastens it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.log import FakeTopic
from support.log_records import NOT_LEADER, UNKNOWN_TOPIC
from support.reading import Reading, caught_up

from bus.kafka.positioning import Start
from bus.kafka.topic_identity import TopicIdentity
from domain.errors import KafkaUnavailable

AT_ONCE = 0.01
"""Seconds of the virtual clock: long before the next look."""


@asynccontextmanager
async def running(it: Reading) -> AsyncIterator[Reading]:
    task = asyncio.create_task(it.reader.run())
    try:
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@asynccontextmanager
async def reading(
    topic: FakeTopic, *, start: Start = Start.BEGINNING, rewinds: bool = False
) -> AsyncIterator[Reading]:
    """A reader that is positioned, and in the middle between two looks."""
    async with running(Reading(topic, start=start, rewinds=rewinds)) as it:
        await it.positioned()
        await caught_up(it)
        await asyncio.sleep(0.5)
        yield it


def three_read() -> FakeTopic:
    topic = FakeTopic(partitions=1)
    topic.append("a", "b", "c")
    return topic


# ----------------------------------------------------------------------------- it is known


async def test_its_topics_identity_is_known_once_it_is_positioned() -> None:
    topic = FakeTopic()
    it = Reading(topic, start=Start.END, rewinds=False)
    assert it.reader.identity is None
    async with running(it):
        await it.positioned()
        first = it.identity
        assert first.cluster_id == "cluster"
        assert first.topic_id
        topic.make_again()
        await it.positioned(so=False)
        await it.positioned()
        assert it.identity.differs_from(first)


async def test_a_broker_that_tells_no_topic_ids_is_read_all_the_same() -> None:
    topic = three_read()
    topic.tells_id = False
    async with reading(topic) as it:
        assert it.reader.identity == TopicIdentity("cluster", "")
        assert it.values == ["a", "b", "c"]


# ------------------------------------------------------------------------------- deleted


async def test_a_reader_whose_topic_is_deleted_is_not_ready_at_once() -> None:
    topic = three_read()
    async with reading(topic) as it:
        topic.delete()
        assert await it.positioned(so=False) < AT_ONCE
        assert it.reader.last_error == "topic[0] is not known to its broker any more"
        with pytest.raises(KafkaUnavailable, match="not known to its broker"):
            await it.reader.catch_up()
        await asyncio.sleep(10)
        assert not it.reader.positioned, "nor does it become ready while there is no topic"


async def test_it_is_not_ready_at_once_though_a_look_is_under_way_and_takes_long() -> None:
    topic = three_read()
    async with reading(topic) as it:
        topic.answering_takes = 2.0
        await asyncio.sleep(1.0)
        topic.delete()
        assert await it.positioned(so=False) < AT_ONCE


async def test_who_waits_to_catch_up_with_a_topic_that_is_deleted_is_told_at_once() -> None:
    topic = three_read()
    async with reading(topic) as it:
        topic.answering_takes = 0.5
        waiting = asyncio.create_task(it.reader.catch_up())
        await asyncio.sleep(0.1)
        topic.delete()
        done, _ = await asyncio.wait([waiting], timeout=AT_ONCE)
        assert done
        with pytest.raises(KafkaUnavailable, match="not known to its broker"):
            await waiting


async def test_a_topic_that_was_unknown_for_a_moment_is_read_on_if_its_id_is_the_same() -> None:
    """A broker that begins again may not know its topics yet."""
    topic = three_read()
    async with reading(topic, rewinds=True) as it:
        topic.delete()
        await it.positioned(so=False)
        await asyncio.sleep(3)
        topic.exists = True
        topic.append("d")
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a", "b", "c", "d"]
        assert it.rewound == 0


async def test_fetches_that_are_refused_before_it_is_positioned_only_make_it_wait() -> None:
    """The brokers learn of a topic that was just made one after the other."""
    topic = three_read()
    topic.refuse_fetches(UNKNOWN_TOPIC)
    async with running(Reading(topic, start=Start.BEGINNING, rewinds=False)) as it:
        await asyncio.sleep(1)
        assert not it.reader.positioned
        assert it.reader.last_error == ""
        topic.refuse_fetches(0)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a", "b", "c"]
        assert topic.sessions == 1


async def test_a_reader_that_is_told_to_end_while_its_session_ends_does_so() -> None:
    """A TaskGroup that ends with an error may forget that it was cancelled from outside."""
    topic = three_read()
    it = Reading(topic, start=Start.BEGINNING, rewinds=False)
    task = asyncio.create_task(it.reader.run())
    await it.positioned()
    await asyncio.sleep(0.5)
    topic.delete()
    while it.reader.positioned:  # noqa: ASYNC110 - turn by turn
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()


# ---------------------------------------------------------------------------- leaders move


async def test_a_fetch_that_another_leader_must_answer_has_it_look_at_once_and_stay_ready() -> None:
    topic = three_read()
    async with reading(topic) as it:
        looks = topic.asked.count("ends")
        topic.refuse_fetches(NOT_LEADER)
        await asyncio.sleep(AT_ONCE)
        assert topic.asked.count("ends") == looks + 1
        topic.refuse_fetches(0)
        topic.append("d")
        await caught_up(it)
        assert it.values == ["a", "b", "c", "d"]
        assert it.reader.positioned
        assert it.sessions == 1


async def test_fetches_that_are_refused_again_and_again_do_not_become_a_storm_of_looks() -> None:
    topic = three_read()
    async with reading(topic) as it:
        looks = topic.asked.count("ends")
        for _ in range(2000):
            topic.refuse_fetches(NOT_LEADER)
            await asyncio.sleep(0.001)
        assert 20 < topic.asked.count("ends") - looks <= 41, "one in 50 ms"
        assert it.reader.positioned


async def test_a_leader_that_is_missed_for_long_ends_in_a_session_that_is_lost() -> None:
    topic = three_read()
    async with reading(topic) as it:
        topic.refuse_fetches(NOT_LEADER)
        assert 2.0 < await it.positioned(so=False) < 5.0
        assert "no fetch of topic[0] is answered" in it.reader.last_error
        topic.refuse_fetches(0)
        await it.positioned()


# ------------------------------------------------------------------------------ recreated


async def test_a_topic_that_was_recreated_and_grew_past_our_position_is_read_from_its_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = three_read()
    async with reading(topic, start=Start.END) as it:
        topic.append("d")
        await caught_up(it)
        topic.make_again(partitions=1)
        topic.append("A", "B", "C", "D", "E")
        assert await it.positioned(so=False) <= 0.6, "by the next look"
        assert it.reader.last_error == "topic was recreated"
        await it.positioned()
        await caught_up(it)
        assert it.values[-5:] == ["A", "B", "C", "D", "E"], "though it begins at the end"
    (record,) = [r for r in caplog.records if "is not the log" in r.message]
    assert record.message == "topic is not the log that we have read: it was recreated"
    assert getattr(record, "was", None) != getattr(record, "now", None)


async def test_a_view_of_a_topic_that_was_recreated_is_built_anew() -> None:
    topic = three_read()
    async with reading(topic, rewinds=True) as it:
        topic.make_again(partitions=1)
        topic.append("A", "B", "C", "D", "E")
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["A", "B", "C", "D", "E"]
        assert it.rewound == 1


async def test_a_topic_of_another_cluster_is_another_log() -> None:
    topic = three_read()
    async with reading(topic, rewinds=True) as it:
        topic.cluster_id = "another"
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a", "b", "c"]
        assert it.rewound == 1


@pytest.mark.parametrize("rewinds", [True, False])
async def test_positions_are_not_carried_to_a_log_that_was_made_while_we_were_away(
    rewinds: bool,
) -> None:
    topic = three_read()
    async with reading(topic, rewinds=rewinds) as it:
        topic.break_connections()
        await it.positioned(so=False)
        topic.make_again(partitions=1)
        topic.append("A", "B", "C", "D", "E")
        await it.positioned()
        await caught_up(it)
        assert it.values[-5:] == ["A", "B", "C", "D", "E"]
        assert it.rewound == (1 if rewinds else 0)


async def test_nobody_catches_up_with_another_log_than_the_one_that_is_read() -> None:
    """Else an item of the new log would be called unknown, by positions of the old one."""
    topic = three_read()
    async with reading(topic) as it:
        topic.fetching.stuck = True
        topic.make_again(partitions=1)
        topic.append("A", "B")
        with pytest.raises(KafkaUnavailable, match="was recreated"):
            await it.reader.catch_up()


async def test_a_topic_that_is_recreated_while_it_is_asked_where_it_ends_is_not_trusted() -> None:
    topic = three_read()
    ask = topic.answer

    async def answer(question: str) -> None:
        await ask(question)
        if question == "ends" and topic.asked.count("ends") == 1:
            topic.make_again(partitions=1)
            topic.append("A", "B", "C", "D", "E")

    topic.answer = answer  # type: ignore[method-assign]
    async with running(Reading(topic, start=Start.END, rewinds=False)) as it:
        await it.positioned()
        assert topic.sessions == 2, "it was not ready before it knew"
        await caught_up(it)
        assert it.values[-5:] == ["A", "B", "C", "D", "E"]
