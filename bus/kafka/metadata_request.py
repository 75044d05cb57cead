"""The request for a topic's metadata, in versions that aiokafka 0.14 does not know, too.

Version 10 brought the topics' ids, which tell a topic that was deleted and created again from the
one before (KIP-516). aiokafka 0.14 knows version 5 at most. So version 12 of the request and of its
response is written down here as the protocol's description has it; Apache Kafka and the embedded
broker know it. A broker that does not know it gets the newest version that it knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
    from collections.abc import Iterable
    from io import BytesIO

_UUID_BYTES = 16

NO_ID = bytes(_UUID_BYTES)
"""The id of a topic in a response that does not have it."""


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


def by_name(topics: Iterable[str]) -> list[tuple[bytes, str, dict[int, bytes]]]:
    """These topics as a request of version 12 names them."""
    return [(NO_ID, topic, {}) for topic in topics]


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
    """About some topics; it never creates one where the broker's version can be told so.

    Args:
        topics: their names.
        operations: ask which operations are allowed on them, too. A version that does not have
            this and may create topics then asks about none.

    Attributes:
        topics: the same names.
    """

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: Iterable[str], *, operations: bool = False) -> None:
        self.topics = list(topics)
        self._operations = operations

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """The request in a version that the broker knows."""
        if request_struct_class is MetadataRequest_v12:
            return request_struct_class(by_name(self.topics), False, self._operations, {})
        if "allow_auto_topic_creation" in request_struct_class.SCHEMA.names:
            return request_struct_class(self.topics, False)
        return request_struct_class([] if self._operations else self.topics)
