"""What a session with Kafka stands on, and what outlives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bus.kafka.connection import Connection
    from bus.kafka.topics import Topic
    from demo.items_service.faults import FaultInjector
    from demo.items_service.offsets import Positions
    from demo.items_service.outbox import Outbox
    from demo.items_service.store import Applied, ItemStore


@dataclass(slots=True)
class Tally:
    """What has been done since the start."""

    deleted: int = 0
    repeated: int = 0
    unknown: int = 0
    refused: int = 0
    unreadable: int = 0
    sessions: int = 0

    def add(self, applied: Applied) -> None:
        """Count what became of a batch."""
        self.deleted += len(applied.deleted)
        self.repeated += len(applied.repeated)
        self.unknown += len(applied.unknown)
        self.refused += len(applied.refused)


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What outlives a session: the settings, the database's rooms, the faults, the tally."""

    connection: Connection
    topic_reported: str
    topic_deleted: str
    topic_published: str
    topics: tuple[Topic, ...]
    topics_create: bool
    store: ItemStore
    outbox: Outbox
    positions: Positions
    injector: FaultInjector
    tally: Tally
