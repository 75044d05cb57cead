"""The reader of a topic, on a virtual clock, with a topic in memory."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.fakes import settle
from support.log import FakeTopic
from support.log_records import TOPIC

from bus.kafka.connection import Connection
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from domain.errors import KafkaUnavailable, UnreadableRecord

A_WHILE = 15.0
"""Seconds of the virtual clock in which the reader does whatever it is going to do."""


class Reading:
    """A reader, what it has read, and how often it began again."""

    def __init__(self, topic: FakeTopic, *, start: Start, rewinds: bool) -> None:
        self.values: list[Any] = []
        self.rewound = 0
        self.prepared = 0
        self.handle: Callable[[Any], None] = self.values.append
        self.reader = TopicReader(
            connection=Connection("nowhere:1"),
            topic=TOPIC,
            start=start,
            handle=lambda record: self.handle(record.said),
            prepare=self._prepare,
            rewind=self._rewind if rewinds else None,
            consumer_factory=topic.consumer,
        )

    async def _prepare(self) -> None:
        self.prepared += 1

    def _rewind(self) -> None:
        self.rewound += 1
        self.values.clear()

    async def positioned(self, *, so: bool = True, within: float = A_WHILE) -> float:
        """Wait until it is (or is not) positioned; returns how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while self.reader.positioned is not so:  # noqa: ASYNC110 - the virtual clock's
                await asyncio.sleep(0.01)
        return loop.time() - began


@asynccontextmanager
async def reading(
    topic: FakeTopic, *, start: Start = Start.BEGINNING, rewinds: bool = False
) -> AsyncIterator[Reading]:
    """A reader that runs and is positioned."""
    it = Reading(topic, start=start, rewinds=rewinds)
    task = asyncio.create_task(it.reader.run())
    try:
        await it.positioned()
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert all(consumer.stopped for consumer in topic.consumers)


async def caught_up(it: Reading) -> None:
    async with asyncio.timeout(A_WHILE):
        await it.reader.catch_up()


# ------------------------------------------------------------------------------ beginning


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


async def test_transactions_that_were_aborted_are_not_asked_for() -> None:
    topic = FakeTopic()
    async with reading(topic):
        assert topic.fetching.options["isolation_level"] == "read_committed"
        assert {c.options["auto_offset_reset"] for c in topic.consumers} == {"none"}
        assert not any("group_id" in c.options for c in topic.consumers)


# --------------------------------------------------------------------------- what is read


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


# ----------------------------------------------------------------------- catching up


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


# ------------------------------------------------------------------------ lost sessions


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


# --------------------------------------------------------------------------- partitions


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


# ------------------------------------------------------------------ what became of the log


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


async def test_a_topic_that_was_made_again_is_read_from_its_beginning(
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
    assert "made again" in caplog.text


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
