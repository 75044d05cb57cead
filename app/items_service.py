"""The reference Items service by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.kafka import topics_of
from demo.items_service.app import ItemsService, ItemsServiceSettings

if TYPE_CHECKING:
    from app.settings import Settings
    from bus.kafka.connection import Connection
    from demo.items_service.faults import Faults


def items_service(settings: Settings, connection: Connection, faults: Faults) -> ItemsService:
    """The reference Items service by the settings, not started yet."""
    return ItemsService(
        ItemsServiceSettings(
            connection=connection,
            topic_item_reported=settings.topic_item_reported,
            topic_item_deleted=settings.topic_item_deleted,
            topic_item_published=settings.topic_item_published,
            topics=topics_of(settings),
            topics_create=settings.creates_topics,
            database=settings.items_database,
            http_host=settings.items_http_host,
            http_port=settings.items_http_port,
            sample=settings.items_sample,
            faults=faults,
        )
    )
