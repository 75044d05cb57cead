"""From which positions a new session resumes."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka import TopicPartition
from support.cut_logs import ten_read
from support.log import FakeTopic
from support.log_records import TOPIC
from support.reading import caught_up, reading
from support.stored_reading import StoredReading

from bus.kafka.positioning import Start
from bus.kafka.resume_positions import lost_positions

TP = TopicPartition(TOPIC, 0)
OTHER = TopicPartition(TOPIC, 1)


def test_positions_within_their_logs_are_not_lost() -> None:
    assert lost_positions({TP: 3, OTHER: 0}, {TP: 3, OTHER: 0}, ()) == {}


def test_a_position_below_the_beginning_names_how_much_was_never_read() -> None:
    problems = lost_positions({TP: 3, OTHER: 5}, {TP: 5, OTHER: 5}, ())
    assert problems == {TP: "topic[0] has lost 2 records that were never read"}


def test_a_position_that_does_not_exist_any_more_is_of_another_log() -> None:
    problems = lost_positions({TP: 3, OTHER: 5}, {TP: 0}, {TP})
    assert problems == {
        TP: "topic[0] is not the one we read to 3: it was recreated",
        OTHER: "topic[1] is not the one we read to 5: it was recreated",
    }


async def test_records_that_retention_deleted_unread_are_reported_and_reading_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = FakeTopic(partitions=1)
    async with reading(topic, start=Start.END) as it:
        topic.append("a")
        await caught_up(it)
        topic.fetching.stuck = True
        topic.append("b", "c", "d")
        topic.cut(3)
        topic.fetching.stuck = False
        topic.change()
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a", "d"]
    lost = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert lost == ["topic[0] has lost 2 records that were never read"]


async def test_a_reader_that_can_rewind_does_so_when_records_were_lost() -> None:
    topic = FakeTopic()
    async with reading(topic, rewinds=True) as it:
        topic.append("a")
        topic.append("b", partition=1)
        await caught_up(it)
        topic.fetching.stuck = True
        topic.append("c", "d")
        topic.cut(2)
        topic.break_connections()
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.rewound == 1
        assert sorted(it.values) == ["b", "d"], "all that is left, from every partition"


async def test_a_topic_that_was_recreated_is_read_from_its_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = FakeTopic()
    async with reading(topic, start=Start.END) as it:
        topic.append("a", "b", "c")
        await caught_up(it)
        topic.make_again()
        topic.append("d")
        await it.positioned(so=False)
        await it.positioned()
        await caught_up(it)
        assert it.values == ["a", "b", "c", "d"]
    assert "recreated" in caplog.text


async def test_it_is_not_positioned_while_its_topic_is_away() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.exists = False
        await it.positioned(so=False)
        assert "not known to its broker" in it.reader.last_error
        await asyncio.sleep(10)
        assert not it.reader.positioned
        topic.make_again()
        await it.positioned()


@pytest.mark.parametrize("tells_id", [True, False])
async def test_a_view_is_built_anew_when_its_topic_was_away_even_if_the_new_one_is_longer(
    tells_id: bool,
) -> None:
    topic = FakeTopic(partitions=1)
    topic.tells_id = tells_id
    async with reading(topic, rewinds=True) as it:
        topic.append("a")
        await caught_up(it)
        topic.exists = False
        await it.positioned(so=False)
        topic.make_again(partitions=1)
        topic.append("b", "c", "d")
        await it.positioned()
        await caught_up(it)
        assert it.values == ["b", "c", "d"]


async def test_what_is_not_trusted_any_more_is_read_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = ten_read()
    it = StoredReading(topic)
    async with it.life():
        await asyncio.sleep(1)
    it.reason = "it was stopped for longer than tombstones are there"
    it.values.append("ghost")
    async with it.life():
        assert "ghost" not in it.values
        assert it.rewound == 1
        topic.break_connections()
        await it.until("positioned", so=False)
        await it.read_to_end()
        assert it.rewound == 1
    assert "What was read of topic is not trusted: it was stopped for longer" in caplog.text


async def test_a_first_start_has_nothing_to_distrust() -> None:
    it = StoredReading(ten_read())
    it.reason = "no reason"
    async with it.life():
        assert it.rewound == 0
