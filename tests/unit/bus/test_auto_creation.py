"""No metadata request of ours lets a broker create a topic."""

from __future__ import annotations

import pytest
from aiokafka.protocol.metadata import (
    MetadataRequest,
    MetadataRequest_v1,
    MetadataRequest_v4,
    MetadataRequest_v5,
)

from bus.kafka.auto_creation import create_no_topics
from bus.kafka.connection import Connection


@pytest.mark.parametrize("struct", [MetadataRequest_v4, MetadataRequest_v5])
@pytest.mark.parametrize("topics", [["wrong-name"], [], None])
def test_a_metadata_request_does_not_allow_creation(
    struct: type[MetadataRequest_v4], topics: list[str] | None
) -> None:
    Connection("127.0.0.1:1").client_options()
    create_no_topics()  # repeating it changes nothing
    built = MetadataRequest(topics).build(struct)
    assert built.topics == topics
    assert built.allow_auto_topic_creation is False


def test_a_caller_that_asks_for_creation_gets_it() -> None:
    create_no_topics()
    built = MetadataRequest(["wanted"], allow_auto_topic_creation=True).build(MetadataRequest_v5)
    assert built.allow_auto_topic_creation is True


def test_a_version_that_cannot_say_it_is_built_as_before() -> None:
    create_no_topics()
    assert MetadataRequest(["any"]).build(MetadataRequest_v1).topics == ["any"]
