"""The span of each deletion that a takedown waited for: `process item_deleted`.

It is made from the transition feed. What the feed does not know, which record the event came
from and when that was read, is noted when it is read; only of events that somebody waits for.

A newer list may have confirmed a container before its deletion is read, and the takedown may have
its answer by then. Such containers are remembered, so that the span of the deletion is made in
either order.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from opentelemetry.trace import Link, SpanKind

from actors.fsm.transitions import Transition
from actors.item_censor.states import Answer, ItemsToBeDeleted, State
from bus.event_bus import partition_key
from domain.messages import Deleted, ItemDeleted, Takedown
from operations.tracing.context import below, is_sampled, span_context, traceparent_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from opentelemetry.trace import SpanContext, Tracer

    from actors.fsm.transitions import FeedItem
    from bus.event_bus import PartitionKey
    from operations.tracing.requests import RequestSpans

_MOST_NOTED = 10_000


class Record(Protocol):
    """What is read of a record."""

    @property
    def partition(self) -> int:
        """Where it was."""

    @property
    def offset(self) -> int:
        """The same."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Whatever its writer put there."""


class _Noted(Struct, frozen=True):
    event: ItemDeleted  # kept alive, so that its id stays its own
    partition: int
    offset: int
    creation: SpanContext | None
    read_ns: int


class _Awaited(Struct, frozen=True):
    takedown: Takedown
    sends: tuple[SpanContext, ...]


class ProcessingSpans:
    """An observer of the feed.

    Args:
        topic: where deletions come from.
        tracer: makes spans.
        requests: knows the requests that are open.
        utc_now: the wall clock, a label for the moment a record was read.
    """

    def __init__(
        self,
        *,
        topic: str,
        tracer: Tracer,
        requests: RequestSpans,
        utc_now: Callable[[], datetime],
    ) -> None:
        self._topic = topic
        self._tracer = tracer
        self._requests = requests
        self._utc_now = utc_now
        # Two takedowns of one item hear of the same event: so it is not forgotten at the first.
        self._noted: OrderedDict[int, _Noted] = OrderedDict()
        # Containers of takedowns that have their answer, which a list had confirmed.
        self._awaited: OrderedDict[PartitionKey, _Awaited] = OrderedDict()

    def read(self, event: ItemDeleted, record: Record) -> None:
        """This event, which an actor will handle in a later turn, was in this record."""
        creation = span_context(traceparent_in(record.headers), remote=True)
        now = int(self._utc_now().timestamp() * 1_000_000) * 1000
        self._noted[id(event)] = _Noted(event, record.partition, record.offset, creation, now)
        if len(self._noted) > _MOST_NOTED:
            self._noted.popitem(last=False)

    def unmatched(self, event: ItemDeleted, record: Record) -> None:
        """This event, which no actor waits for any more, was in this record."""
        if self._awaited and partition_key(event.item_id, event.container_id) in self._awaited:
            self.read(event, record)
            self._processed_after(event)

    def __call__(self, item: FeedItem) -> None:
        """Hear of a transition."""
        if type(item) is not Transition:
            return
        takedown = getattr(item.before, "takedown", None)
        if takedown is None:
            if type(item.event) is ItemDeleted:
                self._processed_after(item.event)
            return
        if not is_sampled(takedown.traceparent):
            return
        request = self._requests.find(takedown.traceparent)
        if item.target is not item.source and request is not None:
            state = {"takedown.state": item.target.value}
            request.span.add_event(type(item.event).__name__, state)
        if type(item.event) is ItemDeleted:
            sends = () if request is None else tuple(request.sends)
            self._processed(item.event, takedown, sends)
        if item.target is State.IDLE and type(item.before) is ItemsToBeDeleted:
            self._await(item, item.before, () if request is None else tuple(request.sends))

    def _await(
        self, item: Transition, before: ItemsToBeDeleted, sends: tuple[SpanContext, ...]
    ) -> None:
        """A takedown has its answer: remember what only a list has confirmed."""
        confirmed = before.deleted
        for effect in item.effects:
            if type(effect) is Answer and type(effect.outcome) is Deleted:
                confirmed = effect.outcome.containers
        takedown = before.takedown
        for each in confirmed:
            if each.confirmed_by == "list":
                key = partition_key(takedown.item_id, each.container_id)
                self._awaited[key] = _Awaited(takedown, sends)
                if len(self._awaited) > _MOST_NOTED:
                    self._awaited.popitem(last=False)

    def _processed_after(self, event: ItemDeleted) -> None:
        key = partition_key(event.item_id, event.container_id)
        awaited = self._awaited.pop(key, None)
        if awaited is not None:
            self._processed(event, awaited.takedown, awaited.sends)

    def _processed(
        self, event: ItemDeleted, takedown: Takedown, sends: tuple[SpanContext, ...]
    ) -> None:
        noted = self._noted.get(id(event))
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": self._topic,
            "takedown.id": takedown.takedown_id,
            "takedown.item_id": takedown.item_id,
        }
        links = [Link(context) for context in sends]
        started = None
        if noted is not None:
            attributes["messaging.destination.partition.id"] = str(noted.partition)
            attributes["messaging.kafka.offset"] = noted.offset
            if noted.creation is not None:
                links.insert(0, Link(noted.creation))
            started = noted.read_ns
        self._tracer.start_span(
            f"process {self._topic}",
            below(span_context(takedown.traceparent, remote=False)),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            start_time=started,
        ).end()
