"""Takedowns: rows of those that have their answer, and the timeline of one."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.messages import ConfirmedBy
from operations.observation.schemas.fields import (
    ActorId,
    At,
    Count,
    Cursor,
    Lane,
    OutcomeName,
    Seconds,
    Shape,
    Uuid,
)


class Progress(Shape, frozen=True):
    """One container of one takedown."""

    container_id: Annotated[str, Meta(description="Text from outside.", examples=["group:17"])]
    container_type: Annotated[str, Meta(description="Text from outside.", examples=["group"])]
    heard_at: Annotated[At | None, Meta(description="When its deletion was read.")]
    after_seconds: Annotated[Seconds | None, Meta(description="Of `acceptedAt`.")]
    deleted: Annotated[bool, Meta(description="It counts as deleted.")]
    deleted_at: Annotated[
        At | None,
        Meta(description="The time of its deletion, or of the list that confirmed it first."),
    ]
    confirmed_by: Annotated[
        ConfirmedBy | None,
        Meta(
            description="`deletion`: its `item_deleted`. `list`: a newer list without it. Null: "
            "nothing before the answer, or it is not known any more."
        ),
    ]
    late: Annotated[bool, Meta(description="It was read after the takedown's deadline.")]


class FinishedTakedown(Shape, frozen=True):
    """One takedown that has its answer, as a row of a table."""

    takedown_id: Uuid
    item_id: Uuid
    outcome: OutcomeName
    status: Annotated[int, Meta(description="As HTTP has it.", examples=[200])]
    accepted_at: At
    answered_at: At
    elapsed_seconds: Annotated[Seconds, Meta(description="From accepted to answered.")]
    containers_total: Count | None
    containers_done: Annotated[Count | None, Meta(description="At the time of the answer.")]
    late_events: Annotated[Count, Meta(description="Deletions read after the deadline.")]
    actor_id: ActorId
    detail: Annotated[str | None, Meta(description="Why, where the outcome has a reason.")]


class FinishedPage(Shape, frozen=True):
    """A page of finished takedowns, the last one first."""

    total: Annotated[Count, Meta(description="How many are stored and match the filters.")]
    takedowns: tuple[FinishedTakedown, ...]
    next: Cursor | None


class Step(Shape, frozen=True):
    """One step of a takedown: an arrow of its sequence diagram."""

    at: At
    after_seconds: Annotated[Seconds, Meta(description="Of `acceptedAt`.")]
    source: Lane
    target: Lane
    event: Annotated[str, Meta(examples=["ItemDeleted"])]
    text: Annotated[str, Meta(description="In words; holds text from outside.")]
    container_id: str | None
    container_type: str | None
    late: Annotated[bool, Meta(description="It came after the takedown's deadline.")]


class Timeline(Shape, frozen=True):
    """All that is known of one takedown."""

    takedown_id: Uuid
    item_id: Uuid
    finished: bool
    outcome: OutcomeName | None
    status: int | None
    detail: str | None
    traceparent: str
    actor_id: ActorId
    accepted_at: At
    deadline_at: At
    answered_at: At | None
    elapsed_seconds: Annotated[Seconds, Meta(description="To its answer, or until now.")]
    timeout_seconds: Annotated[Seconds, Meta(description="From accepted to deadline.")]
    containers_total: Count | None
    containers_done: Count | None
    containers: Annotated[
        tuple[Progress, ...], Meta(description="The first 200, in the catalogue's order.")
    ]
    steps: Annotated[tuple[Step, ...], Meta(description="In their order.")]
    steps_dropped: Annotated[Count, Meta(description="Steps beyond those that are stored.")]
