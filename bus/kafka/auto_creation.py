"""Metadata requests that create no topic.

A broker with `auto.create.topics.enable=true` (Kafka's default) creates a topic when a client asks
for its metadata and allows that. aiokafka 0.14 always allows it: in its producer, its consumer and
in every refresh of the metadata. A topic with a wrong name would then exist, empty and with the
broker's default settings, before anyone could see that it is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.protocol.metadata import MetadataRequest

if TYPE_CHECKING:
    from aiokafka.protocol.api import RequestStruct

_build = MetadataRequest.build


def create_no_topics() -> None:
    """Have aiokafka's clients in this process allow no creation. May be called repeatedly.

    Brokers older than version 4 of this request (Kafka 0.11) cannot be told; they are too old for
    aiokafka 0.14 as well.
    """
    MetadataRequest.build = _build_without_creation


def _build_without_creation(request: Any, struct: type[RequestStruct]) -> RequestStruct:
    if request._allow_auto_topic_creation is None:  # noqa: SLF001 - no caller of aiokafka sets it
        request._allow_auto_topic_creation = False  # noqa: SLF001 - the same
    built: RequestStruct = _build(request, struct)
    return built
