"""Which records a reader handles, each once, and which it skips."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from support.log import FakeTopic
from support.log_records import TOPIC
from support.reading import caught_up, reading

from bus.kafka.positioning import Start
from domain.errors import UnreadableRecord


async def test_transactions_that_were_aborted_are_not_asked_for() -> None:
    topic = FakeTopic()
    async with reading(topic):
        assert topic.fetching.options["isolation_level"] == "read_committed"
        assert {c.options["auto_offset_reset"] for c in topic.consumers} == {"none"}
        assert not any("group_id" in c.options for c in topic.consumers)


async def test_a_record_that_cannot_be_read_is_counted_logged_and_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = FakeTopic()
    async with reading(topic) as it:

        def handle(value: str) -> None:
            if value == "poison":
                raise UnreadableRecord("no JSON")
            if value == "defect":
                raise ZeroDivisionError
            it.values.append(value)

        it.handle = handle
        topic.append("a", "poison", "defect", "b")
        await caught_up(it)
        assert it.values == ["a", "b"]
        statistics = it.reader.statistics()
        assert (statistics.read, statistics.skipped, statistics.sessions) == (4, 2, 1)
        assert statistics.positions == {0: 4, 1: 0}
    skipped = [r for r in caplog.records if "Skipped an unreadable" in r.message]
    assert [getattr(record, "offset", None) for record in skipped] == [1, 2]
    assert {getattr(record, "topic", None) for record in skipped} == {TOPIC}


async def test_offsets_without_a_record_are_passed() -> None:
    topic = FakeTopic()
    async with reading(topic) as it:
        topic.append("a")
        topic.marker()
        topic.marker(partition=1)
        await caught_up(it)
        assert it.values == ["a"]
        assert it.reader.statistics().positions == {0: 2, 1: 1}
        assert it.reader.statistics().behind == 0


async def test_a_long_backlog_leaves_turns_to_others() -> None:
    topic = FakeTopic(partitions=1)
    turns = []
    async with reading(topic) as it:
        topic.append(*range(5000))
        waiting = asyncio.create_task(it.reader.catch_up())
        while not waiting.done():
            await asyncio.sleep(0)
            turns.append(len(it.values))
    assert it.values == list(range(5000))
    assert max(after - before for before, after in itertools.pairwise([0, *turns])) <= 500


async def test_a_record_is_handled_once_though_partitions_are_assigned_again_meanwhile() -> None:
    topic = FakeTopic(partitions=1)
    async with reading(topic, start=Start.END) as it:
        topic.append(*range(5000))
        while not it.values:  # noqa: ASYNC110 - into the middle of the batch
            await asyncio.sleep(0)
        assert len(it.values) < 5000
        assignments = topic.fetching.assignments
        topic.grow(1)
        topic.append("new", partition=1)
        await caught_up(it)
        assert topic.fetching.assignments > assignments
        assert [v for v in it.values if v != "new"] == list(range(5000))
        assert it.values.count("new") == 1
