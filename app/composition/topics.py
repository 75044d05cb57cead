"""The topics that the service uses: that they exist, and that their settings are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.kafka import topics_used
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_settings import TopicChecks
from bus.kafka.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings
    from bus.kafka.connection import Connection
    from bus.kafka.topic_settings import TopicSettings


class PreparedTopics:
    """Prepares the topics whenever a reader or the producer has connected to Kafka.

    Args:
        settings: every setting.
        connection: how Kafka is reached.
        on_reported: receives the settings of `item_reported` each time that they were read.

    Attributes:
        safeguards: those that the brokers do not provide.
        checks: the topics' settings, and what is wrong with them.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        *,
        on_reported: Callable[[TopicSettings], None],
    ) -> None:
        self._reported = settings.topic_item_reported
        self._on_reported = on_reported
        self._topics = Topics(connection, topics_used(settings), create=settings.creates_topics)
        self.safeguards = Safeguards()
        self.checks = TopicChecks(
            connection,
            published=None if settings.catalogue_url else settings.topic_item_published,
            events=(settings.topic_item_reported, settings.topic_item_deleted),
            safeguards=self.safeguards,
            deadline=settings.timeout,
            may_expire=settings.catalogue_may_expire,
            on_read=self._on_read,
        )

    async def prepare(self) -> None:
        """Ensure that the topics exist, and have their settings checked.

        Raises:
            KafkaUnavailable: see `Topics.ensure`.
        """
        await self._topics.ensure()
        self.checks.check_soon()

    async def prepare_catalogue(self) -> None:
        """The same for `item_published`: its retention decides from where it may be read on."""
        await self.prepare()
        await self.checks.until_known()

    def _on_read(self, topic: str, settings: TopicSettings) -> None:
        if topic == self._reported:
            self._on_reported(settings)
