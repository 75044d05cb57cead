"""What does not go as it should: stuck actors, losses, and items in doubt."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from operations.observation.schemas.fields import (
    ActorId,
    At,
    Count,
    IncidentKind,
    Seconds,
    Shape,
    Uuid,
)


class Incident(Shape, frozen=True):
    """Something that does not move as it should."""

    id: Count
    kind: Annotated[
        IncidentKind,
        Meta(
            description="`overdue`: a takedown past its deadline without an answer. `mailbox`: "
            "messages wait and none is handled. `loop-lag`: the event loop was held up."
        ),
    ]
    actor_id: ActorId | None
    takedown_id: Uuid | None
    item_id: Uuid | None
    since: At
    lasted_seconds: Annotated[Seconds, Meta(description="Until now, or until it ended.")]
    ended_at: At | None
    detail: str


class Incidents(Shape, frozen=True):
    """What is stuck, and what was."""

    stuck: Annotated[tuple[Incident, ...], Meta(description="Open ones, oldest first.")]
    stuck_count: Count
    past: Annotated[tuple[Incident, ...], Meta(description="The last 100 that ended.")]


class LostMessage(Shape, frozen=True):
    """A message that no actor handled."""

    at: At
    receiver: Annotated[str, Meta(examples=["ItemCensor (urn:uuid:6b1f...)"])]
    message: Annotated[str, Meta(description="Its type.", examples=["ItemDeleted"])]
    takedown_id: Uuid | None


class SkippedRecord(Shape, frozen=True):
    """A record that could not be read."""

    at: At
    topic: Annotated[str, Meta(examples=["item_deleted"])]
    partition: int
    offset: int
    reason: Annotated[str, Meta(description="Holds text from outside.")]


class StaleDeletion(Shape, frozen=True):
    """A deletion that confirmed nothing: it is older than the list that names its container."""

    at: Annotated[At, Meta(description="When it was handled.")]
    takedown_id: Annotated[Uuid, Meta(description="The takedown that waits for a newer one.")]
    item_id: Uuid
    container_id: Annotated[str, Meta(description="Text from outside.", examples=["group:17"])]
    deleted_at: Annotated[At, Meta(description="The deletion's date.")]
    listed_at: Annotated[At, Meta(description="The date of the newest list with the container.")]


class Losses(Shape, frozen=True):
    """Dead letters, skipped records, stale deletions; the last 100 of each, the newest first."""

    dead_letters: tuple[LostMessage, ...]
    dead_letters_count: Count
    skipped_records: tuple[SkippedRecord, ...]
    skipped_records_count: Count
    stale_deletions: tuple[StaleDeletion, ...]
    stale_deletions_count: Count


class DoubtedItem(Shape, frozen=True):
    """An item whose newest record cannot be read, and that record."""

    item_id: Uuid
    topic: Annotated[str, Meta(examples=["item_published"])]
    partition: int
    offset: int
    doubted_at: Annotated[At, Meta(description="The record's own time.")]
    reason: Annotated[str, Meta(description="Why it cannot be read. Holds text from outside.")]


class CatalogueDoubts(Shape, frozen=True):
    """Items in doubt, the newest first. They get a 503 until a readable record arrives."""

    total: Annotated[Count, Meta(description="All of them, also those that are not listed.")]
    doubts: tuple[DoubtedItem, ...]
