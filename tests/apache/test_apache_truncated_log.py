"""A log that was cut by an unclean election and has grown past our position since.

Three brokers, so that a controller is there throughout; two of them have the topic. Neither its id
nor the cluster's changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from apache.cluster import leads, until_in_sync
from support.brokers import running_kafka
from support.measure import Measure
from support.observed import logged
from support.platform import Names, Platform, confirm, containers, new_item_id, platform, read_topic
from support.served import Served, served

from bus.kafka.connection import Connection
from bus.kafka.log_marks import LogMark
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.topic_identity import TopicIdentity
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener

pytestmark = [pytest.mark.apache, pytest.mark.timeout(240)]

LEADER, FOLLOWER, THIRD = 1, 2, 3
KNOWN_TO_BOTH, KNOWN_TO_ONE, LATER = 5, 10, 40


@pytest.fixture(scope="module")
def three(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    careless = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    with running_kafka(ApacheKafka(brokers=3, properties=careless)) as kafka:
        yield kafka


@pytest.fixture
async def kafka(three: ApacheKafka) -> AsyncIterator[ApacheKafka]:
    """The cluster; all of it, again, when the test ends."""
    yield three
    away = [node for node in three.nodes if three.pid(node) is None]
    if away:
        await three.start_nodes(away)


@pytest.fixture
async def topic(kafka: ApacheKafka, names: Names) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        new = NewTopic(
            names.published,
            num_partitions=-1,
            replication_factor=-1,
            replica_assignments={0: [LEADER, FOLLOWER]},
            topic_configs={"cleanup.policy": "compact"},
        )
        response = await admin.create_topics([new])
        assert not [error for _, error, *_ in response.topic_errors if error]
    finally:
        await admin.close()
    return names.published


def living(kafka: ApacheKafka) -> str:
    return ",".join(kafka.address(node) for node in kafka.nodes if kafka.pid(node) is not None)


async def until_led_by(kafka: ApacheKafka, topic: str, node: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                if await leads(kafka, topic) == {node}:
                    return
            await asyncio.sleep(0.1)


async def until_copied(kafka: ApacheKafka, topic: str, copies: set[int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        async with asyncio.timeout(60):
            while True:
                (described,) = await admin.describe_topics([topic])
                if {n for p in described["partitions"] for n in p["isr"]} == copies:
                    return
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def publish(items: Platform, count: int) -> list[str]:
    found = [new_item_id() for _ in range(count)]
    for item_id in found:
        await items.publish_item(item_id, containers(2))
    return found


async def lose_what_only_the_leader_has(kafka: ApacheKafka, topic: str) -> None:
    """The leader goes, and the follower, which has fewer records, leads."""
    await kafka.kill(LEADER)
    await kafka.restart(FOLLOWER)
    await until_led_by(kafka, topic, FOLLOWER)


async def names_in(bootstrap: str, topic: str) -> set[str]:
    records = await read_topic(bootstrap, topic)
    return {json.loads(record.value)["itemId"] for record in records}


async def test_every_item_of_a_log_that_was_cut_and_has_grown_can_be_taken_down(
    kafka: ApacheKafka, topic: str, names: Names, measured: Measure
) -> None:
    async with (
        kafka.proxies() as proxies,
        served(kafka.bootstrap(Listener.PROXIED), names, topic_replication=3) as service,
    ):
        await until_in_sync(kafka, [names.deleted, names.reported])
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
            await until_copied(kafka, topic, {LEADER, FOLLOWER})
            await publish(items, KNOWN_TO_BOTH)
            await kafka.stop_node(FOLLOWER)
            await until_copied(kafka, topic, {LEADER})
            lost = await publish(items, KNOWN_TO_ONE)
            service.lists[lost[0]] = containers(2)
            assert (await service.take_down(lost[0])).status == 200, "it has read them"
        await asyncio.gather(*(proxy.stall() for proxy in proxies.values()))
        await lose_what_only_the_leader_has(kafka, topic)
        async with platform(living(kafka), names, on_request=confirm) as items:
            later = await publish(items, LATER)
            there = await names_in(living(kafka), topic)
            assert there >= set(later)
            assert not there & set(lost), "an unclean election lost them"
            await service.until_ready(503)
            await asyncio.gather(*(proxy.heal() for proxy in proxies.values()))
            measured("cut and grown again: ready after", await service.until_ready(within=60))
            await take_down_all(service, there)
            event = await logged(
                service.process, lambda e: "is not the log that we read" in str(e["event"])
            )
            assert event["level"] == "error"
            assert f"{topic}[0]" in event["event"]
            measured("cut and grown again: the log says", event["event"])


async def take_down_all(service: Served, there: set[str]) -> None:
    for item_id in there:
        service.lists[item_id] = containers(2)
    asked = await asyncio.gather(*(service.take_down(item_id) for item_id in there))
    others = [each.status for each in asked if each.status != 200]
    assert not others, f"of {len(there)} items that are in the topic"


async def test_what_is_cut_while_the_service_is_stopped_is_found_at_its_next_start(
    kafka: ApacheKafka, topic: str, names: Names, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = {"catalogue_folder": str(tmp_path_factory.mktemp("catalogue")), "topic_replication": 3}
    async with served(kafka.bootstrap_servers, names, settings=folder) as service:
        await until_in_sync(kafka, [names.deleted, names.reported])
        async with platform(kafka.bootstrap_servers, names, on_request=confirm) as items:
            await until_copied(kafka, topic, {LEADER, FOLLOWER})
            await publish(items, KNOWN_TO_BOTH)
            await kafka.stop_node(FOLLOWER)
            await until_copied(kafka, topic, {LEADER})
            lost = await publish(items, KNOWN_TO_ONE)
            service.lists[lost[0]] = containers(2)
            assert (await service.take_down(lost[0])).status == 200, "it has read them"
    await lose_what_only_the_leader_has(kafka, topic)
    async with platform(living(kafka), names, on_request=confirm) as items:
        await publish(items, LATER)
        there = await names_in(living(kafka), topic)
        async with served(living(kafka), names, settings=folder) as service:
            await take_down_all(service, there)
            await logged(
                service.process, lambda e: "is not the log that we read" in str(e["event"])
            )


class Stored:
    """A reader whose positions and marks outlive it."""

    def __init__(self, topic: str) -> None:
        self.values: list[bytes] = []
        self.rewound = 0
        self._topic = topic
        self._stored: tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None = None

    async def read(self, bootstrap: str) -> None:
        """One life: to the end of the log."""
        reader = TopicReader(
            connection=Connection(bootstrap),
            topic=self._topic,
            start=Start.BEGINNING,
            handle=lambda record: self.values.append(record.value),
            prepare=self._prepare,
            rewind=self._rewind,
            resume=lambda: self._stored,
            advance=self._advance,
        )
        task = asyncio.create_task(reader.run())
        async with asyncio.timeout(60):
            while not reader.caught_up:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.01)
            await reader.catch_up()
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])

    async def _prepare(self) -> None:
        pass

    def _rewind(self) -> None:
        self.rewound += 1
        self.values.clear()

    async def _advance(
        self,
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark],
    ) -> None:
        assert identity is not None
        self._stored = (positions, identity, marks)


async def test_a_reader_that_was_stopped_meanwhile_reads_everything_again(
    kafka: ApacheKafka, topic: str, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Stored(topic)
    async with served(kafka.bootstrap_servers, names, topic_replication=3):
        await until_in_sync(kafka, [names.deleted, names.reported])
    async with platform(kafka.bootstrap_servers, names) as items:
        await until_copied(kafka, topic, {LEADER, FOLLOWER})
        await publish(items, KNOWN_TO_BOTH)
        await reader.read(kafka.bootstrap_servers)
        await reader.read(kafka.bootstrap_servers)
        assert reader.rewound == 0, "nothing has changed"
        await kafka.stop_node(FOLLOWER)
        await until_copied(kafka, topic, {LEADER})
        await publish(items, KNOWN_TO_ONE)
        await reader.read(living(kafka))
        assert reader.rewound == 0, "a leader that has everything"
        assert len(reader.values) == KNOWN_TO_BOTH + KNOWN_TO_ONE
    await lose_what_only_the_leader_has(kafka, topic)
    async with platform(living(kafka), names) as items:
        await publish(items, LATER)
    await reader.read(living(kafka))
    assert reader.rewound == 1
    assert len(reader.values) == KNOWN_TO_BOTH + LATER
    assert "is not the log that we read to 15: it differs from 5 on" in caplog.text
