"""A reader whose positions outlive its process: kept by somebody else, and handed back.

On a virtual clock, with a topic in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.log import FakeTopic
from support.log_records import TOPIC

from bus.kafka.connection import Connection
from bus.kafka.log_marks import LogMark
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.topic_identity import TopicIdentity
from domain.errors import KafkaUnavailable

A_WHILE = 15.0


class Kept:
    """Keeps what a reader tells, and hands it to the next one."""

    def __init__(self, topic: FakeTopic) -> None:
        self.topic = topic
        self.positions: Mapping[int, int] | None = None
        self.identity: TopicIdentity | None = None
        self.marks: Mapping[int, LogMark] = {}
        self.values: list[Any] = []
        self.rewound = 0
        self.room = asyncio.Event()
        self.room.set()

    def reader(self) -> TopicReader:
        return TopicReader(
            connection=Connection("nowhere:1"),
            topic=TOPIC,
            start=Start.BEGINNING,
            handle=lambda record: self.values.append(record.said),
            prepare=self._prepare,
            rewind=self._rewind,
            resume=self._resume,
            advance=self._advance,
            consumer_factory=self.topic.consumer,
        )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[TopicReader]:
        """One life of a reader, from where it is caught up."""
        reader = self.reader()
        task = asyncio.create_task(reader.run())
        try:
            await until_caught_up(reader)
            yield reader
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _prepare(self) -> None:
        pass

    def _rewind(self) -> None:
        self.rewound += 1
        self.values.clear()

    def _resume(self) -> tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None:
        if self.positions is None:
            return None
        return self.positions, self.identity or TopicIdentity("", ""), self.marks

    async def _advance(
        self,
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark],
    ) -> None:
        await self.room.wait()
        self.positions, self.identity, self.marks = positions, identity, marks


async def until_caught_up(reader: TopicReader) -> None:
    async with asyncio.timeout(A_WHILE):
        while not reader.caught_up:  # noqa: ASYNC110 - the virtual clock's
            await asyncio.sleep(0.01)
    await asyncio.sleep(1)


async def test_it_goes_on_where_the_one_before_it_stopped() -> None:
    topic = FakeTopic()
    topic.append("a", "b")
    topic.append("c", partition=1)
    kept = Kept(topic)
    async with kept.reading():
        assert kept.positions == {0: 2, 1: 1}
    kept.values.clear()
    topic.append("d")
    async with kept.reading() as reader:
        assert kept.values == ["d"]
        assert reader.statistics().read == 1
        assert kept.positions == {0: 3, 1: 1}
    assert kept.rewound == 0


async def test_it_is_caught_up_without_a_record_when_nothing_came() -> None:
    topic = FakeTopic()
    topic.append("a", "b")
    kept = Kept(topic)
    async with kept.reading():
        pass
    async with kept.reading() as reader:
        assert reader.statistics().read == 0
        async with asyncio.timeout(A_WHILE):
            await reader.catch_up()


async def test_it_is_not_caught_up_before_it_has_read_what_came_meanwhile() -> None:
    topic = FakeTopic()
    topic.append("a")
    kept = Kept(topic)
    async with kept.reading():
        pass
    topic.append("b")
    reader = kept.reader()
    task = asyncio.create_task(reader.run())
    async with asyncio.timeout(A_WHILE):
        while not reader.caught_up:
            assert kept.positions == {0: 1, 1: 0} or kept.values == ["a", "b"]
            await asyncio.sleep(0)
    assert kept.values == ["a", "b"]
    task.cancel()
    await asyncio.wait([task])


async def test_positions_that_move_without_records_are_told() -> None:
    topic = FakeTopic()
    kept = Kept(topic)
    async with kept.reading():
        topic.marker()
        await asyncio.sleep(1)
        assert kept.positions == {0: 1, 1: 0}


async def test_a_partition_that_came_while_nobody_read_is_read_from_its_start() -> None:
    topic = FakeTopic()
    topic.append("a")
    kept = Kept(topic)
    async with kept.reading():
        pass
    topic.grow(2)
    topic.append("b", partition=2)
    async with kept.reading():
        assert kept.values == ["a", "b"]
    assert kept.rewound == 0


def _recreated(topic: FakeTopic) -> None:
    topic.make_again()
    topic.append("new")


def _recreated_and_longer(topic: FakeTopic) -> None:
    topic.make_again()
    topic.append(*["new"] * 10)


def _another_cluster(topic: FakeTopic) -> None:
    topic.cluster_id = "another"


def _cut_below_us(topic: FakeTopic) -> None:
    topic.append("x", "y", "z")
    topic.cut(4)


def _ends_below_us(topic: FakeTopic) -> None:
    log = topic.partitions[0]
    log.end, log.records = 1, log.records[:1]


def _fewer_partitions(topic: FakeTopic) -> None:
    del topic.partitions[1]


CHANGES = (_recreated, _another_cluster, _cut_below_us, _ends_below_us, _fewer_partitions)
CASES = [
    pytest.param(change, tells_id, id=f"{change.__name__} {'with' if tells_id else 'without'} ids")
    for tells_id in (True, False)
    # Without an id nothing tells a log that was recreated and is longer from the one before.
    for change in (*CHANGES, *((_recreated_and_longer,) if tells_id else ()))
]


@pytest.mark.parametrize(("change", "tells_id"), CASES)
async def test_a_log_that_is_not_the_one_that_was_read_is_read_again(
    change: Any, tells_id: bool, caplog: pytest.LogCaptureFixture
) -> None:
    topic = FakeTopic()
    topic.tells_id = tells_id
    topic.append("a", "b")
    kept = Kept(topic)
    async with kept.reading():
        pass
    change(topic)
    kept.values = ["stale"]
    async with kept.reading() as reader:
        assert kept.rewound == 1
        assert kept.values == [
            value for log in topic.partitions.values() for _, value in log.records
        ]
        assert kept.positions == {number: log.end for number, log in topic.partitions.items()}
        assert reader.caught_up
    assert "is read again from its beginning" in caplog.text


async def test_it_reads_no_further_while_what_it_read_is_not_taken() -> None:
    topic = FakeTopic()
    topic.append("a")
    kept = Kept(topic)
    async with kept.reading() as reader:
        kept.room.clear()
        topic.append("b")
        await asyncio.sleep(1)
        topic.append("c")
        # For long: that nothing is fetched is not taken for a fetcher that is stuck.
        await asyncio.sleep(60)
        assert kept.values == ["a", "b"]
        assert kept.positions == {0: 1, 1: 0}
        assert reader.statistics().sessions == 1
        kept.room.set()
        await asyncio.sleep(1)
        assert kept.values == ["a", "b", "c"]
        assert kept.positions == {0: 3, 1: 0}


async def test_told_to_it_reads_all_again_and_knows_nothing_meanwhile() -> None:
    topic = FakeTopic()
    topic.append("a", "b")
    kept = Kept(topic)
    async with kept.reading() as reader:
        waiting = asyncio.create_task(reader.catch_up())
        reader.read_again("what was made of it is lost")
        assert not reader.positioned
        assert not reader.caught_up
        assert reader.last_error == "what was made of it is lost"
        with pytest.raises(KafkaUnavailable, match="what was made of it is lost"):
            await waiting
        with pytest.raises(KafkaUnavailable):
            await reader.catch_up()
        await until_caught_up(reader)
        assert (kept.rewound, kept.values) == (1, ["a", "b"])
        await asyncio.sleep(A_WHILE)
        assert kept.rewound == 1
        topic.append("c")
        await asyncio.sleep(1)
        assert kept.values == ["a", "b", "c"]


async def test_told_while_it_is_held_back_it_reads_all_again() -> None:
    topic = FakeTopic()
    topic.append("a")
    kept = Kept(topic)
    async with kept.reading() as reader:
        kept.room.clear()
        topic.append("b")
        await asyncio.sleep(1)
        reader.read_again("lost")
        await asyncio.sleep(1)
        kept.room.set()
        await until_caught_up(reader)
        assert (kept.rewound, kept.values) == (1, ["a", "b"])


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_told_while_it_connects_it_reads_all_again(steps: int) -> None:
    topic = FakeTopic()
    topic.append("a", "b")
    kept = Kept(topic)
    async with kept.reading():
        pass
    kept.values = ["stale"]
    reader = kept.reader()
    task = asyncio.create_task(reader.run())
    for _ in range(steps):
        await asyncio.sleep(0)
    reader.read_again("lost")
    await until_caught_up(reader)
    assert (kept.rewound, kept.values) == (1, ["a", "b"])
    task.cancel()
    await asyncio.wait([task])
