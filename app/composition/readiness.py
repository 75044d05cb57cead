"""The readiness checks of a service, and why Kafka cannot be used when one of them fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.kafka import needs_of
from bus.kafka.first_contact import FirstContact
from coordinator.readiness import Readiness

if TYPE_CHECKING:
    from app.composition.catalogue import CatalogueParts
    from app.composition.topics import PreparedTopics
    from app.settings import Settings
    from bus.kafka.connection import Connection
    from bus.kafka.publisher import KafkaPublisher
    from bus.kafka.reader import TopicReader


class Checks:
    """What must hold before a takedown may begin.

    Args:
        settings: every setting.
        connection: how Kafka is reached.
        topics: the topics' settings.
        deletions: the reader of `item_deleted`.
        catalogue: where items are looked up.
        publisher: the producer of delete requests.

    Attributes:
        readiness: the checks by name.
        contact: diagnoses Kafka.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        topics: PreparedTopics,
        *,
        deletions: TopicReader,
        catalogue: CatalogueParts,
        publisher: KafkaPublisher,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._deletions = deletions
        self._catalogue = catalogue
        self._publisher = publisher
        self._readers = tuple(filter(None, (deletions, catalogue.reader)))
        self.contact = FirstContact(
            connection,
            needs_of(settings),
            connected=self._is_connected,
            last_errors=self._last_errors,
        )
        self.readiness = Readiness(topics.safeguards.list)
        for name, check, plain in (
            ("kafka consumer", self._consumer, "deletions cannot be read now"),
            ("catalogue", self._located, "it is not known now where each item is"),
            ("kafka producer", self._producer, "requests cannot be published now"),
        ):
            self.readiness.add(name, check, plain)
        if not settings.catalogue_url:
            plain = "it is not certain now that no list is missing"
            self.readiness.add("topic settings", topics.checks.why_not_ready, plain)

    def may_pass(self) -> bool:
        """Whether only the connection to Kafka prevents readiness, so that waiting can help."""
        if not self._settings.catalogue_url and self._topics.checks.why_not_ready() is not None:
            return False
        return self._catalogue.source.why_not_ready() is None

    def _consumer(self) -> str | None:
        if self._deletions.positioned:
            return self._deletions.why_late()
        error = self._deletions.last_error or "the positions are not known yet"
        return self.contact.explain(self._settings.topic_item_deleted, error)

    def _located(self) -> str | None:
        return self._catalogue.why_not_ready(self.contact.explain)

    def _producer(self) -> str | None:
        topic = self._settings.topic_item_reported
        if self._publisher.working:
            return self.contact.refused(topic)
        return self.contact.explain(topic, self._publisher.last_error or "not connected yet")

    def _is_connected(self) -> bool:
        return self._publisher.working and all(each.positioned for each in self._readers)

    def _last_errors(self) -> tuple[str, ...]:
        return (self._publisher.last_error, *(each.last_error for each in self._readers))
