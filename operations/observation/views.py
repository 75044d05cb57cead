"""All that looks on, put together: what the admin API asks for.

The service gives it its parts; it reads their statistics and the transition feed, and changes
nothing. Whatever takes long here is done in turns of the loop.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from actors.fsm.actor import MachineActor
from actors.runtime.dead_letters import DEAD_LETTERS
from operations.observation.actors import TURN, Glance, Live, Part, Query, Survey, id_of
from operations.observation.clock import text_of
from operations.observation.formatting import cut, facts
from operations.observation.lost_messages import RecentLosses
from operations.observation.machines import machine_view
from operations.observation.paging import encode_cursor
from operations.observation.rates import Counters, Sampling
from operations.observation.schemas.actors import ActorDetail, ActorPage, Timer
from operations.observation.schemas.health import Check, MissingSafeguard
from operations.observation.schemas.incidents import CatalogueDoubts, DoubtedItem, Incidents, Losses
from operations.observation.schemas.machines import Machines, MachineSummary, MachineView
from operations.observation.schemas.overview import Overview
from operations.observation.schemas.statistics import (
    BusFacts,
    CoordinatorFacts,
    DoorFacts,
    FeedFacts,
    LoopFacts,
    OperatorsDoorFacts,
    PublisherFacts,
    ReaderFacts,
    Statistics,
    SupervisionNode,
)
from operations.observation.schemas.takedowns import FinishedPage, Timeline
from operations.observation.stale_deletions import StaleDeletions
from operations.observation.supervision_tree import tree
from operations.observation.timeline import finished_row, progress, timeline
from operations.observation.watchdog import Look, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actors.fsm.machine import Machine
    from actors.fsm.transitions import Observable, TransitionFeed
    from bus.event_bus import BusStatistics, EventBus
    from bus.kafka.publisher import KafkaPublisher
    from bus.kafka.reader import TopicReader
    from catalogue.doubts import ItemDoubt
    from coordinator.coordinator import Coordinator
    from coordinator.readiness import Readiness
    from domain.messages import Takedown
    from operations.observation.clock import Clock
    from operations.observation.history import Journal
    from operations.observation.schemas.history import History

RECENT = "recent"
"""The only order of finished takedowns."""


_REST = 19
"""So many times as long as a look at all actors took, none is taken."""


def _no_doubts(_limit: int) -> tuple[str, int, Sequence[ItemDoubt]]:
    return "", 0, ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The parts that are looked at.

    Attributes:
        feed: every machine.
        machines: the tables of all kinds of machine that join the feed.
        coordinator: the coordinator, once there is one.
        bus: the event bus.
        readers: the topics' readers.
        publisher: the producer.
        catalogue: the catalogue's statistics.
        doubts: the catalogue's topic, how many of its items are in doubt, and the newest of them.
        readiness: every check.
        callers_door: its address and how many connections are open.
        operators_door: the same.
        viewers: open streams, and those that were cut off.
        tasks: the service's own tasks by name, and whether each runs.
    """

    feed: TransitionFeed
    machines: tuple[Machine[Any, Any], ...]
    coordinator: Callable[[], Coordinator | None]
    bus: EventBus
    readers: tuple[TopicReader, ...]
    publisher: KafkaPublisher
    catalogue: Callable[[], object]
    readiness: Readiness
    callers_door: Callable[[], tuple[str, int]]
    operators_door: Callable[[], tuple[str, int]]
    viewers: Callable[[], tuple[int, int]]
    tasks: Callable[[], Mapping[str, bool]]
    doubts: Callable[[int], tuple[str, int, Sequence[ItemDoubt]]] = _no_doubts


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentQuery:
    """Which finished takedowns, and how many; `before` is the number of the last row so far."""

    outcomes: frozenset[str] = frozenset()
    id: str = ""
    item: str = ""
    takedown: str = ""
    limit: int = 50
    before: int | None = None


class Observatory:
    """Everything that an operator can ask for.

    Args:
        sources: the parts.
        clock: the loop's.
        journal: the history of takedowns; `begin` subscribes it to the feed.
    """

    def __init__(self, sources: Sources, clock: Clock, journal: Journal) -> None:
        self._sources = sources
        self._clock = clock
        self._started_at = clock.label(clock.now())
        self.journal = journal
        self.losses = RecentLosses(
            clock, dead_letters=lambda: DEAD_LETTERS.count, skipped=self._skipped
        )
        self.stale_deletions = StaleDeletions(clock)
        self.sampling = Sampling(self._counters, clock)
        self.watch = Watch(clock=clock, actors=self._looks, on_tick=self._tick)
        self.live = Live(
            feed=sources.feed,
            journal=self.journal,
            clock=clock,
            parts=self._parts,
            stuck=lambda: self.watch.stuck,
        )
        self._open = ExitStack()
        self._survey: tuple[float, Survey] | None = None
        self._surveying: asyncio.Task[Survey] | None = None

    @property
    def clock(self) -> Clock:
        """The loop's clock, and labels."""
        return self._clock

    def begin(self) -> None:
        """Watch the feed and the dead letters from now on."""
        self._open.callback(self._sources.feed.subscribe(self.journal))
        self._open.enter_context(DEAD_LETTERS.watch(self.losses.dead_letter))

    def end(self) -> None:
        """Watch them no longer."""
        self._open.close()

    async def run(self) -> None:
        """Tick until cancelled."""
        try:
            await self.watch.run()
        finally:
            self.end()

    # ------------------------------------------------------------------ what is read

    def _counters(self) -> Counters:
        coordinator = self._sources.coordinator()
        known = None if coordinator is None else coordinator.statistics()
        bus = self._sources.bus.statistics()
        journal = self.journal
        durations = [h.counts for h in journal.durations.values()]
        return Counters(
            at=self._clock.now(),
            outcomes={name: sum(h.counts) for name, h in journal.durations.items()},
            durations=[sum(column) for column in zip(*durations, strict=True)],
            located=[*journal.located.counts],
            acknowledged=[*journal.acknowledged.counts],
            deleted=[*journal.deleted.counts],
            arrows=dict(journal.arrows),
            read={r.topic: r.read for r in (each.statistics() for each in self._sources.readers)},
            accepted=0 if known is None else known.accepted,
            rejected=0 if known is None else sum(known.rejected.values()),
            published=self._sources.publisher.statistics().published,
            events=bus.published,
            matched=bus.matched,
            in_flight=0 if known is None else known.in_flight,
        )

    def _looks(self) -> Iterator[Look | None]:
        coordinator = self._sources.coordinator()
        if coordinator is not None:
            yield Look(
                id_of(coordinator.actor_urn),
                "the coordinator",
                len(coordinator.actor_inbox),
                coordinator.handled,
            )
        now = self._clock.now()
        for number, machine in enumerate(self._sources.feed.machines()):
            if number % TURN == TURN - 1:
                yield None
            takedown = getattr(machine.data, "takedown", None)
            waits = isinstance(machine, MachineActor) and len(machine.actor_inbox)
            if waits or (takedown is not None and takedown.deadline < now):
                yield _looked_at(machine, takedown)

    def _parts(self) -> Iterator[Part]:
        coordinator = self._sources.coordinator()
        if coordinator is not None:
            known = coordinator.statistics()
            yield Part(
                id_of(coordinator.actor_urn),
                "Coordinator",
                "Draining" if known.draining else "Open",
                known,
                len(coordinator.actor_inbox),
                coordinator.handled,
                coordinator.restarts,
            )
        for reader in self._sources.readers:
            read = reader.statistics()
            state = "Interrupted"
            if read.positioned:
                state = "Reading" if read.caught_up else "CatchingUp"
            yield Part(
                f"reader-{read.topic}",
                "TopicReader",
                state,
                read,
                handled=read.read,
                restarts=max(0, read.sessions - 1),
            )
        published = self._sources.publisher.statistics()
        yield Part(
            "publisher",
            "KafkaPublisher",
            "Working" if published.working else "Interrupted",
            published,
            handled=published.published,
            restarts=max(0, published.producers - 1),
        )

    # ------------------------------------------------------------------------ actors

    async def survey(self) -> Survey:
        """One look at all actors; the last one, while a new one would take too much of the loop.

        So looking takes a twentieth of the loop's time at most, however many look.
        """
        if self._survey is not None and self._is_fresh(*self._survey):
            return self._survey[1]
        if self._surveying is None:
            self._surveying = asyncio.get_running_loop().create_task(self._look())
        # Shielded: one who goes away does not take the others' survey along.
        return await asyncio.shield(self._surveying)

    async def _look(self) -> Survey:
        try:
            survey = await self.live.survey()
            self._survey = (self._clock.now(), survey)
            return survey
        finally:
            self._surveying = None

    def _is_fresh(self, at: float, survey: Survey) -> bool:
        return self._clock.now() - at < survey.spent * _REST

    def _tick(self, lag: float) -> None:
        if self._survey is not None and not self._is_fresh(*self._survey):
            self._survey = None  # it keeps alive what it saw
        self.sampling.tick(lag)

    async def actors(self, query: Query, survey: Survey | None = None) -> ActorPage:
        """A page of live actors."""
        return await self.live.page(query, survey or await self.survey())

    def actor(self, actor_id: str) -> ActorDetail | None:
        """One live actor, or None."""
        glance = self.live.find(actor_id)
        if glance is None:
            return None
        row = self.live.row(glance)
        subject = glance.subject
        if isinstance(subject, Part):
            return ActorDetail(
                actor=row, timers=(), transitions=(), containers=(), data=facts(subject.facts)
            )
        record = self.journal.carried_by(subject.actor_urn)
        data = subject.data
        return ActorDetail(
            actor=row,
            timers=tuple(
                Timer(name=name, left_seconds=left)
                for name, left in subject.timers.remaining().items()
            ),
            transitions=tuple(self.live.transition(subject, entry) for entry in subject.log),
            containers=progress(
                record,
                getattr(data, "containers", ()),
                getattr(data, "outstanding", frozenset()),
                getattr(data, "deleted", ()),
                self._clock,
            ),
            data=_data(data, glance),
        )

    # --------------------------------------------------------------------- takedowns

    def recent(self, query: RecentQuery) -> FinishedPage:
        """A page of finished takedowns, the last one first."""
        records = [
            record
            for record in self.journal.finished()
            if (not query.outcomes or record.outcome in query.outcomes)
            and (
                record.takedown.item_id.startswith(query.id)
                or record.takedown.takedown_id.startswith(query.id)
            )
            and record.takedown.item_id.startswith(query.item)
            and record.takedown.takedown_id.startswith(query.takedown)
        ]
        left = [r for r in records if query.before is None or r.number < query.before]
        shown = left[: query.limit]
        following = None
        if len(left) > query.limit:
            following = encode_cursor(RECENT, (False, shown[-1].number, ""))
        return FinishedPage(
            total=len(records),
            takedowns=tuple(finished_row(record, self._clock) for record in shown),
            next=following,
        )

    def takedown(self, takedown_id: str) -> Timeline | None:
        """One takedown's timeline, or None if it is not known any more."""
        record = self.journal.find(takedown_id)
        if record is None:
            return None
        data = None
        if not record.outcome:
            machine = self._sources.feed.machine(record.actor)
            data = None if machine is None else machine.data
        return timeline(record, data, self._clock)

    # ---------------------------------------------------------------------- machines

    def machines(self, survey: Survey) -> Machines:
        """Every machine, and its actors by state."""
        return Machines(
            machines=tuple(
                MachineSummary(
                    name=machine.name,
                    actors=sum(survey.states.values()),
                    states={s.value: survey.states[s.value] for s in machine.states},
                )
                for machine in self._sources.machines
            )
        )

    def machine(self, name: str, survey: Survey) -> MachineView | None:
        """One machine, or None."""
        for machine in self._sources.machines:
            if machine.name == name:
                return machine_view(
                    machine,
                    survey.states,
                    self.journal.arrows,
                    self.sampling.arrows_per_second(),
                )
        return None

    def machine_views(self, survey: Survey) -> tuple[MachineView, ...]:
        """All of them, whole."""
        views = (self.machine(machine.name, survey) for machine in self._sources.machines)
        return tuple(view for view in views if view is not None)

    # ------------------------------------------------------------------ at a glance

    def overview(self, survey: Survey) -> Overview:
        """At a glance."""
        sources, now = self._sources, self._clock.now()
        coordinator = self._coordinator()
        health = sources.readiness.health()
        last_minute, latency, phases = self.sampling.last_minute()
        incidents = self.watch.view()
        return Overview(
            started_at=self._started_at,
            ready=health.ready,
            checks=checks_of(health.checks),
            in_flight=coordinator.in_flight if coordinator else 0,
            idle=coordinator.idle if coordinator else 0,
            maximum=coordinator.maximum if coordinator else 0,
            draining=coordinator.draining if coordinator else False,
            states={state: survey.states[state] for state in self.states()},
            waiting_for={
                what: survey.waiting[what] for what in ("catalogue", "acknowledgement", "deletions")
            },
            oldest_seconds=None if survey.oldest is None else now - survey.oldest,
            nearest_deadline_seconds=None if survey.nearest is None else survey.nearest - now,
            accepted=coordinator.accepted if coordinator else 0,
            outcomes=coordinator.outcomes if coordinator else {},
            rejected=coordinator.rejected if coordinator else {},
            per_second=self.sampling.per_second(),
            last_minute=last_minute,
            latency=latency,
            phases=phases,
            loop=self._loop(),
            behind={r.topic: r.behind for r in (each.statistics() for each in sources.readers)},
            restarts=coordinator.restarts if coordinator else 0,
            replaced=coordinator.replaced if coordinator else 0,
            dead_letters=DEAD_LETTERS.count,
            skipped_records=self._skipped(),
            late_events=self.journal.late_events,
            stuck=incidents.stuck,
            stuck_count=incidents.stuck_count,
        )

    def _coordinator(self) -> CoordinatorFacts | None:
        coordinator = self._sources.coordinator()
        if coordinator is None:
            return None
        return msgspec.convert(coordinator.statistics(), CoordinatorFacts, from_attributes=True)

    def _loop(self) -> LoopFacts:
        return LoopFacts(
            lag_seconds=self.sampling.lag,
            lag_max_seconds=self.sampling.worst_lag,
        )

    def bus(self) -> BusStatistics:
        """What the event bus says of itself."""
        return self._sources.bus.statistics()

    def states(self) -> tuple[str, ...]:
        """The states that there are."""
        return tuple(s.value for machine in self._sources.machines for s in machine.states)

    def coordinator_mailbox(self) -> int:
        """Messages that wait for the coordinator."""
        coordinator = self._sources.coordinator()
        return 0 if coordinator is None else len(coordinator.actor_inbox)

    def _skipped(self) -> int:
        return sum(reader.statistics().skipped for reader in self._sources.readers)

    def statistics(self) -> Statistics:
        """What each part says of itself."""
        sources = self._sources
        rates = self.sampling.per_second()
        read = self.sampling.read_per_second()
        callers, callers_connections = sources.callers_door()
        operators, operators_connections = sources.operators_door()
        viewers, cut = sources.viewers()
        return Statistics(
            coordinator=self._coordinator(),
            supervision=self._supervision(),
            bus=_facts_of(
                sources.bus.statistics(),
                BusFacts,
                late=self.journal.late_events,
                published_per_second=rates.events_read,
                matched_per_second=rates.events_matched,
            ),
            readers=tuple(
                _facts_of(
                    each,
                    ReaderFacts,
                    positions={str(number): at for number, at in each.positions.items()},
                    read_per_second=read.get(each.topic, 0.0),
                )
                for each in (reader.statistics() for reader in sources.readers)
            ),
            publisher=_facts_of(
                sources.publisher.statistics(),
                PublisherFacts,
                published_per_second=rates.published,
            ),
            catalogue=facts(sources.catalogue()),
            feed=FeedFacts(
                machines=len(sources.feed),
                failures=sources.feed.failures,
                transitions=self.journal.transitions(),
                per_second=rates.transitions,
                takedowns_kept=self.journal.kept,
            ),
            loop=self._loop(),
            tasks=len(asyncio.all_tasks()),
            callers_door=DoorFacts(address=callers, connections=callers_connections),
            operators_door=OperatorsDoorFacts(
                address=operators,
                connections=operators_connections,
                viewers=viewers,
                viewers_cut=cut,
            ),
            dead_letters=DEAD_LETTERS.count,
            skipped_records=self._skipped(),
        )

    def _supervision(self) -> SupervisionNode:
        coordinator = self._sources.coordinator()
        return tree(coordinator, len(self._sources.feed), self._sources.tasks())

    def history(self, minutes: int) -> History:
        """Outcomes and latency of the last minutes."""
        return self.sampling.history(minutes)

    def incidents(self) -> Incidents:
        """What is stuck, and what was."""
        return self.watch.view()

    def doubts(self, limit: int) -> CatalogueDoubts:
        """The items in doubt, the newest first."""
        topic, total, newest = self._sources.doubts(limit)
        return CatalogueDoubts(
            total=total,
            doubts=tuple(
                DoubtedItem(
                    item_id=one.item_id,
                    topic=topic,
                    partition=one.doubt.partition,
                    offset=one.doubt.offset,
                    doubted_at=text_of(one.doubt.doubted_at),
                    reason=cut(one.doubt.reason),
                )
                for one in newest
            ),
        )

    def lost(self) -> Losses:
        """Dead letters, skipped records and stale deletions."""
        return msgspec.structs.replace(
            self.losses.view(),
            stale_deletions=self.stale_deletions.view(),
            stale_deletions_count=self.stale_deletions.count,
        )


def checks_of(checks: Mapping[str, str | None]) -> dict[str, Check]:
    """Readiness checks as they are shown."""
    return {
        name: Check(ok=problem is None, detail=problem or "ok") for name, problem in checks.items()
    }


def safeguards_of(missing: Mapping[str, str]) -> list[MissingSafeguard]:
    """Missing safeguards as they are shown, by name."""
    return [MissingSafeguard(name=name, why=why) for name, why in sorted(missing.items())]


def _looked_at(machine: Observable, takedown: Takedown | None) -> Look:
    actor = machine if isinstance(machine, MachineActor) else None
    return Look(
        id_of(machine.actor_urn),
        f"an {machine.machine_name}",
        0 if actor is None else len(actor.actor_inbox),
        0 if actor is None else actor.handled,
        None if takedown is None else takedown.deadline,
        None if takedown is None else takedown.takedown_id,
        None if takedown is None else takedown.item_id,
    )


def _facts_of(statistics: object, shape: Any, **more: object) -> Any:
    """A part's statistics as this shape; `more` is what the part itself does not know."""
    taken = {
        field.name: getattr(statistics, field.name)
        for field in msgspec.structs.fields(shape)
        if field.name not in more
    }
    return shape(**taken, **more)


def _data(data: object, glance: Glance) -> dict[str, Any]:
    """What a machine's data says, without what the row and the containers say."""
    takedown = glance.takedown
    shown: dict[str, Any] = {"type": type(data).__name__}
    if takedown is not None:
        shown["traceparent"] = takedown.traceparent
    for name in ("publishing", "due", "published", "vanished"):
        if hasattr(data, name):
            shown[name] = len(getattr(data, name))
    for name in ("proven", "doubted"):
        if hasattr(data, name):
            shown[name] = getattr(data, name)
    return shown
