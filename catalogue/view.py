"""The view of `item_published`.

What it knows it tells at once, if it has read the topic to its end since it connected. What it
does not know, it does not take for an answer: the item may have been published a moment ago. So on
a miss it waits until the topic is read to its end as it was then, and only then says that the item
is unknown: a 404 is evidence, or it is not given.

What it holds is kept in a store, together with how far the topic was read, so that a restart goes
on from there. If the store is damaged, or the topic is another one, all is read again.

Which list of an item is its newest? In one partition the later record. But an item's records are
in several partitions once partitions were added to the topic, and between partitions there is no
order: the list that is newer by its own time counts then. That something is gone has to be
remembered for this as well, until everything is read that may be older.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from bus.codec import decode_item_published, item_id_from_key
from bus.topic_identity import TopicIdentity
from catalogue.entries import (
    DamagedEntry,
    Listed,
    key_of,
    pack,
    partition_of,
    unpack,
)
from catalogue.store import StoreDamaged, StoreUnavailable
from catalogue.write_behind import INTERVAL, MOST, MUCH, Reached, WriteBehind
from errors import KafkaUnavailable
from messages import CatalogueUnavailable, ContainersFound, ItemUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bus.log_marks import LogMark
    from bus.reader import Record
    from catalogue.store import Store
    from messages import Container, ItemId, Takedown

logger = logging.getLogger("takedown.catalogue")

Tell = Callable[[Any], object]
OnChange = Callable[["ItemId", tuple["Container", ...], datetime], object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SWEEP = 5.0
"""Seconds between two looks at which tombstones are not needed any more."""

_TURN = 500
"""Tombstones that are taken away before others on the loop have their turn."""

_MARGIN = 0.1
"""Seconds before the deadline at which a search is given up, so that its answer is in time."""


class Log(Protocol):
    """The topic behind the view."""

    @property
    def caught_up(self) -> bool:
        """Whether all is read that was there when we connected."""

    async def catch_up(self) -> None:
        """Wait until all is read that was there when this was called; `KafkaUnavailable`."""

    def read_again(self, reason: str) -> None:
        """Read everything again; not caught up from now on. `rewind` follows."""


@dataclass(frozen=True, slots=True)
class CatalogueStatistics:
    """What the view holds and was asked.

    Attributes:
        items: items that are in at least one container, as of the last transaction.
        containers: their containers.
        pending: changes that are read and not kept yet.
        commits: transactions since the start.
        bytes: the store's size on disk.
        problem: why nothing can be kept now; empty if it can.
        hits: searches that were answered at once.
        misses: searches that had to wait for evidence.
        waiting: searches that wait now.
        rebuilds: how often all was read again since the start.
        overtaken: records that were older than what another partition had said of their item.
    """

    items: int
    containers: int
    pending: int
    commits: int
    bytes: int
    problem: str
    hits: int
    misses: int
    waiting: int
    rebuilds: int
    overtaken: int


def _time_of(record: Record) -> datetime:
    """When a record was written, by whoever wrote it: any number, or none."""
    try:
        return _EPOCH + timedelta(milliseconds=record.timestamp)
    except (TypeError, OverflowError):
        return _EPOCH


class CatalogueView:
    """Every item's current containers.

    Feed it the records of `item_published` in their order through `apply`, with `advance` after
    each round of them, and give it the log that they come from with `attach`. `start` first, and
    `run` writes what was read.

    Args:
        store: where it is kept.
        on_change: told each new list as a search would find it, but not while all is read (again).
        on_rebuilt: called when all was read again: what was found before may have changed.
        interval, much, most: see `WriteBehind`.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_change: OnChange | None = None,
        on_rebuilt: Callable[[], object] | None = None,
        interval: float = INTERVAL,
        much: int = MUCH,
        most: int = MOST,
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._on_rebuilt = on_rebuilt
        self._entries = WriteBehind(
            store, on_damage=self._lose, interval=interval, much=much, most=most
        )
        self._log: Log | None = None
        self._started = asyncio.Event()
        self._lost = ""
        self._building = True
        self._rebuilds = 0
        self._overtaken = 0
        self._tombstones: set[bytes] = set()
        self._searches: set[asyncio.Task[None]] = set()
        self._hits = 0
        self._misses = 0

    def attach(self, log: Log) -> None:
        """Name the log that `apply` is fed from."""
        self._log = log

    async def start(self) -> None:
        """Open the store. Takes longer after a crash: then all of it is checked first."""
        await self._store.ready()
        self._started.set()

    async def run(self) -> None:
        """Keep what was read, and hear what the check of the store says; until cancelled."""
        await self._started.wait()
        others = (
            asyncio.ensure_future(self._prove()),
            asyncio.ensure_future(self._sweep_tombstones()),
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
            self._lose(str(error))

    async def _sweep_tombstones(self) -> None:
        """Take tombstones away once all is read that was written before they were read."""
        try:
            self._tombstones.update(await self._store.tombstones())
        except StoreDamaged as error:
            self._lose(str(error))
        while True:
            await asyncio.sleep(_SWEEP)
            old, self._tombstones = self._tombstones, set()
            if not old or self._log is None:
                continue
            rebuilds = self._rebuilds
            try:
                await self._log.catch_up()
            except KafkaUnavailable:
                if rebuilds == self._rebuilds:
                    self._tombstones |= old
                continue
            await self._take_away(old)

    async def _take_away(self, old: set[bytes]) -> None:
        for number, key in enumerate(old):
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            if key not in self._tombstones:  # another tombstone of the same item is newer
                # What cannot be read costs room, no more.
                with contextlib.suppress(StoreDamaged, StoreUnavailable, DamagedEntry):
                    value = self._entries.get(key)
                    if value is not None and not unpack(key, value).containers:
                        self._entries.put(key, None)

    def statistics(self) -> CatalogueStatistics:
        """What it holds and was asked."""
        kept = self._store.statistics()
        return CatalogueStatistics(
            items=kept.items,
            containers=kept.containers,
            pending=self._entries.pending,
            commits=kept.commits,
            bytes=kept.bytes,
            problem=self._entries.problem,
            hits=self._hits,
            misses=self._misses,
            waiting=len(self._searches),
            rebuilds=self._rebuilds,
            overtaken=self._overtaken,
        )

    def why_not_ready(self) -> str | None:
        """What is wrong with the view itself, in words; None if nothing is."""
        if not self._started.is_set():
            return "what was kept is being checked"
        return self._lost or self._entries.problem or None

    # ------------------------------------------------------------------------ the view

    def resume(
        self,
    ) -> tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None:
        """The positions to go on from, and in which log; None to begin at the beginning."""
        kept = self._store.kept()
        if kept is None:
            return None
        return kept.positions, TopicIdentity(kept.cluster_id, kept.topic_id), {}

    def apply(self, record: Record) -> None:
        """Take over one record: the item's new list, or a null value, which ends it.

        Raises:
            UnreadableRecord: it is not what the contract says; the view is as before.
        """
        if record.value is None:
            item_id = item_id_from_key(record.key)
            containers: tuple[Container, ...] = ()
            listed_at = _time_of(record)
        else:
            message = decode_item_published(record.value)
            item_id, containers = message.item_id, message.containers
            listed_at = message.published_at
        building = self._is_building()  # before this record is in it
        key = key_of(item_id)
        if self._is_overtaken(key, listed_at, record.partition):
            self._overtaken += 1
            return
        self._entries.put(key, pack(key, containers, listed_at, record.partition))
        if not containers:
            self._tombstones.add(key)
        if self._on_change is not None and not building:
            self._on_change(item_id, containers, listed_at)

    def _is_overtaken(self, key: bytes, listed_at: datetime, partition: int) -> bool:
        """Whether another partition has told something newer of this item."""
        if self._lost:
            return False
        try:
            value = self._entries.get(key)
            if value is None or partition_of(value) == partition:
                return False
            return listed_at < unpack(key, value).listed_at
        except (StoreDamaged, StoreUnavailable, DamagedEntry) as error:
            self._lose(str(error))  # whatever is kept of it now may be the older one
            return False

    async def advance(
        self,
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark] = MappingProxyType({}),
    ) -> None:
        """All records below these positions were applied. Waits while too much is not kept yet."""
        if self._lost:
            return
        self._is_building()
        log = identity or TopicIdentity("", "")
        await self._entries.reached(Reached(positions, log.cluster_id, log.topic_id))

    def _is_building(self) -> bool:
        """Whether all is read (again). It ends as soon as searches are answered.

        So it is asked with each record: a search may have been answered since the last round.
        """
        if self._building and self._log is not None and self._log.caught_up:
            self._building = False
            if self._on_rebuilt is not None:
                self._on_rebuilt()
        return self._building

    def rewind(self) -> None:
        """Forget everything: the log is read again from its beginning."""
        self._lost = ""
        self._building = True
        self._rebuilds += 1
        self._tombstones = set()
        self._entries.begin_again()

    def _lose(self, reason: str) -> None:
        """The store is not to be believed: from now on nothing is known."""
        if self._lost:
            return
        self._lost = f"it is made again: {reason}"
        logger.error("The catalogue is damaged and is made again from its topic: %s", reason)
        if self._log is not None:
            self._log.read_again("the catalogue is damaged")

    # ------------------------------------------------------------------------ searches

    def known(self, item_id: ItemId) -> Listed | None:
        """The item's list as it was last read; None if none is known, or not for now."""
        try:
            return self._look_up(item_id)
        except StoreUnavailable:
            return None

    def _look_up(self, item_id: ItemId) -> Listed | None:
        if self._lost:
            return None
        key = key_of(item_id)
        try:
            value = self._entries.get(key)
            listed = unpack(key, value) if value is not None else None  # its checksum comes first
        except (StoreDamaged, DamagedEntry) as error:
            self._lose(str(error))
            return None
        return listed if listed is not None and listed.containers else None

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell what is known of the takedown's item, now or once it is certain."""
        if self._log is not None and self._log.caught_up:
            found = self.known(takedown.item_id)
            if found is not None:
                self._hits += 1
                tell(ContainersFound(takedown.takedown_id, found.containers, found.listed_at))
                return
        self._misses += 1
        search = asyncio.get_running_loop().create_task(self._search(takedown, tell))
        self._searches.add(search)
        search.add_done_callback(self._searches.discard)

    async def _search(self, takedown: Takedown, tell: Tell) -> None:
        takedown_id = takedown.takedown_id
        try:
            async with asyncio.timeout_at(takedown.deadline - _MARGIN):
                found = await self._find(takedown.item_id)
        except TimeoutError:
            reason = "the catalogue is behind its topic and did not catch up in time"
            tell(CatalogueUnavailable(takedown_id, reason))
        except KafkaUnavailable as error:
            tell(CatalogueUnavailable(takedown_id, f"the catalogue may be behind: {error}"))
        except (StoreDamaged, StoreUnavailable) as error:
            tell(CatalogueUnavailable(takedown_id, f"the catalogue cannot be searched: {error}"))
        except Exception as error:
            logger.exception("Defect while searching")
            tell(CatalogueUnavailable(takedown_id, f"defect in the catalogue: {error!r}"))
        else:
            if found is None:
                tell(ItemUnknown(takedown_id))
            else:
                tell(ContainersFound(takedown_id, found.containers, found.listed_at))

    async def _find(self, item_id: ItemId) -> Listed | None:
        """The item's list; None on evidence that there is none."""
        if self._log is None:
            raise KafkaUnavailable("the catalogue has no log")
        if self._lost:
            raise StoreDamaged(self._lost)
        await self._log.catch_up()
        found = self._certain(item_id)
        if found is None and not self._entries.fresh:
            # That something is not there is said of all that is kept.
            rebuilds = self._rebuilds
            await self._store.proven()
            if rebuilds != self._rebuilds:
                raise StoreDamaged("it was read again meanwhile")
            found = self._certain(item_id)
        return found

    def _certain(self, item_id: ItemId) -> Listed | None:
        found = self._look_up(item_id)
        if self._lost:
            raise StoreDamaged(self._lost)
        return found

    async def stop(self) -> None:
        """Give up the searches that wait."""
        searches = tuple(self._searches)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)

    async def close(self) -> None:
        """Keep what is left to be kept, and close the store. Call it when nothing is read."""
        try:
            if not self._lost:
                await self._entries.write()
        finally:
            await self._store.close()
