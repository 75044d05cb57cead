"""Topics that are missing: created if that is allowed, otherwise named with what to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bus.kafka.connection import Clients, Connection
from bus.kafka.topics import Topic, Topics, ensure_topics
from domain.errors import KafkaUnavailable

ITEMS = Topic("items", 6, 3, {"cleanup.policy": "compact"}, "TAKEDOWN_TOPIC_ITEM_PUBLISHED")
DELETIONS = Topic("deletions", 2, setting="TAKEDOWN_TOPIC_ITEM_DELETED")
CREATE_ITEMS = (
    "kafka-topics.sh --bootstrap-server kafka:9092 --create --topic items --partitions 6 "
    "--replication-factor 3 --config cleanup.policy=compact"
)
CREATE_DELETIONS = (
    "kafka-topics.sh --bootstrap-server kafka:9092 --create --topic deletions --partitions 2"
)


class Broker:
    """Has topics, and lets them be created."""

    def __init__(self, *topics: str) -> None:
        self.topics = [*topics]
        self.connection = Connection("kafka:9092", clients=Clients(admin=lambda **_: self))

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def list_topics(self) -> list[str]:
        return self.topics

    async def create_topics(self, topics: list[Any]) -> Any:
        self.topics += [topic.name for topic in topics]
        return SimpleNamespace(topic_errors=[(topic.name, 0, None) for topic in topics])


async def refusal(broker: Broker, *topics: Topic) -> str:
    with pytest.raises(KafkaUnavailable) as raised:
        await ensure_topics(broker.connection, topics, create=False)
    text = str(raised.value)
    assert "\n" not in text
    assert "TAKEDOWN_TOPICS_CREATE=true" in text
    return text


async def test_missing_topics_are_created_where_that_is_allowed() -> None:
    broker = Broker("deletions")
    assert await ensure_topics(broker.connection, [ITEMS, DELETIONS]) == ("items",)
    assert broker.topics == ["deletions", "items"]


async def test_a_missing_topic_that_must_not_be_created_is_named_with_its_setting_and_command() -> (
    None
):
    broker = Broker("deletions")
    text = await refusal(broker, ITEMS, DELETIONS)
    assert text.startswith("topic is missing")
    assert "items (TAKEDOWN_TOPIC_ITEM_PUBLISHED)" in text
    assert f"`{CREATE_ITEMS}`" in text
    assert "deletions" not in text
    assert broker.topics == ["deletions"], "and nothing was created"


async def test_several_missing_topics_are_all_named() -> None:
    text = await refusal(Broker(), ITEMS, DELETIONS)
    assert text.startswith("topics are missing")
    assert f"`{CREATE_ITEMS}`" in text
    assert f"`{CREATE_DELETIONS}`" in text


async def test_topics_that_exist_are_right_whether_or_not_they_may_be_created() -> None:
    broker = Broker("items", "deletions")
    for create in (True, False):
        assert await ensure_topics(broker.connection, [ITEMS, DELETIONS], create=create) == ()


async def test_a_topic_that_is_deleted_while_the_service_runs_is_an_error_again() -> None:
    broker = Broker("items")
    topics = Topics(broker.connection, [ITEMS], create=False)
    assert await topics.ensure() == ()
    broker.topics.clear()
    with pytest.raises(KafkaUnavailable, match="topic is missing"):
        await topics.ensure()
    assert broker.topics == []
