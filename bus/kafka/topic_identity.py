"""Which log a topic is: the ids that its cluster, and the topic in it, got when they were created.

A topic that is deleted and created again has the same name; its log is another one, and a position
in the old log says nothing about the new one, however far that reaches. Kafka tells them apart by
an id, which is part of the topic's metadata (see `bus.kafka.metadata_request`).

- A broker that does not know topic ids reports its cluster's id only.
- The request never creates the topic, unlike aiokafka's own requests where brokers allow it.
- The embedded broker calls every cluster by the same id.

The same response names each partition's leader and leader epoch: `TopicDescription` has all of it,
so that one request shows whether anything about the topic has changed.
"""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)

from bus.kafka.metadata_request import NO_ID, MetadataRequest, MetadataResponse_v12

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from aiokafka.client import AIOKafkaClient
    from aiokafka.protocol.api import Response


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """Which log a topic is.

    Attributes:
        cluster_id: of the cluster that holds it; empty if it is not reported.
        topic_id: of the topic, as Kafka's own tools write it; empty if it is not reported.
    """

    cluster_id: str
    topic_id: str

    def differs_from(self, other: TopicIdentity) -> bool:
        """Whether these are two logs for certain: what was not reported proves nothing."""
        return _differ(self.cluster_id, other.cluster_id) or _differ(self.topic_id, other.topic_id)


def _differ(one: str, other: str) -> bool:
    return bool(one) and bool(other) and one != other


UNKNOWN_EPOCH = -1
"""A leader epoch that was not reported."""


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """What one broker reports about a topic.

    Attributes:
        identity: which log it is.
        leaders: each partition's leader, by its node id; -1 while a partition has none.
        epochs: each partition's leader epoch; `UNKNOWN_EPOCH` if the broker does not report it.
    """

    identity: TopicIdentity
    leaders: Mapping[int, int]
    epochs: Mapping[int, int]

    def by_leader(self, partitions: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
        """Each leader, and those of these partitions that it leads.

        Raises:
            LeaderNotAvailableError: one has no leader.
        """
        led: dict[int, list[int]] = {}
        for number in partitions:
            leader = self.leaders[number]
            if leader < 0:
                raise LeaderNotAvailableError(f"partition {number} has no leader")
            led.setdefault(leader, []).append(number)
        yield from led.items()


async def find_identity(client: AIOKafkaClient, topic: str) -> TopicIdentity:
    """Which log a topic is; see `describe_topic`."""
    return (await describe_topic(client, topic)).identity


async def describe_topic(client: AIOKafkaClient, topic: str) -> TopicDescription:
    """Send the request to one broker after the other, until one answers.

    Brokers learn of a change one by one: in the moment after it, one may still report the old id.
    Bound it with a timeout of your own.

    Raises:
        KafkaError: no broker answered, or the answer is that there is no such topic, or that we
            are not allowed to see it.
    """
    error: KafkaError = KafkaConnectionError("no broker is known")
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)  # one that hangs must not be the first one every time
    for node in nodes:
        try:
            response = await client.send(node, MetadataRequest([topic]))
        except KafkaError as failure:
            error = failure
            continue
        return description_in(response, topic)
    raise error


def description_in(response: Response, topic: str) -> TopicDescription:
    """What a metadata response, of any version, reports about a topic.

    Raises:
        KafkaError: there is no such topic, or we are not allowed to see it.
    """
    cluster_id = getattr(response, "cluster_id", None) or ""
    # An answer may have other topics, too.
    for error_code, name, *rest in response.topics or ():
        if name != topic:
            continue
        if isinstance(response, MetadataResponse_v12):
            topic_id, _, partitions, *_ = rest
            leaders, epochs = _leaders(partitions, with_epochs=True)
            if topic_id != NO_ID:
                return TopicDescription(TopicIdentity(cluster_id, _text(topic_id)), leaders, epochs)
        else:
            leaders, epochs = _leaders(rest[-1], with_epochs=False)
        error: type[KafkaError] = for_code(error_code)
        if error is not NoError:
            raise error(topic)
        return TopicDescription(TopicIdentity(cluster_id, ""), leaders, epochs)
    raise UnknownTopicOrPartitionError(topic)


def _leaders(
    partitions: list[Any] | None, *, with_epochs: bool
) -> tuple[dict[int, int], dict[int, int]]:
    leaders, epochs = {}, {}
    for _, number, leader, *more in partitions or ():
        leaders[number] = leader
        epochs[number] = more[0] if with_epochs else UNKNOWN_EPOCH
    return leaders, epochs


def _text(topic_id: bytes) -> str:
    return base64.urlsafe_b64encode(topic_id).rstrip(b"=").decode("ascii")
