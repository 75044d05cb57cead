"""How Kafka's clients are let go of, whatever they do."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import ANY

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.fetch import FetchRequest_v4

from bus.kafka import aiokafka_fixes as quirks
from bus.kafka.connection import Connection


class Client:
    closed = False

    async def close(self) -> None:
        self.closed = True


class Consumer:
    def __init__(self, how: str) -> None:
        self._client = Client()
        self._how = how

    async def stop(self) -> None:
        match self._how:
            case "cancelled by its own doing":
                raise asyncio.CancelledError
            case "failing":
                raise RuntimeError("Set changed size during iteration")
            case _:
                await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["cancelled by its own doing", "failing", "hanging"])
async def test_connections_are_closed_however_a_consumer_stops(
    how: str,
) -> None:
    consumer = Consumer(how)
    async with asyncio.timeout(5):
        await quirks.stop_consumer(consumer, within=1)
    assert consumer._client.closed


class Closed:
    """What uvloop leaves of a connection that was reset, until it tells the protocol."""

    closed = False

    def write(self, _data: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    def close(self) -> None:
        self.closed = True


class Unfit:
    def prepare(self, _versions: object) -> None:
        raise IncompatibleBrokerVersion("too old")


async def broken_connection() -> tuple[AIOKafkaConnection, Closed, list[CloseReason]]:
    writer = Closed()
    reasons: list[CloseReason] = []
    connection = AIOKafkaConnection("kafka", 9092, on_close=lambda _, why: reasons.append(why))
    connection._reader, connection._writer = asyncio.StreamReader(), writer
    connection._read_task = asyncio.get_running_loop().create_task(asyncio.sleep(3600))
    connection._versions = {18: (0, 3)}
    return connection, writer, reasons


async def test_a_connection_that_uvloop_has_closed_is_broken_and_not_a_defect() -> None:
    Connection("kafka:9092").client_options()  # every client is made with them
    connection, writer, reasons = await broken_connection()
    with pytest.raises(KafkaConnectionError, match="kafka:9092 broken: unable to perform"):
        connection.send(ApiVersionRequest())
    assert writer.closed
    assert not connection.connected()
    assert reasons == [CloseReason.CONNECTION_BROKEN]


async def test_what_aiokafka_itself_refuses_leaves_the_connection_as_it_is() -> None:
    quirks.mend()
    connection, writer, _ = await broken_connection()
    with pytest.raises(IncompatibleBrokerVersion):
        connection.send(Unfit())
    assert not writer.closed
    connection.close()


async def test_a_connection_counts_while_it_lives_and_none_is_made_for_that() -> None:
    client = AIOKafkaClient(bootstrap_servers="kafka:9092")
    assert not quirks.is_connected(client, 1)
    connection, _, _ = await broken_connection()
    client._conns[1, ConnectionGroup.DEFAULT] = connection
    assert connection.connected()
    assert quirks.is_connected(client, 1)
    assert not quirks.is_connected(client, 2)
    connection.close()
    assert not quirks.is_connected(client, 1)


async def test_a_fetch_is_held_back_for_as_long_as_was_said_last() -> None:
    client, state = AIOKafkaClient(bootstrap_servers="kafka:9092"), SubscriptionState()
    consumer = AIOKafkaConsumer(bootstrap_servers="kafka:9092", fetch_max_wait_ms=10)
    consumer._fetcher = Fetcher(client, state, fetch_max_wait_ms=10)
    client.cluster.leader_for_partition = lambda _tp: 1
    tp = TopicPartition("topic", 0)
    state.assign_from_user({tp})
    state.seek(tp, 7)

    def next_fetch() -> tuple[int, Any]:
        [(_, request)], *_ = consumer._fetcher._get_actions_per_node(state.subscription.assignment)
        return request.build(FetchRequest_v4).max_wait_time, request.topics

    assert next_fetch() == (10, [("topic", [(0, 7, ANY)])])
    quirks.hold_fetches(consumer, 0.5)
    assert next_fetch() == (500, [("topic", [(0, 7, ANY)])])
    await consumer.stop()
