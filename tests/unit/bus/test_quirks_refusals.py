"""Fetches that a broker refuses are heard of at once."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NotLeaderForPartitionError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4, FetchResponse_v11
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v5

from bus.kafka.aiokafka_fixes import hear_refusals

FETCH = FetchRequest(500, 1, 1000, 1, [("topic", [(0, 7, 1000)])])


class Client:
    """Gives one answer, and keeps what it is asked."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[tuple[int, Any, dict[str, Any]]] = []
        self.heard: list[tuple[TopicPartition, type[KafkaError]]] = []
        hear_refusals(self, lambda tp, error: self.heard.append((tp, error)))

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        self.asked.append((node_id, request, options))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def refused_of(*codes: int) -> FetchResponse_v4:
    rows: list[Any] = [(number, code, -1, -1, [], b"") for number, code in enumerate(codes)]
    return FetchResponse_v4(0, [("topic", rows)])


async def test_what_is_refused_is_told_and_what_is_not_is_not() -> None:
    client = Client(refused_of(0, 3, 6, 0))
    assert await client.send(1, FETCH) is client._answer
    assert client.heard == [
        (TopicPartition("topic", 1), UnknownTopicOrPartitionError),
        (TopicPartition("topic", 2), NotLeaderForPartitionError),
    ]


async def test_the_newest_answer_that_aiokafka_knows_is_heard_too() -> None:
    row: tuple[Any, ...] = (5, 3, -1, -1, -1, [], -1, b"")
    client = Client(FetchResponse_v11(0, 0, 0, [("topic", [row])]))
    await client.send(1, FETCH)
    assert client.heard == [(TopicPartition("topic", 5), UnknownTopicOrPartitionError)]


async def test_the_question_goes_out_as_it_was_put() -> None:
    client = Client(refused_of(0))
    await client.send(3, FETCH, group="group")
    assert client.asked == [(3, FETCH, {"group": "group"})]


async def test_an_error_code_that_nobody_knows_is_told_as_one() -> None:
    client = Client(refused_of(12345))
    await client.send(1, FETCH)
    ((_, error),) = client.heard
    assert issubclass(error, KafkaError)


async def test_other_answers_are_not_looked_into() -> None:
    about_topics = MetadataResponse_v5(0, [], "cluster", 1, [(3, "topic", False, [])])
    client = Client(about_topics)
    assert await client.send(1, MetadataRequest(["topic"])) is about_topics
    assert client.heard == []


async def test_an_answer_about_nothing_is_no_refusal() -> None:
    client = Client(FetchResponse_v4(0, None))
    await client.send(1, FETCH)
    assert client.heard == []


async def test_a_question_that_fails_fails_as_before() -> None:
    client = Client(KafkaConnectionError("broken"))
    with pytest.raises(KafkaConnectionError, match="broken"):
        await client.send(1, FETCH)
    assert client.heard == []
