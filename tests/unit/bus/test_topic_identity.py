"""Which log a topic is, by what brokers answer: rightly, wrongly, or not at all."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataResponse_v0, MetadataResponse_v5
from aiokafka.structs import BrokerMetadata
from hypothesis import given
from hypothesis import strategies as st

from bus.kafka.metadata_request import MetadataRequest_v12, MetadataResponse_v12
from bus.kafka.topic_identity import TopicIdentity, find_identity

TOPIC = "topic"
ID = bytes(range(16))
TEXT = "AAECAwQFBgcICQoLDA0ODw"
NONE = bytes(16)
NEWEST = (0, 13)

Topic = tuple[int, str | None, bytes, bool, list[Any] | None, int, dict[int, bytes]]


def topic(name: str | None = TOPIC, topic_id: bytes = ID, error: int = 0) -> Topic:
    partition: tuple[Any, ...] = (0, 0, 1, 7, [1, 2], [1], [2], {})
    return (error, name, topic_id, False, [partition], -(2**31), {})


def answer(*topics: Topic | None, cluster_id: str | None = "cluster") -> bytes:
    """As a broker sends it; a topic that is None stands for a list that is none."""
    brokers: list[Any] = [(1, "kafka", 9092, None, {})]
    encoded: bytes = MetadataResponse_v12(
        0, brokers, cluster_id, 1, None if None in topics else list(topics), {}
    ).encode()
    return encoded


class Brokers:
    """A client of brokers that all give the same answer, but for those that are away."""

    def __init__(
        self, answer: bytes, *, versions: tuple[int, int] = NEWEST, nodes: int = 1, away: int = 0
    ) -> None:
        self.cluster = self
        self.asked: list[Any] = []
        self._answer = answer
        self._versions = {3: versions}
        self._nodes = range(1, nodes + 1)
        self._away = away

    def brokers(self) -> list[BrokerMetadata]:
        return [BrokerMetadata(node, "kafka", 9092, None) for node in self._nodes]

    async def send(self, node: int, request: Any) -> Any:
        if node <= self._away:
            raise KafkaConnectionError(f"broker {node} is away")
        sent = request.prepare(self._versions)
        sent.encode()
        self.asked.append(sent)
        return sent.RESPONSE_TYPE.decode(self._answer)

    async def identity(self) -> TopicIdentity:
        return await find_identity(self, TOPIC)


async def test_both_ids_are_told_as_kafkas_own_tools_write_them() -> None:
    assert await Brokers(answer(topic())).identity() == TopicIdentity("cluster", TEXT)


async def test_the_question_is_about_this_topic_and_creates_none() -> None:
    brokers = Brokers(answer(topic()))
    await brokers.identity()
    (asked,) = brokers.asked
    assert isinstance(asked, MetadataRequest_v12)
    assert asked.topics == [(NONE, TOPIC, {})]
    assert asked.allow_auto_topic_creation is False
    # As the protocol's description has it, byte by byte.
    assert asked.encode() == b"\x02" + NONE + b"\x06topic\x00" + b"\x00" + b"\x00" + b"\x00"


@pytest.mark.parametrize("version", [4, 5, 11])
async def test_a_broker_that_knows_no_topic_ids_tells_its_clusters_id(version: int) -> None:
    response = MetadataResponse_v5(0, [], "old", 1, [(0, TOPIC, False, [])])
    brokers = Brokers(response.encode(), versions=(0, version))
    assert await brokers.identity() == TopicIdentity("old", "")
    assert brokers.asked[0].allow_auto_topic_creation is False


async def test_a_broker_that_knows_no_ids_at_all_tells_nothing() -> None:
    response = MetadataResponse_v0([], [(0, TOPIC, [])])
    assert await Brokers(response.encode(), versions=(0, 0)).identity() == TopicIdentity("", "")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param(answer(topic(), cluster_id=None), TopicIdentity("", TEXT), id="no cluster"),
        pytest.param(answer(topic(), cluster_id=""), TopicIdentity("", TEXT), id="empty cluster"),
        pytest.param(answer(topic(topic_id=NONE)), TopicIdentity("cluster", ""), id="no topic id"),
        pytest.param(
            answer(topic(error=5)), TopicIdentity("cluster", TEXT), id="no leader, and an id"
        ),
        pytest.param(
            answer((0, TOPIC, ID, False, None, 0, {})),
            TopicIdentity("cluster", TEXT),
            id="no partitions",
        ),
        pytest.param(
            answer(topic("another", b"x" * 16), topic(None, b"y" * 16), topic()),
            TopicIdentity("cluster", TEXT),
            id="topics that nobody asked about",
        ),
    ],
)
async def test_what_is_not_told_is_empty(response: bytes, expected: TopicIdentity) -> None:
    assert await Brokers(response).identity() == expected


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (answer(topic(topic_id=NONE, error=3)), UnknownTopicOrPartitionError),
        (answer(topic(topic_id=NONE, error=29)), TopicAuthorizationFailedError),
        (answer(topic(topic_id=NONE, error=12345)), KafkaError),
        (answer(), UnknownTopicOrPartitionError),
        (answer(None), UnknownTopicOrPartitionError),
        (answer(topic("another")), UnknownTopicOrPartitionError),
    ],
)
async def test_no_such_topic_is_an_error(response: bytes, error: type[KafkaError]) -> None:
    with pytest.raises(error):
        await Brokers(response).identity()


async def test_one_broker_that_answers_is_enough() -> None:
    brokers = Brokers(answer(topic()), nodes=3, away=2)
    assert await brokers.identity() == TopicIdentity("cluster", TEXT)


async def test_no_broker_that_answers_is_an_error() -> None:
    with pytest.raises(KafkaConnectionError, match="is away"):
        await Brokers(answer(topic()), nodes=3, away=3).identity()
    with pytest.raises(KafkaConnectionError, match="no broker is known"):
        await Brokers(answer(topic()), nodes=0).identity()


# ------------------------------------------------------------------ answers that are none


def decode(data: bytes) -> Any:
    return MetadataResponse_v12.decode(data)


@given(cut=st.integers(0, len(answer(topic(), topic("another"))) - 1))
def test_an_answer_that_was_cut_short_is_refused(cut: int) -> None:
    whole = answer(topic(), topic("another"))
    decode(whole)
    with pytest.raises((ValueError, struct.error)):
        decode(whole[:cut])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError, struct.error):  # aiokafka closes such a connection
        decode(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said[:4] + b"\xff\xff\xff\xff\x07" + said[5:],
        lambda said: said[:4] + b"\xff\xff\xff\xff\xff\xff" + said[5:],
        lambda said: said.replace(b"cluster", b"\xff\xfeuster"),
    ],
    ids=["two thousand million brokers", "a number without an end", "no text"],
)
def test_a_hostile_answer_costs_nothing(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises((ValueError, struct.error)):
        decode(spoil(answer(topic())))


# --------------------------------------------------------------------------- two logs


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (("c", "t"), ("c", "t"), False),
        (("c", "t"), ("c", "u"), True),
        (("c", "t"), ("d", "t"), True),
        (("c", "t"), ("", ""), False),
        (("c", ""), ("c", "t"), False),
        (("c", ""), ("d", "t"), True),
        (("", "t"), ("c", "u"), True),
        (("", ""), ("", ""), False),
    ],
)
def test_only_ids_that_are_both_told_make_two_logs(
    one: tuple[str, str], other: tuple[str, str], differ: bool
) -> None:
    assert TopicIdentity(*one).differs_from(TopicIdentity(*other)) is differ
    assert TopicIdentity(*other).differs_from(TopicIdentity(*one)) is differ
