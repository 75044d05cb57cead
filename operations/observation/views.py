"""Everything that the admin API asks for, in one place.

The service gives the observatory its parts. It reads their statistics and the transition feed, and
changes nothing. What takes long here is done in several iterations of the event loop.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from actors.runtime.dead_letters import DEAD_LETTERS
from operations.observation.actor_rows import ActorRows
from operations.observation.actors import Live
from operations.observation.clock import text_of
from operations.observation.formatting import cut
from operations.observation.lost_messages import RecentLosses
from operations.observation.machines import machine_view
from operations.observation.overview import overview_of
from operations.observation.rates import Sampling
from operations.observation.readings import Readings
from operations.observation.recent import recent_page
from operations.observation.schemas.incidents import CatalogueDoubts, DoubtedItem
from operations.observation.schemas.machines import Machines, MachineSummary
from operations.observation.snapshots import Snapshots
from operations.observation.stale_deletions import StaleDeletions
from operations.observation.statistics import statistics_of
from operations.observation.timeline import timeline
from operations.observation.watchdog import Watch

if TYPE_CHECKING:
    from bus.event_bus import BusStatistics
    from operations.observation.actors import Query
    from operations.observation.clock import Clock
    from operations.observation.history import Journal
    from operations.observation.recent import RecentQuery
    from operations.observation.schemas.actors import ActorDetail, ActorPage
    from operations.observation.schemas.history import History
    from operations.observation.schemas.incidents import Incidents, Losses
    from operations.observation.schemas.machines import MachineView
    from operations.observation.schemas.overview import Overview
    from operations.observation.schemas.statistics import Statistics
    from operations.observation.schemas.takedowns import FinishedPage, Timeline
    from operations.observation.sources import Sources
    from operations.observation.summaries import ActorsSnapshot


class Observatory:
    """Everything that an operator can ask for.

    Args:
        sources: the parts.
        clock: the loop's.
        journal: the history of takedowns; `begin` subscribes it to the feed.

    Attributes:
        losses: dead letters and skipped records.
        stale_deletions: deletions that confirmed nothing.
        sampling: rates and latencies.
        watch: finds what is stuck.
        rows: builds rows of actors.
        live: the live actors.
    """

    def __init__(self, sources: Sources, clock: Clock, journal: Journal) -> None:
        self._sources = sources
        self._clock = clock
        self._started_at = clock.label(clock.now())
        self.journal = journal
        self.losses = RecentLosses(
            clock, dead_letters=lambda: DEAD_LETTERS.count, skipped=sources.skipped
        )
        self.stale_deletions = StaleDeletions(clock)
        readings = Readings(sources, journal, clock)
        self.sampling = Sampling(readings.counters, clock)
        self.watch = Watch(clock=clock, actors=readings.looks, on_tick=self._tick)
        self.rows = ActorRows(journal, clock, self._stuck)
        self.live = Live(
            feed=sources.feed,
            rows=self.rows,
            clock=clock,
            parts=readings.parts,
            stuck=self._stuck,
        )
        self._snapshots = Snapshots(self.live.snapshot, clock)
        self._open = ExitStack()

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

    def _tick(self, lag: float) -> None:
        self._snapshots.drop_old()
        self.sampling.tick(lag)

    def _stuck(self) -> frozenset[str]:
        return self.watch.stuck

    # ------------------------------------------------------------------------ actors

    async def snapshot(self) -> ActorsSnapshot:
        """All actors; the last snapshot while a new one would take too much time."""
        return await self._snapshots.get()

    async def actors(self, query: Query, snapshot: ActorsSnapshot | None = None) -> ActorPage:
        """A page of live actors."""
        return await self.live.page(query, snapshot or await self.snapshot())

    def actor(self, actor_id: str) -> ActorDetail | None:
        """One live actor, or None."""
        summary = self.live.find(actor_id)
        return None if summary is None else self.rows.detail(summary)

    # --------------------------------------------------------------------- takedowns

    def recent(self, query: RecentQuery) -> FinishedPage:
        """A page of finished takedowns, the last one first."""
        return recent_page(self.journal, query, self._clock)

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

    def machines(self, snapshot: ActorsSnapshot) -> Machines:
        """Every machine, and its actors by state."""
        return Machines(
            machines=tuple(
                MachineSummary(
                    name=machine.name,
                    actors=sum(snapshot.states.values()),
                    states={s.value: snapshot.states[s.value] for s in machine.states},
                )
                for machine in self._sources.machines
            )
        )

    def machine(self, name: str, snapshot: ActorsSnapshot) -> MachineView | None:
        """One machine, or None."""
        for machine in self._sources.machines:
            if machine.name == name:
                return machine_view(
                    machine,
                    snapshot.states,
                    self.journal.arrows,
                    self.sampling.arrows_per_second(),
                )
        return None

    def machine_views(self, snapshot: ActorsSnapshot) -> tuple[MachineView, ...]:
        """All of them, whole."""
        views = (self.machine(machine.name, snapshot) for machine in self._sources.machines)
        return tuple(view for view in views if view is not None)

    # ---------------------------------------------------------------- the whole service

    def overview(self, snapshot: ActorsSnapshot) -> Overview:
        """The summary of the service."""
        return overview_of(
            self._sources,
            snapshot,
            journal=self.journal,
            sampling=self.sampling,
            incidents=self.watch.view(),
            started_at=self._started_at,
            now=self._clock.now(),
        )

    def statistics(self) -> Statistics:
        """The statistics of each part."""
        return statistics_of(self._sources, self.journal, self.sampling)

    def bus(self) -> BusStatistics:
        """The event bus's statistics."""
        return self._sources.bus.statistics()

    def states(self) -> tuple[str, ...]:
        """The states of every machine."""
        return self._sources.states()

    def coordinator_mailbox(self) -> int:
        """Messages that wait for the coordinator."""
        coordinator = self._sources.coordinator()
        return 0 if coordinator is None else len(coordinator.actor_inbox)

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
