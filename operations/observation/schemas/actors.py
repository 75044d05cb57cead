"""Live actors: rows of a table, and one of them in detail."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from operations.observation.schemas.fields import (
    ActorId,
    At,
    Count,
    Cursor,
    Kind,
    Place,
    Seconds,
    Shape,
    Uuid,
    WaitingFor,
)
from operations.observation.schemas.takedowns import Progress


class LastTransition(Shape, frozen=True):
    """One transition of an actor's machine; it stayed if `source` and `target` are the same."""

    at: At
    ago_seconds: Seconds
    event: Annotated[str, Meta(description="The event's type.", examples=["ItemDeleted"])]
    source: Annotated[str, Meta(examples=["Active"])]
    target: Annotated[str, Meta(examples=["Active"])]


class Actor(Shape, frozen=True):
    """One live actor, as a row of a table."""

    id: ActorId
    kind: Kind
    state: Annotated[
        str,
        Meta(
            description="An ItemCensor's is its machine's state. Coordinator: `Open`, `Draining`. "
            "TopicReader: `Reading`, `CatchingUp`, `Interrupted`. KafkaPublisher: `Working`, "
            "`Interrupted`.",
            examples=["Active"],
        ),
    ]
    since: Annotated[At | None, Meta(description="When it entered its state, if that is known.")]
    in_state_seconds: Annotated[Seconds | None, Meta(description="How long it is in its state.")]
    takedown_id: Uuid | None
    item_id: Uuid | None
    accepted_at: Annotated[At | None, Meta(description="When its takedown was accepted.")]
    age_seconds: Annotated[Seconds | None, Meta(description="Since its takedown was accepted.")]
    deadline_at: At | None
    deadline_left_seconds: Annotated[
        Seconds | None, Meta(description="Until its takedown's deadline; negative after it.")
    ]
    containers_total: Annotated[Count | None, Meta(description="Null until they are known.")]
    containers_done: Annotated[Count | None, Meta(description="Their deletion was read.")]
    outstanding_count: Count | None
    outstanding: Annotated[
        tuple[Place, ...], Meta(description="The first 20 that are outstanding.", max_length=20)
    ]
    acknowledged: Annotated[
        bool | None, Meta(description="Kafka has acknowledged every delete request.")
    ]
    waiting_for: Annotated[
        tuple[WaitingFor, ...],
        Meta(
            description="`catalogue`: where is the item, and is that proven? "
            "`acknowledgement`: Kafka's, of our requests. `deletions`: the Items service's, read "
            "from Kafka."
        ),
    ]
    mailbox_depth: Annotated[Count, Meta(description="Messages that wait to be handled.")]
    handled: Annotated[Count, Meta(description="Messages handled since it was started.")]
    restarts: Count
    last_transition: LastTransition | None
    stuck: Annotated[bool, Meta(description="It is the subject of an open incident.")]


class ActorPage(Shape, frozen=True):
    """A page of actors."""

    total: Annotated[Count, Meta(description="How many the filters let through.")]
    actors: tuple[Actor, ...]
    next: Cursor | None


class Timer(Shape, frozen=True):
    """One timer that runs."""

    name: Annotated[str, Meta(examples=["deadline"])]
    left_seconds: Seconds


class ActorDetail(Shape, frozen=True):
    """One live actor, with all that is known of it."""

    actor: Actor
    timers: tuple[Timer, ...]
    transitions: Annotated[
        tuple[LastTransition, ...], Meta(description="Its last ones, oldest first; bounded.")
    ]
    containers: Annotated[
        tuple[Progress, ...], Meta(description="The first 200 containers of its takedown.")
    ]
    data: Annotated[
        dict[str, Any],
        Meta(
            description="What the actor or part says of itself; which fields there are depends "
            "on its kind."
        ),
    ]
