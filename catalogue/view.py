"""The view of `item_published`: every item's current containers.

The view puts its parts together and drives them:

- `updates` applies the records to the entries, and decides which list of an item is its newest;
- `searches` answers where an item is, at once or on evidence (`proofs`);
- `lookup` has what is held of one item; `doubts` and `gaps` have what cannot be known;
- `tombstones` removes what is gone; `freshness` decides whether null values may have been missed;
- `validity` has whether anything counts now.

The entries are stored together with how far the topic was read (`store/`), so that a restart reads
on from there. If the store is damaged, or the topic is another one, or the store was not brought up
to date for so long that null values may be gone, all is read again.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bus.kafka.topic_identity import TopicIdentity
from catalogue.freshness import Freshness
from catalogue.gaps import Gaps
from catalogue.lookup import Lookup
from catalogue.searches import Searches
from catalogue.statistics import CatalogueStatistics
from catalogue.store.store import StoreDamaged, StoreUnavailable
from catalogue.store.write_behind import INTERVAL, MOST, MUCH, Reached, WriteBehind
from catalogue.tombstones import Tombstones
from catalogue.topic_content import TopicContent
from catalogue.updates import Updates
from catalogue.validity import Validity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.kafka.log_marks import LogMark
    from bus.kafka.safeguards import Safeguards
    from catalogue.doubts import ItemDoubt
    from catalogue.store.store import Store
    from catalogue.updates import OnChange, OnDoubt
    from catalogue.validity import Log

logger = logging.getLogger("takedown.catalogue")

_TOUCH = 30.0
"""Seconds between two dates in the store, while nothing new is read."""


class CatalogueView:
    """Every item's current containers.

    Pass the records of `item_published` in their order to `apply`, call `advance` after each round
    of them, and give it the log that they come from with `attach`. `start` first, and `run` writes
    what was read.

    Args:
        store: where the entries are stored.
        topic: the topic's name, for people.
        on_change: called with each new list as a search would find it, but not while all is read
            (again).
        on_doubt: called with each item that comes into doubt, and when, likewise.
        on_gap: called when any item may have come into doubt: `doubt` says which, likewise.
        on_rebuilt: called when all was read again: what was found before may have changed.
        waits_for_evidence: report no hit before it is shown that no newer list was missed. For
            takedowns that do not follow newer lists.
        may_be_empty: whether a topic that never had a record, or only such as are no lists, is
            evidence for a 404.
        utc_now: the wall clock, to date what is stored.
        delete_retention: the topic's `delete.retention.ms` in seconds; None if it is not known.
        safeguards: notified that null values may have been missed, and of gaps.
        wait_for_kafka: seconds after a takedown was accepted within which its search is repeated if
            the log cannot be read.
        why_no_room: why no takedown of so many containers may begin now; None if one may. Called
            before a list is decoded, since that takes long for many.
        interval, much, most: see `WriteBehind`.

    Attributes:
        apply, unreadable: methods of `Updates`.
        locate: method of `Searches`.
        known, doubt: methods of `Lookup`. As the others they are attributes, without a call in
            between, since there is a call for each record or takedown.
    """

    def __init__(
        self,
        store: Store,
        *,
        topic: str = "item_published",
        on_change: OnChange | None = None,
        on_doubt: OnDoubt | None = None,
        on_gap: Callable[[], object] | None = None,
        on_rebuilt: Callable[[], object] | None = None,
        waits_for_evidence: bool = False,
        may_be_empty: bool = True,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        delete_retention: Callable[[], float | None] = lambda: None,
        safeguards: Safeguards | None = None,
        wait_for_kafka: float = 0.0,
        why_no_room: Callable[[int], str | None] = lambda _containers: None,
        interval: float = INTERVAL,
        much: int = MUCH,
        most: int = MOST,
    ) -> None:
        self._store = store
        self._safeguards = safeguards
        self._within_retention = f"{topic}: read within delete.retention.ms"
        self._started = asyncio.Event()
        self._freshness = Freshness(utc_now, delete_retention)
        self._content = TopicContent(topic, may_be_empty=may_be_empty)
        self._gaps = gaps = Gaps()
        self._validity = validity = Validity(on_rebuilt)
        self._entries = entries = WriteBehind(
            store, on_damage=validity.damaged, interval=interval, much=much, most=most
        )
        self._tombstones = Tombstones(store, entries, gaps, validity)
        lookup = Lookup(entries, gaps, validity)
        self._updates = Updates(
            entries=entries,
            lookup=lookup,
            validity=validity,
            content=self._content,
            gaps=gaps,
            tombstones=self._tombstones,
            utc_now=utc_now,
            safeguards=safeguards,
            on_change=on_change,
            on_doubt=on_doubt,
            on_gap=on_gap,
        )
        self._searches = Searches(
            lookup=lookup,
            validity=validity,
            content=self._content,
            store=store,
            entries=entries,
            waits_for_evidence=waits_for_evidence,
            wait_for_kafka=wait_for_kafka,
            why_no_room=why_no_room,
        )
        self.apply, self.unreadable = self._updates.apply, self._updates.unreadable
        self.locate = self._searches.locate
        self.known, self.doubt = lookup.known, lookup.doubt

    def attach(self, log: Log) -> None:
        """Name the log that the records come from."""
        self._validity.log = log

    # ------------------------------------------------------------------------- running

    async def start(self) -> None:
        """Open the store. Takes longer after a crash: then all of it is checked first."""
        await self._store.ready()
        try:
            self._updates.load(await self._store.doubts())
        except StoreDamaged as error:
            self._validity.damaged(str(error))
        self._started.set()

    async def run(self) -> None:
        """Store what was read, and wait for the check of the store; until cancelled."""
        await self._started.wait()
        others = (
            asyncio.ensure_future(self._prove()),
            asyncio.ensure_future(self._tombstones.run()),
            asyncio.ensure_future(self._date_store()),
        )
        try:
            await self._entries.run()
        finally:
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _prove(self) -> None:
        try:
            await self._store.proven()
        except StoreDamaged as error:
            self._validity.damaged(str(error))
        except StoreUnavailable:  # all is read again, which proves it as well
            return
        else:
            self._validity.checked = True

    async def _date_store(self) -> None:
        """Store when the log was last read to its end, also while nothing new comes."""
        while True:
            await asyncio.sleep(_TOUCH)
            if not self._validity.invalid and self._validity.caught_up:
                self._entries.touch()

    async def stop(self) -> None:
        """Give up the searches that wait, and report nothing more."""
        await self._searches.stop()

    async def close(self) -> None:
        """Store what is left to be stored, and close the store. Call it when nothing is read."""
        try:
            if not self._validity.invalid:
                self._entries.touch()
                await self._entries.write()
        finally:
            await self._store.close()

    # -------------------------------------------------------------------- its condition

    def statistics(self) -> CatalogueStatistics:
        """What it holds and was asked."""
        stored = self._store.statistics()
        return CatalogueStatistics(
            items=stored.items,
            containers=stored.containers,
            pending=self._entries.pending,
            commits=stored.commits,
            bytes=stored.bytes,
            problem=self._entries.problem,
            hits=self._searches.hits,
            misses=self._searches.misses,
            waiting=self._searches.waiting,
            rebuilds=self._validity.rebuilds,
            overtaken=self._updates.overtaken,
            in_doubt=self._updates.doubts.total,
            proving=self._searches.proving,
        )

    def doubts(self, limit: int) -> tuple[int, tuple[ItemDoubt, ...]]:
        """How many items are in doubt, and the newest of them, at most `limit` (and 1000)."""
        doubts = self._updates.doubts
        return doubts.total, doubts.newest(limit)

    def why_not_ready(self) -> str | None:
        """What is wrong with the view itself, in words; None if nothing is."""
        if not self._started.is_set():
            return "the stored catalogue is being checked"
        if problem := self._validity.invalid or self._entries.problem:
            return problem
        if not self._validity.caught_up:
            return None
        return self._content.why_empty(self._validity.log)

    def distrust(self) -> str | None:
        """Why what was read may not be read on from, in words; None if it may.

        For the start of each of the log's sessions: a reason means that all has to be read again.
        """
        if self._gaps.were_stored:
            return "some of its records could not be read, and may be gone or readable now"
        return self._freshness.too_old() or self._content.distrust()

    # --------------------------------------------------------------- following the log

    def resume(self) -> tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None:
        """The positions to read on from, in which log, and its marks; None to begin anew."""
        kept = self._store.kept()
        if kept is None:
            self._freshness.begin()
            return None
        self._freshness.resume(kept.caught_up_at)
        self._content.resume(kept)
        return kept.positions, TopicIdentity(kept.cluster_id, kept.topic_id), kept.marks

    async def advance(
        self,
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark] | None = None,
    ) -> None:
        """All records below these positions were applied. Waits while too much is not stored yet.

        Args:
            positions: the next offset of each partition.
            identity: which log that is.
            marks: what was last read of each partition.
        """
        if self._validity.invalid:
            return
        self._validity.end_rebuild()
        if self._validity.caught_up and not self._date():
            return
        log = identity or TopicIdentity("", "")
        await self._entries.reached(
            Reached(positions, log.cluster_id, log.topic_id, marks or {}),
            self._freshness.caught_up_at,
        )

    def _date(self) -> bool:
        """Note that the log is read to its end; False if that came too late to be trusted."""
        late = self._freshness.at_end()
        if late is None:
            return True
        if not late.from_beginning:
            self._validity.outdated(late.reason)
            return False
        # To read it once more would take as long.
        logger.warning("The catalogue may hold items that are gone: %s", late.reason)
        if self._safeguards is not None:
            self._safeguards.missing(self._within_retention, late.reason)
        return True

    def rewind(self) -> None:
        """Forget everything: the log is read again from its beginning."""
        self._validity.begin_rebuild()
        self._content.clear()
        self._updates.clear()
        self._freshness.begin()
        if self._safeguards is not None:
            self._safeguards.present(self._within_retention)
        self._entries.begin_again()
