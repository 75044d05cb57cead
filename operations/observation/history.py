"""What happened to each takedown: the one observer of the transitions that is always there.

It runs within each transition, so it does as little as it can: it counts the arrow that was
taken, and appends the moment and the event to the takedown's record. Words, labels and tables
are made by `timeline` and `live` when somebody looks. Everything it keeps is bounded.

Records of takedowns that have their answer are kept by outcome, as many of each, so that a
thousand good ones do not push the bad one out. A deletion that nobody waits for any more is
looked up among what they left outstanding, which is late, or counted as deleted by a list.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, get_args

from actors.fsm.transitions import Left, Transition
from actors.item_censor.states import Answer, ItemsToBeDeleted, ReportStaleDeletion, State
from bus.event_bus import partition_key
from domain.messages import (
    Begin,
    Deleted,
    Failed,
    Flush,
    ItemDeleted,
    Refused,
    RequestsPublished,
    Unavailable,
)
from operations.observation.histogram import Histogram
from operations.observation.schemas.fields import OutcomeName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from actors.fsm.transitions import FeedItem
    from bus.event_bus import PartitionKey
    from domain.messages import Container, ContainerId, DeletedContainer, Outcome, Takedown

OUTCOMES: Final[tuple[str, ...]] = get_args(OutcomeName)

Key = tuple[int, type, int]
"""An arrow: `id` of the state before, the event's type, `id` of the state after. States are
members of an Enum, which live for ever; hashing their ids is four times as fast as hashing them."""


class Record:
    """One takedown, as far as it has come.

    Attributes:
        actor: the URN of the actor that carries it.
        takedown: the request.
        began: when the actor got it; the loop's time, as all times here.
        since: when the actor entered its state.
        steps: moment, event, moment, event ...; without the first event, `Begin`.
        own: how many of `steps` came before the answer.
        dropped: events that were too many to keep.
        number: counts those that have their answer; 0 before.
        ended: when the answer was given.
        located: when the containers were known.
        outcome: the answer's name; empty before.
        detail: why, where the outcome has a reason.
        containers: the containers at the end; None if they were not known.
        outstanding: those of them that were outstanding at the end.
        confirmed: those that were not, and what confirmed them.
        awaited: containers whose deletion would be noticed after the answer: those that were
            outstanding, and those that a list has confirmed.
        late: deletions of outstanding containers that came after the takedown's deadline.
    """

    __slots__ = (
        "actor",
        "awaited",
        "began",
        "confirmed",
        "containers",
        "detail",
        "dropped",
        "ended",
        "late",
        "located",
        "number",
        "outcome",
        "outstanding",
        "own",
        "since",
        "steps",
        "takedown",
    )

    def __init__(self, actor: str, takedown: Takedown, at: float) -> None:
        self.actor = actor
        self.takedown = takedown
        self.began = self.since = self.located = at
        self.steps: list[Any] = []
        self.own = 0
        self.dropped = 0
        self.number = 0
        self.ended = 0.0
        self.outcome = ""
        self.detail: str | None = None
        self.containers: tuple[Container, ...] | None = None
        self.outstanding: AbstractSet[ContainerId] = frozenset()
        self.confirmed: Sequence[DeletedContainer] = ()
        self.awaited: AbstractSet[ContainerId] = frozenset()
        self.late = 0

    @property
    def weight(self) -> int:
        """About how many things it keeps alive."""
        return len(self.steps) // 2 + len(self.containers or ()) + len(self.confirmed)

    def is_late(self, index: int) -> bool:
        """Whether the event at this place of `steps` came after the takedown's deadline.

        Of deletions only those are late that the takedown still waited for at its end.
        """
        if not self.outcome or index < self.own:
            return False
        even = index - index % 2
        at, event = self.steps[even], self.steps[even + 1]
        return self.is_late_event(event, at)

    def is_late_event(self, event: Any, at: float) -> bool:
        """The same of an event that is handled after the answer."""
        if type(event) is ItemDeleted and event.container_id not in self.outstanding:
            return False
        # The answer of a takedown that timed out is its deadline, to a fraction of a millisecond.
        return self.outcome == "TimedOut" or at >= self.takedown.deadline


class Journal:
    """Observes the feed: subscribe it.

    Args:
        now: the loop's clock.
        keep: finished takedowns that are kept, of each outcome.
        most_steps: events that are kept of one takedown.
        most_weight: events and containers that are kept of all finished takedowns of one outcome.
        most_late: containers whose deletion would be noticed after the answer.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        keep: int = 200,
        most_steps: int = 256,
        most_weight: int = 10_000,
        most_late: int = 10_000,
    ) -> None:
        self._now = now
        self._keep = keep
        self._longest = 2 * most_steps
        self._most_weight = most_weight
        self._most_late = most_late
        self._carried: dict[str, Record] = {}
        self._rings: dict[str, deque[Record]] = {name: deque() for name in OUTCOMES}
        self._weights: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self._finished: dict[str, Record] = {}
        self._awaited: dict[PartitionKey, Record] = {}
        self._numbers = 0
        self.arrows: defaultdict[Key, int] = defaultdict(int)
        self.late_events = 0
        self.durations: dict[str, Histogram] = {name: Histogram() for name in OUTCOMES}
        self.located = Histogram()
        self.acknowledged = Histogram()
        self.deleted = Histogram()

    # ----------------------------------------------------------------------- observing

    def __call__(self, item: FeedItem) -> None:
        """Hear of one transition, arrival or departure."""
        if type(item) is not Transition:
            self._came_or_went(item)
            return
        event = item.event
        source, target = item.source, item.target
        self.arrows[id(source), type(event), id(target)] += 1
        record = self._carried.get(item.actor)
        if record is not None:
            steps = record.steps
            if type(event) is ItemDeleted and item.effects:
                first = item.effects[0]
                if type(first) is ReportStaleDeletion:
                    event = first
            if len(steps) < self._longest:
                steps.append(item.at)
                steps.append(event)
            else:
                record.dropped += 1
            if source is not target:
                if target is State.IDLE:
                    self._finish(record, item)
                record.since = item.at
        elif type(event) is Begin:
            self._carried[item.actor] = Record(item.actor, event.takedown, item.at)
        elif type(event) is not Flush:
            self._came_after(event, item.at)

    def _came_or_went(self, item: FeedItem) -> None:
        if isinstance(item, Left):
            record = self._carried.pop(item.actor, None)
            if record is not None:  # it failed, or was stopped, with a takedown in its hands
                self._retire(record, Failed(), self._now())
            return
        takedown = getattr(item.data, "takedown", None)  # a Transition does not come here
        if takedown is not None:  # it began before we looked
            self._carried[item.actor] = Record(item.actor, takedown, takedown.accepted_at)

    def _finish(self, record: Record, item: Transition) -> None:
        del self._carried[record.actor]
        before = item.before
        if type(before) is ItemsToBeDeleted:
            record.containers = before.containers
            record.outstanding = before.outstanding
            record.confirmed = before.deleted
        for effect in item.effects:
            if type(effect) is Answer:
                self._measure(record, item, effect.outcome)
                self._retire(record, effect.outcome, item.at)
                return

    def _measure(self, record: Record, item: Transition, outcome: Outcome) -> None:
        accepted = record.takedown.accepted_at
        if record.containers is None:
            self.located.observe(item.at - accepted)
            return
        located = record.located = record.since
        self.located.observe(located - accepted)
        steps, takedown_id = record.steps, record.takedown.takedown_id
        for index in range(1, len(steps), 2):
            event = steps[index]
            # It may be an earlier takedown's of the same actor.
            if type(event) is RequestsPublished and event.takedown_id == takedown_id:
                self.acknowledged.observe(steps[index - 1] - located)
                break
        if type(outcome) is Deleted:
            record.outstanding = frozenset()
            record.confirmed = outcome.containers
            self.deleted.observe(item.at - located)

    def _retire(self, record: Record, outcome: Outcome, at: float) -> None:
        name = type(outcome).__name__
        record.outcome = name
        record.ended = at
        self._numbers += 1
        record.number = self._numbers
        self.durations[name].observe(at - record.takedown.accepted_at)
        if type(outcome) is Unavailable:
            record.detail = outcome.detail
        elif type(outcome) is Refused:
            record.detail = outcome.cause
        record.awaited = record.outstanding | {
            each.container_id for each in record.confirmed if each.confirmed_by == "list"
        }
        if record.weight > self._most_weight // 10:  # more than anybody wants to look at
            record.dropped += len(record.steps) // 2
            record.steps.clear()
            record.containers = None
            record.confirmed = ()
        record.own = len(record.steps)
        for container_id in record.awaited:
            if len(self._awaited) >= self._most_late:
                break
            self._awaited[partition_key(record.takedown.item_id, container_id)] = record
        self._finished[record.takedown.takedown_id] = record
        ring = self._rings[name]
        ring.append(record)
        self._weights[name] += record.weight
        while len(ring) > self._keep or self._weights[name] > self._most_weight:
            self._forget(ring.popleft())

    def _forget(self, record: Record) -> None:
        self._weights[record.outcome] -= record.weight
        takedown = record.takedown
        if self._finished.get(takedown.takedown_id) is record:
            del self._finished[takedown.takedown_id]
        for container_id in record.awaited:
            key = partition_key(takedown.item_id, container_id)
            if self._awaited.get(key) is record:
                del self._awaited[key]

    # ----------------------------------------------------------------------- late events

    def unmatched(self, event: ItemDeleted) -> None:
        """A deletion was read that no actor waits for: most are other instances'."""
        if self._awaited:
            self._deleted_after(event, self._now())

    def _came_after(self, event: Any, at: float) -> None:
        """An idle actor was told something: it belongs to a takedown that was answered."""
        if type(event) is ItemDeleted:
            self._deleted_after(event, at)
            return
        record = self._finished.get(getattr(event, "takedown_id", ""))
        if record is None:
            return
        if type(event) is RequestsPublished and record.containers is not None:
            self.acknowledged.observe(at - record.located)
        self._append(record, event, at)

    def _deleted_after(self, event: ItemDeleted, at: float) -> None:
        """A deletion that came after the answer; of each container the first is of interest."""
        record = self._awaited.pop(partition_key(event.item_id, event.container_id), None)
        if record is None:
            return
        if record.is_late_event(event, at):
            self.late_events += 1
            record.late += 1
        self._append(record, event, at)

    def _append(self, record: Record, event: Any, at: float) -> None:
        if len(record.steps) < self._longest:
            record.steps.append(at)
            record.steps.append(event)
            self._weights[record.outcome] += 1
        else:
            record.dropped += 1

    # ----------------------------------------------------------------------- looking

    @property
    def kept(self) -> int:
        """How many finished takedowns are kept."""
        return sum(map(len, self._rings.values()))

    @property
    def in_flight(self) -> int:
        """How many takedowns are in an actor's hands."""
        return len(self._carried)

    def carried_by(self, urn: str) -> Record | None:
        """What this actor carries."""
        return self._carried.get(urn)

    def find(self, takedown_id: str) -> Record | None:
        """A takedown, finished or (which takes a search) in flight."""
        record = self._finished.get(takedown_id)
        if record is not None:
            return record
        for carried in self._carried.values():
            if carried.takedown.takedown_id == takedown_id:
                return carried
        return None

    def finished(self) -> list[Record]:
        """Every finished takedown that is kept, the last one first."""
        records = [record for ring in self._rings.values() for record in ring]
        records.sort(key=_number, reverse=True)
        return records

    def transitions(self) -> int:
        """How many transitions there were."""
        return sum(self.arrows.values())


def _number(record: Record) -> int:
    return record.number
