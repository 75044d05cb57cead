"""Topics that change below a service that runs: they grow, are cut, are recreated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from support.invariants import Asked, check_invariants
from support.measure import Measure
from support.observed import logged
from support.platform import (
    Names,
    Platform,
    confirm,
    containers,
    java_partition,
    new_item_id,
    platform,
    read_topic,
)
from support.served import Load, Served, served
from support.storm import publish_items

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = pytest.mark.apache

PARTITIONS = 6
MORE = 12


@asynccontextmanager
async def administration(kafka: ApacheKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@pytest.fixture
async def admin(kafka: ApacheKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    async with administration(kafka) as client:
        yield client


@pytest.fixture
async def service(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    async with served(kafka.bootstrap_servers, names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names, on_request=confirm) as side:
        yield side


def item_of_a_new_partition() -> str:
    while True:
        item_id = new_item_id()
        if java_partition(item_id.encode(), MORE) >= PARTITIONS:
            return item_id


async def test_partitions_that_are_added_under_load_lose_no_reply_and_hide_no_item(
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    async with Load(service, items) as load:
        await load.until_done(20)
        for topic in (names.deleted, names.reported, names.published):
            response = await admin.create_partitions({topic: NewPartitions(MORE)})
            assert not [error for _, error, *_ in response.topic_errors if error]
        topics = [names.deleted, names.reported, names.published]
        # A broker says that it is done before it tells of it.
        async with asyncio.timeout(5):
            while {len(t["partitions"]) for t in await admin.describe_topics(topics)} != {MORE}:
                pass
        # One who knows all partitions from the start; both confirm, and twice does no harm.
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as wide:
            assert len(await wide._producer.partitions_for(names.published)) == MORE
            first = []
            for _ in range(20):
                item_id = item_of_a_new_partition()
                service.lists[item_id] = containers(2)
                await wide.publish_item(item_id, service.lists[item_id])
                first.append(await service.take_down(item_id))
            await load.until_done(50)
            await load.stop()
    assert {asked.status for asked in first} == {200}, "never a 404, and no reply is lost"
    report = await service.check(kafka.bootstrap_servers, names)
    assert set(report.statuses) == {200}
    used = {
        topic: {record.partition for record in await read_topic(kafka.bootstrap_servers, topic)}
        for topic in (names.deleted, names.reported, names.published)
    }
    assert all(max(numbers) >= PARTITIONS for numbers in used.values()), used
    measured("partitions added: slowest first reply", max(a.got.seconds for a in first))
    measured("partitions added", report)


async def test_records_that_retention_deletes_before_they_are_read_are_reported_as_lost(
    kafka: ApacheKafka,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        await service.until_200(items)
        await proxies[1].stall()
        lost = new_item_id()
        for place in containers(5):
            await items.delete(lost, place)
        partition = java_partition(lost.encode(), PARTITIONS)
        records = [
            record
            for record in await read_topic(kafka.bootstrap_servers, names.deleted)
            if record.partition == partition
        ]
        end = records[-1].offset + 1
        await admin.delete_records(
            {TopicPartition(names.deleted, partition): RecordsToDelete(before_offset=end)}
        )
        await service.until_ready(503)
        await proxies[1].heal()
        measured("unread records deleted: first 200 after", await service.until_200(items))
        event = await logged(service.process, lambda e: "were never read" in str(e["event"]))
        assert f"{names.deleted}[{partition}] has lost 5 records" in event["event"]
        assert event["level"] == "error"
        report = await service.check(kafka.bootstrap_servers, names, kept=False)
        assert set(report.statuses) <= {200, 503}


async def test_records_that_retention_deletes_after_they_were_read_are_not_missed(
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    admin: AIOKafkaAdminClient,
    names: Names,
) -> None:
    await service.until_200(items)
    ends = dict.fromkeys(range(PARTITIONS), 0)
    for record in await read_topic(kafka.bootstrap_servers, names.deleted):
        ends[record.partition] = max(ends[record.partition], record.offset + 1)
    await admin.delete_records(
        {
            TopicPartition(names.deleted, partition): RecordsToDelete(before_offset=end)
            for partition, end in ends.items()
            if end
        }
    )
    for _ in range(20):
        assert (await service.take_down(await service.item(items, 2))).status == 200
    assert (await service.readiness())[0] == 200
    assert not [e for e in service.process.events() if e["level"] == "error"]
    await service.check(kafka.bootstrap_servers, names, kept=False)


BLIND = 0.25
"""Seconds after Kafka has answered that it deleted a topic, in which `/readyz` may not know it."""


@dataclass(frozen=True)
class Sample:
    """What `/readyz` said between these times of the loop."""

    began: float
    ended: float
    ready: bool


class Readiness:
    """Samples `/readyz` all the time, and has a takedown tried whenever it says ready.

    Args:
        service: which is asked.
        items: an item that is to be taken down now, or None if there is none yet.
    """

    def __init__(self, service: Served, items: Callable[[], str | None]) -> None:
        self.samples: list[Sample] = []
        self.tried: list[tuple[Sample, asyncio.Task[Asked]]] = []
        self.trying = False
        self._service = service
        self._items = items
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        assert self._task.cancelled(), self._task.exception()

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            status, _ = await self._service.readiness()
            sample = Sample(began, now(), status == 200)
            self.samples.append(sample)
            if sample.ready and self.trying and (item_id := self._items()) is not None:
                takedown = self._service.take_down(item_id)
                self.tried.append((sample, asyncio.create_task(takedown)))
            await asyncio.sleep(0.01)

    async def answers(self) -> list[tuple[Sample, Asked]]:
        """What became of each takedown that was tried."""
        return [(sample, await task) for sample, task in self.tried]


@pytest.mark.parametrize("which", ["deleted", "published", "reported"])
async def test_a_topic_that_is_deleted_is_recreated_and_it_is_never_ready_while_blind(
    which: str,
    kafka: ApacheKafka,
    service: Served,
    items: Platform,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    """Blind: it says ready, and a takedown that begins then does not succeed."""
    topic: str = getattr(names, which)
    old = await publish_items(service, items, 500, places=1)
    await service.until_200(items)
    before = {asked.item_id for asked in service.asked}
    # Only what is in the log now can be taken down.
    usable = [] if which == "published" else old[1:]
    now = asyncio.get_running_loop().time
    async with Readiness(service, lambda: usable.pop() if usable else None) as readiness:
        await asyncio.sleep(0.3)
        await admin.delete_topics([topic])
        deleted = now()
        asyncio.get_running_loop().call_at(deleted + BLIND, setattr, readiness, "trying", True)
        if which == "reported":
            # Nobody needs it yet; the first takedown that is tried finds it missing.
            async with asyncio.timeout(10):
                while not readiness.tried:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while topic not in await admin.list_topics():
                # An item that exists is called unknown only once the topic, recreated, is empty.
                got = await service.take_down(old[0], wait=1)
                assert got.status in {200, 503, 504} or topic in await admin.list_topics(), got
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as fresh:
            if which == "published":
                usable += await publish_items(service, fresh, 500, places=1)
            async with asyncio.timeout(30):
                while len(readiness.tried) < 50:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
            readiness.trying = False
            tried = await readiness.answers()
            await service.until_200(fresh)
    # Nobody reads item_reported for us: its loss may be found out by a takedown. The first one goes
    # to the new topic nevertheless; those that come while that is made are refused at once.
    fine = {200, 503} if which == "reported" else {200}
    blind = [(sample, asked) for sample, asked in tried if asked.status not in fine]
    assert not blind, "ready, and a takedown that began then did not succeed"
    assert tried[0][1].status == 200
    measure_blindness(readiness, deleted, f"item_{which} deleted", measured, which=which)
    assert topic in str([e for e in service.process.events() if e["level"] != "info"])
    # What the old logs said of these is gone, and with it what the answers are compared with.
    gone = {*before, *(old if which == "published" else old[:1])}
    report = await check_invariants(
        kafka.bootstrap_servers,
        names,
        [asked for asked in service.asked if asked.item_id not in gone],
        service.lists,
        kept=False,
        unheard=gone,
    )
    measured(f"item_{which} deleted", report)


def measure_blindness(
    readiness: Readiness, deleted: float, what: str, measured: Measure, *, which: str
) -> None:
    after = [sample for sample in readiness.samples if sample.began > deleted]
    unready = [sample for sample in after if not sample.ready]
    longest = max(sample.ended - sample.began for sample in after)
    measured(what, f"{len(after)} samples of /readyz, the slowest {longest * 1000:.0f} ms")
    if which != "reported":
        known = unready[0].ended - deleted
        assert known < BLIND
        ready = next(sample for sample in after if sample.ready and sample.began > unready[0].began)
        measured(f"{what}: not ready after", known)
        measured(f"{what}: ready again after", ready.ended - deleted)
    measured(f"{what}: samples not ready", len(unready))
    sample, asked = readiness.tried[0][0], readiness.tried[0][1].result()
    measured(f"{what}: first 200 after", sample.ended + asked.got.seconds - deleted)


@pytest.mark.parametrize("which", ["deleted", "published"])
async def test_a_topic_that_was_recreated_and_grew_past_our_position_is_known_by_its_id(
    which: str,
    kafka: ApacheKafka,
    admin: AIOKafkaAdminClient,
    names: Names,
    measured: Measure,
) -> None:
    """It happens while nobody can tell us: no fetch is refused, and every position exists."""
    topic: str = getattr(names, which)
    now = asyncio.get_running_loop().time
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirm) as items,
    ):
        old = await publish_items(service, items, 60)
        for _ in range(12):
            assert (await service.take_down(await service.item(items))).status == 200
        await proxies[1].cut()
        await admin.delete_topics([topic])
        async with asyncio.timeout(10):
            config = {"cleanup.policy": "compact"} if which == "published" else {}
            made = NewTopic(topic, PARTITIONS, 1, topic_configs=config)
            while (await admin.create_topics([made])).topic_errors[0][1] != 0:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as fresh:
            if which == "published":
                new = await publish_items(service, fresh, 600)
            else:
                new = old
                for _ in range(600):
                    await fresh.post(topic, {"another": "platform"}, key=new_item_id())
            await proxies[1].heal()
            began = now()
            await service.until_200(fresh)
            measured(f"item_{which} recreated and longer: first 200 after", now() - began)
            asked = [await service.take_down(item_id) for item_id in new[:20]]
            assert {each.status for each in asked} == {200}
            if which == "published":
                statuses = {(await service.take_down(item_id)).status for item_id in old[:20]}
                assert statuses == {404}, "the new log does not know them"
        event = await logged(
            service.process, lambda e: "is not the log that we have read" in str(e["event"])
        )
        assert topic in event["event"]
        assert event["level"] == "error"
        assert event["was"] != event["now"]
