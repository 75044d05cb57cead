"""Statistics of each part of the service."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from operations.observation.schemas.fields import ActorId, Count, Rate, Seconds, Shape


class CoordinatorFacts(Shape, frozen=True):
    """The coordinator and its pool."""

    in_flight: Count
    idle: Annotated[Count, Meta(description="Idle censors in the pool.")]
    waiting: Annotated[Count, Meta(description="Takedowns that wait for Kafka, not begun.")]
    maximum: Count
    draining: bool
    accepted: Count
    rejected: Annotated[dict[str, int], Meta(examples=[{"overloaded": 4}])]
    outcomes: Annotated[dict[str, int], Meta(examples=[{"Deleted": 120}])]
    restarts: Annotated[Count, Meta(description="Censors that were restarted.")]
    replaced: Annotated[Count, Meta(description="Censors that failed once too often.")]


class SupervisionNode(Shape, frozen=True):
    """One node of the supervision tree."""

    name: str
    kind: Annotated[str, Meta(examples=["Coordinator", "ItemCensor", "task"])]
    actor_id: ActorId | None
    alive: bool
    count: Annotated[Count, Meta(description="How many of its like this node stands for.")]
    restarts: Annotated[Count, Meta(description="Of all that it stands for.")]
    policy: Annotated[str, Meta(description="What happens when it fails, in words.")]
    children: tuple[SupervisionNode, ...]


class BusFacts(Shape, frozen=True):
    """The internal event bus."""

    keys: Count
    subscribers: Count
    subscriptions: Count
    published: Annotated[Count, Meta(description="Deletions read from Kafka.")]
    matched: Annotated[Count, Meta(description="Those that a censor waited for.")]
    delivered: Count
    dropped: Count
    late: Annotated[Count, Meta(description="Those that came after their takedown's deadline.")]
    published_per_second: Rate
    matched_per_second: Rate


class ReaderFacts(Shape, frozen=True):
    """The reader of one topic."""

    topic: Annotated[str, Meta(examples=["item_deleted"])]
    positioned: Annotated[bool, Meta(description="Nothing new can be missed.")]
    caught_up: bool
    partitions: Count
    positions: Annotated[
        dict[str, int], Meta(description="Next offset by partition.", examples=[{"0": 1712}])
    ]
    behind: Annotated[Count, Meta(description="Records to the log's end as last seen.")]
    read: Count
    skipped: Count
    sessions: Annotated[Count, Meta(description="How often it connected.")]
    last_error: Annotated[str, Meta(description="Empty: none.")]
    read_per_second: Rate


class PublisherFacts(Shape, frozen=True):
    """The producer of delete requests."""

    working: bool
    in_flight: Annotated[Count, Meta(description="Takedowns with unacknowledged requests.")]
    published: Annotated[Count, Meta(description="Requests acknowledged.")]
    failed: Count
    producers: Annotated[Count, Meta(description="How often a producer was made.")]
    last_error: str
    published_per_second: Rate


class FeedFacts(Shape, frozen=True):
    """The transition feed and its observers."""

    machines: Count
    failures: Annotated[Count, Meta(description="How often an observer raised.")]
    transitions: Count
    per_second: Rate
    takedowns_kept: Annotated[Count, Meta(description="Finished ones that are remembered.")]


class LoopFacts(Shape, frozen=True):
    """The event loop."""

    lag_seconds: Annotated[Seconds, Meta(description="How late the last tick came.")]
    lag_max_seconds: Annotated[Seconds, Meta(description="The same, worst of the last minute.")]


class ServerFacts(Shape, frozen=True):
    """One server."""

    address: Annotated[str, Meta(examples=["http://127.0.0.1:8080"])]
    connections: Count


class AdminApiFacts(Shape, frozen=True):
    """The admin API."""

    address: str
    connections: Count
    viewers: Annotated[Count, Meta(description="Open streams.")]
    viewers_cut: Annotated[
        Count, Meta(description="Streams ended because the client did not read them.")
    ]


class Statistics(Shape, frozen=True):
    """Statistics of each part."""

    coordinator: CoordinatorFacts | None
    supervision: SupervisionNode
    bus: BusFacts
    readers: tuple[ReaderFacts, ...]
    publisher: PublisherFacts
    catalogue: Annotated[
        dict[str, Any],
        Meta(description="Depends on the catalogue.", examples=[{"items": 12, "misses": 1}]),
    ]
    feed: FeedFacts
    loop: LoopFacts
    tasks: Annotated[Count, Meta(description="Of the event loop.")]
    public_api: ServerFacts
    admin_api: AdminApiFacts
    dead_letters: Count
    skipped_records: Count
