from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.listeners import Listener
from dev.apache_kafka.ports import accepts_connections, free_ports
from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.apache, pytest.mark.usefixtures("prepared")]

PATIENCE = 30.0


async def produce(servers: str, topic: str, value: bytes, *, timeout_ms: int = 10_000) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", request_timeout_ms=timeout_ms
    )
    async with asyncio.timeout(PATIENCE):
        try:
            await producer.start()
            await producer.send_and_wait(topic, value, partition=0)
        finally:
            await producer.stop()


async def read_all(servers: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, request_timeout_ms=5000)
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE), consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        while len(found) < count:
            found.append((await consumer.getone()).value)
    return found


async def create(kafka: ApacheKafka, topic: str, partitions: int = 1) -> None:
    assert await ensure_topics(
        Connection(kafka.bootstrap_servers), [Topic(topic, partitions)], timeout=PATIENCE
    ) == (topic,)


@pytest.fixture
async def three() -> AsyncIterator[ApacheKafka]:
    async with ApacheKafka(brokers=3) as kafka:
        yield kafka


async def test_a_topic_is_made_with_the_brokers_default_replication(kafka: ApacheKafka) -> None:
    await create(kafka, "made", partitions=3)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        await admin.start()
        (made,) = await admin.describe_topics(["made"])
    finally:
        await admin.close()
    assert [len(partition["replicas"]) for partition in made["partitions"]] == [1, 1, 1]


async def test_a_topic_that_exists_is_not_recreated(kafka: ApacheKafka) -> None:
    await create(kafka, "once")
    assert await ensure_topics(Connection(kafka.bootstrap_servers), [Topic("once", 1)]) == ()


async def test_a_record_goes_in_and_comes_out(kafka: ApacheKafka) -> None:
    await create(kafka, "in-and-out")
    await produce(kafka.bootstrap_servers, "in-and-out", b"hello")
    assert await read_all(kafka.bootstrap_servers, "in-and-out", 1) == [b"hello"]


async def test_a_restart_keeps_the_port_and_the_data(kafka: ApacheKafka) -> None:
    await create(kafka, "kept")
    await produce(kafka.bootstrap_servers, "kept", b"before")
    address = kafka.bootstrap_servers
    await kafka.restart(1)
    assert kafka.bootstrap_servers == address
    await produce(kafka.bootstrap_servers, "kept", b"after")
    assert await read_all(kafka.bootstrap_servers, "kept", 2) == [b"before", b"after"]


async def test_a_killed_broker_refuses_connections_and_comes_back(kafka: ApacheKafka) -> None:
    await create(kafka, "killed")
    await produce(kafka.bootstrap_servers, "killed", b"before")
    await kafka.kill(1)
    assert kafka.pid(1) is None
    assert not accepts_connections(int(kafka.address(1).split(":")[1]))
    await kafka.restart(1)
    assert await read_all(kafka.bootstrap_servers, "killed", 1) == [b"before"]


async def test_a_broker_comes_back_on_another_port(kafka: ApacheKafka) -> None:
    await create(kafka, "moved")
    await produce(kafka.bootstrap_servers, "moved", b"before")
    old = kafka.bootstrap_servers
    await kafka.restart(1, port=0)
    assert kafka.bootstrap_servers != old
    assert not accepts_connections(int(old.split(":")[1]))
    assert await read_all(kafka.bootstrap_servers, "moved", 1) == [b"before"]


async def test_a_paused_broker_answers_nothing_until_it_is_resumed(kafka: ApacheKafka) -> None:
    await create(kafka, "paused")
    kafka.pause(1)
    try:
        writing = asyncio.create_task(produce(kafka.bootstrap_servers, "paused", b"late"))
        done, _ = await asyncio.wait([writing], timeout=0.5)
        assert not done
    finally:
        kafka.resume(1)
    await writing
    assert await read_all(kafka.bootstrap_servers, "paused", 1) == [b"late"]


async def test_clients_stay_behind_the_proxy_that_is_advertised(kafka: ApacheKafka) -> None:
    await create(kafka, "proxied")
    async with kafka.proxies() as proxies:
        servers = kafka.bootstrap(Listener.PROXIED)
        await produce(servers, "proxied", b"through")
        assert await read_all(servers, "proxied", 1) == [b"through"]
        assert proxies[1].statistics().accepted >= 4  # each client: bootstrap, then the broker
        await proxies[1].drop_answers()
        with pytest.raises(KafkaConnectionError):
            await produce(servers, "proxied", b"never sent", timeout_ms=1000)
        assert proxies[1].statistics().lost > 0
    assert await read_all(kafka.bootstrap_servers, "proxied", 1) == [b"through"]


async def test_a_listener_is_advertised_as_it_is_told(prepared: None) -> None:  # noqa: ARG001
    kafka = ApacheKafka()
    (port,) = free_ports(1)
    kafka.advertise(1, f"localhost:{port}")
    assert kafka.bootstrap_servers == f"localhost:{port}"
    async with kafka:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.address(1))
        # It reaches the broker, and is sent on to where nobody listens.
        await consumer._client.bootstrap()
        try:
            (broker,) = consumer._client.cluster.brokers()
            assert (broker.host, broker.port) == ("localhost", port)
        finally:
            await consumer.stop()


async def test_three_brokers_go_on_when_one_is_killed(three: ApacheKafka) -> None:
    await create(three, "copied")
    await produce(three.bootstrap_servers, "copied", b"before")
    consumer = AIOKafkaConsumer(bootstrap_servers=three.bootstrap_servers)
    async with consumer:
        consumer.assign([TopicPartition("copied", 0)])
        leader = consumer._client.cluster.leader_for_partition(TopicPartition("copied", 0))
        while leader is None or leader < 0:
            await consumer._client.force_metadata_update()
            leader = consumer._client.cluster.leader_for_partition(TopicPartition("copied", 0))
    await three.kill(leader)
    others = ",".join(three.address(node) for node in three.nodes if node != leader)
    await produce(others, "copied", b"during")
    await three.restart(leader)
    assert await read_all(three.bootstrap_servers, "copied", 2) == [b"before", b"during"]


async def test_brokers_that_all_went_down_come_back_together(three: ApacheKafka) -> None:
    await create(three, "all")
    await produce(three.bootstrap_servers, "all", b"before")
    old = three.bootstrap_servers
    for node in three.nodes:
        await three.kill(node)
    await three.start_nodes(three.nodes, port=0)
    assert not set(old.split(",")) & set(three.bootstrap_servers.split(","))
    assert await read_all(three.bootstrap_servers, "all", 1) == [b"before"]


async def test_stopping_leaves_no_process_and_no_folder(prepared: None) -> None:  # noqa: ARG001
    kafka = ApacheKafka()
    async with kafka:
        pid = kafka.pid(1)
        assert "Kafka Server started" in kafka.log(1).read_text()
        kafka.pause(1)  # a broker that hangs must not hold the end up
    assert pid is not None
    assert kafka.pid(1) is None
    assert not kafka.log(1).parents[1].exists()
    await kafka.stop()


async def test_a_broker_that_does_not_start_says_why(tmp_path: Path) -> None:
    kafka = ApacheKafka(folder=tmp_path, properties={"log.retention.bytes": "many"})
    with pytest.raises(BrokerStartError, match=r"log\.retention\.bytes"):
        await kafka.start()
    assert kafka.pid(1) is None


async def test_a_port_that_is_taken_is_named() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(BrokerStartError, match=f"port {port} is in use"):
            await ApacheKafka(port=port).start()
    finally:
        server.close()
        with contextlib.suppress(OSError):
            await server.wait_closed()
