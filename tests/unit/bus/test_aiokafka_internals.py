"""What we rely on inside of aiokafka: an upgrade that changes one of these fails here first.

Each is used in `bus/kafka/aiokafka_fixes.py`, which says why. `test_quirks.py` covers the ones that
it can reach through our own functions: `AIOKafkaConnection.send` and `close`,
`AIOKafkaClient._conns`, and `Fetcher._fetch_max_wait_ms`; `test_topic_identity.py` covers the
protocol classes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiokafka.client
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError, KafkaError, NotLeaderForPartitionError
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4, FetchResponse_v11
from aiokafka.protocol.produce import ProduceRequest, ProduceResponse_v7
from support.raw_batches import Row, batch

from bus.kafka import aiokafka_fixes as quirks
from bus.kafka.aiokafka_fixes import client_of, hear_refusals, hearing, sender_of, stop_producer
from bus.kafka.connection import Connection
from bus.kafka.decoded import DecodedBytes
from bus.kafka.fetch_filter import FetchFilter
from bus.kafka.security import Security

TP = TopicPartition("topic", 0)


def parameters(function: Any) -> dict[str, Any]:
    return {p.name: p.default for p in inspect.signature(function).parameters.values()}


def test_a_connection_is_sent_and_closed_as_we_do_it() -> None:
    sent = parameters(quirks._send)  # aiokafka's own: another test may have replaced it by ours
    assert list(sent) == ["self", "request", "expect_response"]
    assert sent["expect_response"] is True
    assert "reason" in parameters(AIOKafkaConnection.close)
    assert CloseReason.CONNECTION_BROKEN is not None
    assert issubclass(KafkaError, RuntimeError)  # so that `_send_or_break` has to tell them apart


def test_a_single_connection_takes_the_options_of_a_client() -> None:
    """`bus/kafka/diagnosis.py` logs in by it, and `tests/integration/faults` tests it."""
    taken = parameters(create_conn)
    security = Security(
        protocol="SASL_SSL",
        tls=ssl.create_default_context(),
        mechanism="PLAIN",
        username="alice",
        password="secret",  # noqa: S106 - of this test
    )
    options = Connection("kafka:9092", security=security).client_options()
    assert options.keys() - taken.keys() == {"bootstrap_servers", "metadata_max_age_ms"}
    assert list(taken)[:2] == ["host", "port"]


async def test_a_consumer_has_its_client_where_we_find_it() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="kafka:9092")
    assert isinstance(client_of(consumer), AIOKafkaClient)
    await consumer.stop()


async def test_a_client_sends_with_the_arguments_that_we_pass_on() -> None:
    sent = parameters(AIOKafkaClient.send)
    assert list(sent) == ["self", "node_id", "request", "group"]
    assert sent["group"] is ConnectionGroup.DEFAULT


# ----------------------------------------------------------------------------- producer


@pytest.fixture
async def producer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AIOKafkaProducer]:
    """One that was started, with a broker that is never reached."""

    async def reached(_client: AIOKafkaClient) -> None:
        pass

    producer = AIOKafkaProducer(bootstrap_servers="kafka:9092")
    monkeypatch.setattr(AIOKafkaClient, "bootstrap", reached)
    await producer.start()
    yield producer
    await stop_producer(producer, within=1)


async def test_the_task_that_sends_is_done_when_nothing_is_sent_any_more(
    producer: AIOKafkaProducer,
) -> None:
    assert isinstance(producer._sender, Sender)
    task = sender_of(producer)
    assert isinstance(task, asyncio.Task)
    assert not task.done()
    await producer._sender.close()
    assert task.done()


async def test_what_waits_in_a_producer_can_be_failed_at_once(producer: AIOKafkaProducer) -> None:
    accumulator = producer._message_accumulator
    assert isinstance(accumulator, MessageAccumulator)
    producer.client.cluster.leader_for_partition = lambda _tp: 1
    waiting = await accumulator.add_message(TP, None, b"value", timeout=1)
    assert not waiting.done()
    accumulator.fail_all(KafkaConnectionError("gone"))
    with pytest.raises(KafkaConnectionError, match="gone"):
        await waiting
    await stop_producer(producer, within=1)
    assert sender_of(producer).done()


# ------------------------------------------------------------------- answers of a broker


class Refuses:
    """Gives every request the same answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def send(self, _node_id: int, request: Any, **_options: Any) -> Any:
        self.asked.append(request)
        return self.answer

    def force_metadata_update(self) -> asyncio.Future[bool]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done


async def test_what_a_consumer_fetches_goes_through_send_of_its_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = AIOKafkaClient(bootstrap_servers="kafka:9092")
    refuses = Refuses(FetchResponse_v4(0, [("topic", [(0, 6, -1, -1, [], b"")])]))
    monkeypatch.setattr(client, "send", refuses.send)
    monkeypatch.setattr(client, "force_metadata_update", refuses.force_metadata_update)
    client.cluster.leader_for_partition = lambda _tp: 1
    refused: list[Any] = []
    hear_refusals(client, lambda tp, error: refused.append((tp, error)))
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user({TP})
    subscriptions.seek(TP, 7)
    fetcher = Fetcher(client, subscriptions)
    assignment = subscriptions.subscription.assignment
    [(node_id, request)], *_ = fetcher._get_actions_per_node(assignment)
    assert isinstance(request, FetchRequest)
    await fetcher._proc_fetch_request(assignment, node_id, request)
    assert refused == [(TP, NotLeaderForPartitionError)]
    await fetcher.close()


async def test_what_a_filter_changes_of_an_answer_is_what_the_fetcher_decodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = AIOKafkaClient(bootstrap_servers="kafka:9092")
    raw = bytearray(batch([Row(b"key", b"value", ((b"\xff", None),)), Row(b"next", b"value")]))
    row: tuple[Any, ...] = (0, 0, 2, 2, 0, [], -1, bytes(raw))
    answers = Refuses(FetchResponse_v11(0, 0, 0, [("topic", [row])]))
    monkeypatch.setattr(client, "send", answers.send)
    client.cluster.leader_for_partition = lambda _tp: 1
    fetched = FetchFilter(lambda _tp: 0)
    fetched.attach(client)
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user({TP})
    subscriptions.seek(TP, 0)
    fetcher = Fetcher(client, subscriptions, check_crcs=False)
    assignment = subscriptions.subscription.assignment
    [(node_id, request)], *_ = fetcher._get_actions_per_node(assignment)
    assert [(topic, [part[:2] for part in parts]) for topic, parts in request.topics] == [
        ("topic", [(0, 0)])
    ]
    await fetcher._proc_fetch_request(assignment, node_id, request)
    one = (await fetcher.fetched_records([], max_records=1))[TP]
    two = (await fetcher.fetched_records([], max_records=1))[TP]
    assert [record.key for record in one + two] == [b"key", b"next"]
    assert fetched.unreadable(TP, 0) is not None
    assert fetched.unreadable(TP, 1) is None
    await fetcher.close()


async def test_the_fetcher_does_not_decode_again_what_a_filter_has_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = AIOKafkaClient(bootstrap_servers="kafka:9092")
    row: tuple[Any, ...] = (0, 0, 1, 1, 0, [], -1, batch([Row(b"key", b"value")]))
    answers = Refuses(FetchResponse_v11(0, 0, 0, [("topic", [row])]))
    monkeypatch.setattr(client, "send", answers.send)
    client.cluster.leader_for_partition = lambda _tp: 1
    FetchFilter(lambda _tp: 0).attach(client)
    seen: list[bytes] = []
    hear_refusals(client, print, lambda _tp, raw: seen.append(raw))
    subscriptions = SubscriptionState()
    subscriptions.assign_from_user({TP})
    subscriptions.seek(TP, 0)
    fetcher = Fetcher(client, subscriptions, check_crcs=False)
    assignment = subscriptions.subscription.assignment
    [(node_id, request)], *_ = fetcher._get_actions_per_node(assignment)
    await fetcher._proc_fetch_request(assignment, node_id, request)
    (raw,) = seen
    assert isinstance(raw, DecodedBytes)
    assert raw.batches == (), "the fetcher has taken what was decoded"
    assert [r.key for r in (await fetcher.fetched_records([]))[TP]] == [b"key"]
    await fetcher.close()


def test_a_consumer_can_leave_checksums_and_large_batches_to_us() -> None:
    options = parameters(AIOKafkaConsumer.__init__)
    assert options["check_crcs"] is True
    assert options["max_poll_records"] is None


async def test_what_a_producer_sends_goes_through_send_of_its_client(
    producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ProduceResponse_v7([("topic", [(0, 6, -1, -1, -1)])], 0)
    refuses = Refuses(answer)
    monkeypatch.setattr(producer.client, "send", refuses.send)
    refused: list[Any] = []
    hear_refusals(producer.client, lambda tp, error: refused.append((tp, error)))
    producer.client.cluster.leader_for_partition = lambda _tp: 1
    monkeypatch.setattr(producer.client, "ready", ready)
    monkeypatch.setattr(producer.client, "force_metadata_update", refuses.force_metadata_update)
    waiting = await producer._message_accumulator.add_message(TP, None, b"value", timeout=1)
    async with asyncio.timeout(10):
        while not refused:  # noqa: ASYNC110 - its own task sends it
            await asyncio.sleep(0.1)
    assert refused[0] == (TP, NotLeaderForPartitionError)
    assert isinstance(refuses.asked[0], ProduceRequest)
    await stop_producer(producer, within=1)
    with pytest.raises(KafkaError):
        await waiting


async def ready(_node_id: int, **_options: Any) -> bool:
    return True


# -------------------------------------------------------------------- words in its log


@pytest.fixture
def quiet() -> Iterator[None]:
    """As `logs.configure` leaves it."""
    library = logging.getLogger("aiokafka")
    before = (library.level, library.propagate)
    library.setLevel(logging.WARNING)
    library.propagate = False
    yield
    library.level, library.propagate = before


async def refusing(*_arguments: Any, **_options: Any) -> None:
    raise ConnectionRefusedError("refused")


@pytest.mark.usefixtures("quiet")
async def test_a_bootstrap_that_fails_names_the_broker_and_the_cause_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiokafka.client, "create_conn", refusing)
    with hearing() as cause:
        client = AIOKafkaClient(bootstrap_servers="kafka:9092")
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
    assert cause.text == "kafka:9092 cannot be used: refused"
    await client.close()


@pytest.mark.usefixtures("quiet")
async def test_a_broker_that_cannot_be_reached_later_is_named_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiokafka.client, "create_conn", refusing)
    with hearing() as cause:
        client = AIOKafkaClient(bootstrap_servers="kafka:9092")
        broker = type("Broker", (), {"host": "kafka", "port": 9092})
        monkeypatch.setattr(client.cluster, "broker_metadata", lambda _node_id: broker)
        assert not await client.ready(111)
    assert "111 cannot be used: refused" in cause.text
    await client.close()
