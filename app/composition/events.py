"""The two topics of events: requests are published to one, deletions are read from the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.kafka.positioning import Start
from bus.kafka.publisher import KafkaPublisher
from bus.kafka.reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from app.composition.topics import PreparedTopics
    from app.settings import Settings
    from bus.kafka.connection import Connection
    from bus.kafka.record_handler import OnSkip, Record


def publisher_of(
    settings: Settings,
    connection: Connection,
    topics: PreparedTopics,
    utc_now: Callable[[], datetime],
) -> KafkaPublisher:
    """The producer of delete requests, for `item_reported`."""
    return KafkaPublisher(
        connection=connection,
        topic=settings.topic_item_reported,
        prepare=topics.prepare,
        wait_for_kafka=settings.wait_for_kafka,
        read_settings=topics.checks.read_again,
        utc_now=utc_now,
    )


def deletions_of(
    settings: Settings,
    connection: Connection,
    topics: PreparedTopics,
    handle: Callable[[Record], None],
    on_skip: OnSkip,
) -> TopicReader:
    """The reader of `item_deleted`, from its end on."""
    return TopicReader(
        connection=connection,
        topic=settings.topic_item_deleted,
        start=Start.END,
        handle=handle,
        prepare=topics.prepare,
        on_skip=on_skip,
        safeguards=topics.safeguards,
        consumer_factory=connection.clients.consumer,
    )
