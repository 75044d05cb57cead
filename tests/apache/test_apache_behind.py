"""A reader on real Kafka that is behind: it proves nothing, says so, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from support.measure import Measure
from support.platform import Names

from bus.kafka.connection import Connection
from bus.kafka.log_marks import LogMark
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_identity import TopicIdentity
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.cluster import ApacheKafka

pytestmark = pytest.mark.apache

PARTITIONS = 3


class Reader:
    """A reader, what it has read, and a way to hold it back."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.values: list[bytes] = []
        self.room = asyncio.Event()
        self.room.set()
        self.safeguards = Safeguards()
        self._connection = Connection(bootstrap)
        self._topic = topic
        self.reader = TopicReader(
            connection=self._connection,
            topic=topic,
            start=Start.BEGINNING,
            handle=lambda record: self.values.append(record.value),
            prepare=self._prepare,
            advance=self._advance,
            safeguards=self.safeguards,
        )

    async def _prepare(self) -> None:
        await ensure_topics(self._connection, [Topic(self._topic, PARTITIONS)])

    async def _advance(
        self,
        _positions: Mapping[int, int],
        _identity: TopicIdentity | None,
        _marks: Mapping[int, LogMark],
    ) -> None:
        await self.room.wait()

    async def until_caught_up(self, *, so: bool = True, within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while self.reader.caught_up is not so:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.01)


@asynccontextmanager
async def reading(kafka: ApacheKafka, names: Names) -> AsyncIterator[Reader]:
    it = Reader(kafka.bootstrap_servers, names.published)
    task = asyncio.create_task(it.reader.run())
    try:
        await it.until_caught_up()
        yield it
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def writer(kafka: ApacheKafka, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def test_what_was_acknowledged_before_a_proof_was_asked_for_is_read_when_it_is_given(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    async with reading(kafka, names) as it, writer(kafka) as producer:
        loop = asyncio.get_running_loop()
        await it.reader.catch_up()
        waited = []
        for number in range(10):
            written = [
                await producer.send(names.published, b"x" * 100, partition=0) for _ in range(5000)
            ]
            newest = b"newest %d" % number
            await producer.send_and_wait(names.published, newest, partition=0)
            since = loop.time()
            await it.reader.prove()
            waited.append(loop.time() - since)
            assert it.values[-1] == newest
            await asyncio.gather(*written)
        measured("5,000 records behind: slowest proof", max(waited))
        assert it.safeguards.list() == {}, "Apache Kafka tells everything"


async def test_a_reader_that_is_held_back_is_not_caught_up_after_two_seconds(
    kafka: ApacheKafka, names: Names
) -> None:
    async with reading(kafka, names) as it, writer(kafka) as producer:
        it.room.clear()
        await asyncio.sleep(1)  # it holds the round that follows
        for _ in range(100):
            await producer.send_and_wait(names.published, b"x", partition=1)
        proof = it.reader.prove()
        await it.until_caught_up(so=False, within=5)
        assert it.reader.positioned
        why = it.reader.why_behind() or ""
        assert why.startswith(f"{names.published}[1] is read to ")
        assert why.endswith(" records behind its end")
        assert not proof.done()
        it.room.set()
        await it.until_caught_up(within=3)
        await proof
        assert len(it.values) == 100


async def test_behind_an_open_transaction_nothing_is_proven_and_the_transaction_is_named(
    kafka: ApacheKafka, names: Names
) -> None:
    async with (
        reading(kafka, names) as it,
        writer(kafka, transactional_id=f"open-{names.suffix}") as opener,
        writer(kafka, transactional_id=f"committed-{names.suffix}") as committer,
    ):
        async with committer.transaction():
            await committer.send_and_wait(names.published, b"before", partition=2)
        await it.reader.catch_up()
        await opener.begin_transaction()
        await opener.send_and_wait(names.published, b"in the open one", partition=2)
        async with committer.transaction():
            await committer.send_and_wait(names.published, b"committed", partition=2)
        proof = it.reader.prove()
        await it.until_caught_up(so=False, within=6)
        assert not proof.done()
        assert it.values == [b"before"]
        assert it.reader.why_behind() == (
            f"a transaction is open in {names.published}[2] since offset 2: 3 records from there "
            "on cannot be read before it ends; kafka-transactions.sh can find and abort a hanging "
            "one"
        )
        await opener.abort_transaction()
        async with asyncio.timeout(5):
            await proof
        assert it.values == [b"before", b"committed"]
        await it.until_caught_up()
        assert it.reader.statistics().sessions == 1


async def test_who_begins_at_the_end_reads_what_an_open_transaction_commits_later(
    kafka: ApacheKafka, names: Names
) -> None:
    connection = Connection(kafka.bootstrap_servers)
    await ensure_topics(connection, [Topic(names.deleted, PARTITIONS)])
    values: list[bytes] = []

    async def prepare() -> None:
        pass

    reader = TopicReader(
        connection=connection,
        topic=names.deleted,
        start=Start.END,
        handle=lambda record: values.append(record.value),
        prepare=prepare,
    )
    async with writer(kafka, transactional_id=f"open-{names.suffix}") as opener:
        await opener.begin_transaction()
        await opener.send_and_wait(names.deleted, b"committed later", partition=0)
        task = asyncio.create_task(reader.run())
        async with asyncio.timeout(10):
            while not reader.positioned:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.01)
        await opener.commit_transaction()
        async with asyncio.timeout(10):
            await reader.catch_up()
        task.cancel()
        await asyncio.wait([task])
    assert values == [b"committed later"]
