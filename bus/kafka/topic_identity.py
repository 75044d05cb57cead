"""Which log a topic is: the ids that its cluster, and the topic in it, were given when made.

A topic that is deleted and made again keeps its name; its log is another one, and a position in the
old log says nothing about the new one, however far that reaches. Kafka tells them apart by an id
(KIP-516), which it gives with the topic's metadata. aiokafka 0.14 asks for metadata of version 5 at
most, and the id came with version 10; so version 12 of the question and of its answer, which both
of our brokers know, is written down here as the protocol's description has it.

- A broker that does not know version 12 is asked in the older way: it tells its cluster's id only.
- The question never creates the topic; aiokafka's own questions do, where the broker is set so.
- Both of our brokers tell both; the embedded one calls every cluster by the same id.

The same answer names each partition's leader and leader epoch: `TopicDescription` has all of it, so
that one request shows whether anything about the topic has changed.
"""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import (
    MetadataRequest_v0,
    MetadataRequest_v1,
    MetadataRequest_v2,
    MetadataRequest_v3,
    MetadataRequest_v4,
    MetadataRequest_v5,
)
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import BytesIO

    from aiokafka.client import AIOKafkaClient

_UUID_BYTES = 16
_NONE = bytes(_UUID_BYTES)


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """Which log a topic is.

    Attributes:
        cluster_id: of the cluster that holds it; empty if the broker does not tell.
        topic_id: of the topic, as Kafka's own tools write it; empty if the broker does not tell.
    """

    cluster_id: str
    topic_id: str

    def differs_from(self, other: TopicIdentity) -> bool:
        """Whether these are two logs for certain: what was not told proves nothing."""
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
    """Ask one broker after the other, until one answers.

    Brokers learn of a change one by one: in the moment after it, one may still tell the old id.
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
            response = await client.send(node, MetadataRequest(topic))
        except KafkaError as failure:
            error = failure
            continue
        return description_in(response, topic)
    raise error


class _Uuid(AbstractType[bytes]):  # type: ignore[misc] # aiokafka carries no types
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        value = data.read(_UUID_BYTES)
        if len(value) != _UUID_BYTES:
            raise ValueError("Buffer underrun decoding UUID")
        return value


_BROKERS = (
    "brokers",
    CompactArray(
        ("node_id", Int32),
        ("host", CompactString()),
        ("port", Int32),
        ("rack", CompactString()),
        ("tags", TaggedFields),
    ),
)
_TOPICS = (
    "topics",
    CompactArray(
        ("error_code", Int16),
        ("topic", CompactString()),
        ("topic_id", _Uuid),
        ("is_internal", Boolean),
        (
            "partitions",
            CompactArray(
                ("error_code", Int16),
                ("partition", Int32),
                ("leader", Int32),
                ("leader_epoch", Int32),
                ("replicas", CompactArray(Int32)),
                ("isr", CompactArray(Int32)),
                ("offline_replicas", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    ),
)
_WANTED = (
    "topics",
    CompactArray(("topic_id", _Uuid), ("topic", CompactString()), ("tags", TaggedFields)),
)


class MetadataResponse_v12(Response):  # type: ignore[misc] # noqa: N801 - as aiokafka does
    """Metadata with the topics' ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _BROKERS,
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        _TOPICS,
        ("tags", TaggedFields),
    )


class MetadataRequest_v12(RequestStruct):  # type: ignore[misc] # noqa: N801
    """Asks for metadata with the topics' ids."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = MetadataResponse_v12
    SCHEMA = Schema(
        _WANTED,
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


def wanted(topic: str) -> list[tuple[bytes, str, dict[int, bytes]]]:
    """One topic, by its name, as a request of version 12 names it."""
    return [(_NONE, topic, {})]


class MetadataRequest(
    Request[  # type: ignore[misc]
        MetadataRequest_v0
        | MetadataRequest_v1
        | MetadataRequest_v2
        | MetadataRequest_v3
        | MetadataRequest_v4
        | MetadataRequest_v5
        | MetadataRequest_v12
    ]
):
    """About one topic, in the newest way that the broker knows."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """The request in a version that the broker knows."""
        if request_struct_class is MetadataRequest_v12:
            return request_struct_class(wanted(self._topic), False, False, {})
        if "allow_auto_topic_creation" in request_struct_class.SCHEMA.names:
            return request_struct_class([self._topic], False)
        return request_struct_class([self._topic])


def description_in(response: Response, topic: str) -> TopicDescription:
    """What a metadata response, of any version, reports about a topic.

    Raises:
        KafkaError: there is no such topic, or we are not allowed to see it.
    """
    cluster_id = getattr(response, "cluster_id", None) or ""
    # Whatever else the answer tells is not what was asked.
    for error_code, name, *rest in response.topics or ():
        if name != topic:
            continue
        if isinstance(response, MetadataResponse_v12):
            topic_id, _, partitions, *_ = rest
            leaders, epochs = _leaders(partitions, with_epochs=True)
            if topic_id != _NONE:
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
