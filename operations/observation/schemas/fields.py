"""The types of fields that many schemas have, and their base class."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

At = Annotated[str, Meta(description="RFC 3339, UTC.", examples=["2026-01-02T03:04:05.678901Z"])]
Seconds = Annotated[float, Meta(description="Seconds.", examples=[0.125])]
Count = Annotated[int, Meta(ge=0, examples=[3])]
Rate = Annotated[
    float, Meta(ge=0, description="For each second, over the last 10.", examples=[12.5])
]
ActorId = Annotated[
    str,
    Meta(
        description="An actor's id: the UUID of its URN, or the name of a part of the service.",
        examples=["6b1f3a52-2f67-4f5c-8d70-0c4d2a1b9e11", "reader-item_deleted"],
    ),
]
Uuid = Annotated[str, Meta(examples=["0b9a1f60-7c1e-4c59-9a52-3f6d1e8c4a01"])]
Cursor = Annotated[str, Meta(description="Give it as `cursor` to get the next page.")]

Kind = Literal["ItemCensor", "Coordinator", "TopicReader", "KafkaPublisher"]
WaitingFor = Literal["catalogue", "acknowledgement", "deletions"]
OutcomeName = Literal["Deleted", "NotFound", "TimedOut", "Refused", "Unavailable", "Failed"]
Lane = Literal["caller", "coordinator", "censor", "catalogue", "kafka", "clock"]
IncidentKind = Literal["overdue", "mailbox", "loop-lag"]
ViewName = Literal[
    "overview", "actors", "machines", "statistics", "recent", "takedown", "history", "losses"
]


class Shape(Struct, frozen=True, rename="camel", kw_only=True):
    """One object in an answer."""


class Place(Shape, frozen=True):
    """One container of an item."""

    container_id: Annotated[str, Meta(description="Text from outside.", examples=["group:17"])]
    container_type: Annotated[str, Meta(description="Text from outside.", examples=["group"])]
