"""The shapes of what the admin API shows; its OpenAPI document is made from them.

Conventions: camelCase; every field is always there, and null says that there is nothing to say.
Names that end in `At` are labels (RFC 3339, UTC), made from the loop's clock and one reading of
the wall clock at the start, so that a clock that jumps bends no timeline. Names that end in
`Seconds` are durations by the loop's clock at the moment of the answer. Texts that came from
elsewhere are data, cut at 200 characters, and may hold anything: show them as text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from domain.messages import ConfirmedBy  # noqa: TC001 - msgspec reads the annotations

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


# ------------------------------------------------------------------------------ actors


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
    containers_done: Annotated[Count | None, Meta(description="Their deletion was heard of.")]
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


# --------------------------------------------------------------------------- takedowns


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

    total: Annotated[Count, Meta(description="How many are kept and the filters let through.")]
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
    steps_dropped: Annotated[Count, Meta(description="Steps that were too many to keep.")]


# ---------------------------------------------------------------------------- machines


class MachineState(Shape, frozen=True):
    """One state of a machine."""

    name: Annotated[str, Meta(examples=["Active"])]
    initial: bool
    final: bool
    timeout_seconds: Seconds | None
    live: Annotated[Count, Meta(description="Actors in this state now.")]


class RowTarget(Shape, frozen=True):
    """Where a row may lead."""

    state: str
    condition: Annotated[str, Meta(description="Empty: always.")]


class MachineRow(Shape, frozen=True):
    """One row of a machine's table."""

    state: str
    event: str
    targets: tuple[RowTarget, ...]
    effects: tuple[str, ...]
    ignored: Annotated[str | None, Meta(description="Why the event is ignored here, if it is.")]


class Arrow(Shape, frozen=True):
    """One arrow of a machine's picture, with what has passed along it since the start."""

    source: str
    event: str
    target: str
    ignored: bool
    count: Count
    per_second: Rate


class MachineView(Shape, frozen=True):
    """One machine: its table, its picture, and where its actors are."""

    name: Annotated[str, Meta(examples=["ItemCensor"])]
    states: tuple[MachineState, ...]
    rows: tuple[MachineRow, ...]
    arrows: tuple[Arrow, ...]
    diagram: Annotated[str, Meta(description="Mermaid.")]


class MachineSummary(Shape, frozen=True):
    """One machine in the list."""

    name: str
    actors: Count
    states: Annotated[dict[str, int], Meta(description="Actors in each state now.")]


class Machines(Shape, frozen=True):
    """Every machine."""

    machines: tuple[MachineSummary, ...]


# -------------------------------------------------------------------------- statistics


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
    matched: Annotated[Count, Meta(description="Those that somebody waited for.")]
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


class DoorFacts(Shape, frozen=True):
    """One door."""

    address: Annotated[str, Meta(examples=["http://127.0.0.1:8080"])]
    connections: Count


class OperatorsDoorFacts(Shape, frozen=True):
    """The admin API."""

    address: str
    connections: Count
    viewers: Annotated[Count, Meta(description="Open streams.")]
    viewers_cut: Annotated[Count, Meta(description="Streams ended since nobody read them.")]


class Statistics(Shape, frozen=True):
    """What each part says of itself."""

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
    callers_door: DoorFacts
    operators_door: OperatorsDoorFacts
    dead_letters: Count
    skipped_records: Count


# ---------------------------------------------------------------------------- overview


class Check(Shape, frozen=True):
    """One readiness check."""

    ok: bool
    detail: Annotated[str, Meta(examples=["ok"])]


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


class Latency(Shape, frozen=True):
    """Of takedowns that ended within some time; estimated from a histogram, null without any."""

    count: Count
    p50_seconds: Seconds | None
    p90_seconds: Seconds | None
    p99_seconds: Seconds | None


class Phases(Shape, frozen=True):
    """Whom takedowns waited for: us, the catalogue, Kafka, or the Items service."""

    located: Annotated[Latency, Meta(description="From accepted until the catalogue answered.")]
    acknowledged: Annotated[Latency, Meta(description="From publishing until Kafka's last ack.")]
    deleted: Annotated[Latency, Meta(description="From publishing until the last deletion.")]


class PerSecond(Shape, frozen=True):
    """Rates over the last 10 seconds."""

    accepted: Rate
    rejected: Rate
    answered: Rate
    published: Annotated[Rate, Meta(description="Delete requests acknowledged by Kafka.")]
    events_read: Annotated[Rate, Meta(description="Deletions read.")]
    events_matched: Annotated[Rate, Meta(description="Those that somebody waited for.")]
    transitions: Rate


class Overview(Shape, frozen=True):
    """At a glance."""

    started_at: At
    ready: bool
    checks: dict[str, Check]
    in_flight: Count
    idle: Count
    maximum: Count
    draining: bool
    states: Annotated[
        dict[str, int], Meta(description="Censors in each state.", examples=[{"Active": 17}])
    ]
    waiting_for: Annotated[
        dict[str, int],
        Meta(
            description="Takedowns in flight by what they wait for.", examples=[{"deletions": 17}]
        ),
    ]
    oldest_seconds: Annotated[Seconds | None, Meta(description="Age of the oldest in flight.")]
    nearest_deadline_seconds: Annotated[Seconds | None, Meta(description="Of all in flight.")]
    accepted: Count
    outcomes: Annotated[dict[str, int], Meta(description="Since the start.")]
    rejected: Annotated[dict[str, int], Meta(description="503s that no censor saw, by reason.")]
    per_second: PerSecond
    last_minute: Annotated[dict[str, int], Meta(description="Outcomes of the last 60 seconds.")]
    latency: Annotated[Latency, Meta(description="Takedowns of the last 60 seconds.")]
    phases: Annotated[Phases, Meta(description="Takedowns of the last 60 seconds.")]
    loop: LoopFacts
    behind: Annotated[dict[str, int], Meta(description="Records behind, by topic.")]
    restarts: Count
    replaced: Count
    dead_letters: Count
    skipped_records: Count
    late_events: Count
    stuck: Annotated[tuple[Incident, ...], Meta(description="Open incidents; the first 100.")]
    stuck_count: Count


# --------------------------------------------------------------------- history, losses


class HistoryBucket(Shape, frozen=True):
    """What ended within one span of time."""

    at: Annotated[At, Meta(description="The span's end.")]
    seconds: Annotated[Seconds, Meta(description="The span's length.")]
    outcomes: Annotated[dict[str, int], Meta(examples=[{"Deleted": 50, "TimedOut": 1}])]
    rejected: Count
    in_flight: Annotated[Count, Meta(description="At the span's end.")]
    events_read: Count
    events_matched: Count
    latency: Latency
    lag_max_seconds: Seconds


class History(Shape, frozen=True):
    """The last minutes, oldest first."""

    buckets: tuple[HistoryBucket, ...]


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


# ------------------------------------------------------------------------------ stream


class ActorChanges(Shape, frozen=True):
    """How a page of actors has changed: merge `changed` by id, then show those in `order`."""

    total: Count
    order: Annotated[tuple[str, ...], Meta(description="The ids of the whole page, in order.")]
    changed: Annotated[tuple[Actor, ...], Meta(description="New ones, and those that changed.")]
    next: Cursor | None


class FinishedChanges(Shape, frozen=True):
    """How the recent takedowns have changed, in the same manner; by takedownId."""

    total: Count
    order: tuple[str, ...]
    changed: tuple[FinishedTakedown, ...]
    next: Cursor | None


class Views(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The views that were asked for, whole."""

    overview: Overview | None = None
    actors: ActorPage | None = None
    machines: tuple[MachineView, ...] | None = None
    statistics: Statistics | None = None
    recent: FinishedPage | None = None
    takedown: Annotated[Timeline | None, Meta(description="Null: not known any more.")] = None
    history: History | None = None
    losses: Losses | None = None


class ChangedViews(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The views that have changed: lists by their changes, others whole."""

    overview: Overview | None = None
    actors: ActorChanges | None = None
    machines: tuple[MachineView, ...] | None = None
    statistics: Statistics | None = None
    recent: FinishedChanges | None = None
    takedown: Timeline | None = None
    history: History | None = None
    losses: Losses | None = None


class Snapshot(Shape, frozen=True):
    """The data of the stream's event `snapshot`."""

    at: At
    views: Views


class Change(Shape, frozen=True):
    """The data of the stream's event `change`."""

    at: At
    views: ChangedViews


# ------------------------------------------------------------------------------ health


class Alive(Shape, frozen=True):
    """The loop answers."""

    status: Literal["alive"]


class MissingSafeguard(Shape, frozen=True):
    """Something that the brokers do not provide, and that would protect answers."""

    name: Annotated[str, Meta(examples=["item_published: settings"])]
    why: Annotated[str, Meta(description="What prevents it, and what it would protect from.")]


class Ready(Shape, frozen=True):
    """Each readiness check."""

    status: Literal["ready", "not ready"]
    checks: dict[str, Check]
    missing_safeguards: Annotated[
        list[MissingSafeguard], Meta(description="They do not prevent readiness.")
    ]


class BadRequest(Shape, frozen=True, omit_defaults=True):
    """A problem (RFC 9457)."""

    type: Annotated[str, Meta(examples=["urn:takedown:problem:invalid-parameter"])]
    title: str
    status: int
    detail: str
    instance: str
    takedown_id: Annotated[str | None, Meta(description="Names this answer; no takedown.")] = None
    parameter: Annotated[str | None, Meta(description="Which parameter is wrong.")] = None
