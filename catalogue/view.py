"""The view of `item_published`.

What it knows it tells at once, if it has read the topic to its end since it connected; and when the
topic is read to the end that it had then, it tells that no newer list was missed (see `proofs`).
What it does not know, it does not take for an answer: the item may have been published a moment
ago. So on a miss it waits until the topic is read to its end as it was then, and only then says
that the item is unknown: a 404 is evidence, or it is not given.

A record that cannot be read puts the items that it names *in doubt*: where they are is not known
until a readable list or a null value arrives. A doubt is stored as a list is, and ordered between
partitions as a null value is: by the record's own time. Where not even the items are known, each
item is in doubt whose record is not newer (see `gaps`).

What it holds is kept in a store, together with how far the topic was read, so that a restart goes
on from there. If the store is damaged, or the topic is another one, or the store was not brought
up to date for so long that null values may be gone (see `freshness`), all is read again.

Which list of an item is its newest? In one partition the later record. But an item's records are
in several partitions once partitions were added to the topic, and between partitions there is no
order: the list that is newer by its own time counts then, and of two lists of the same time the one
that was written later. That something is gone has to be remembered for this as well, until
everything is read that may be older.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from bus.kafka.codec import decode_item_published
from bus.kafka.keys import item_id_from_key, named_by_key, named_by_value
from bus.kafka.topic_identity import TopicIdentity
from catalogue.doubts import Doubts
from catalogue.freshness import Freshness
from catalogue.gaps import Gaps
from catalogue.proofs import Proofs
from catalogue.store.entries import (
    DamagedEntry,
    Doubt,
    Listed,
    count,
    is_doubt,
    key_of,
    pack,
    pack_doubt,
    partition_of,
    times_of,
    unpack,
)
from catalogue.store.store import StoreDamaged, StoreUnavailable
from catalogue.store.write_behind import INTERVAL, MOST, MUCH, Reached, WriteBehind
from domain.errors import KafkaUnavailable
from domain.messages import CatalogueUnavailable, ContainersFound, ItemUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bus.kafka.batches import Unreadable
    from bus.kafka.log_marks import LogMark
    from bus.kafka.read_barrier import Waiter
    from bus.kafka.record_handler import Record
    from bus.kafka.safeguards import Safeguards
    from catalogue.doubts import ItemDoubt
    from catalogue.store.store import Store
    from domain.messages import Container, ItemId, Takedown, UnavailableReason

logger = logging.getLogger("takedown.catalogue")

Tell = Callable[[Any], object]
OnChange = Callable[["ItemId", tuple["Container", ...], datetime], object]
OnDoubt = Callable[["ItemId", datetime], object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SWEEP = 5.0
"""Seconds between two looks at which tombstones are not needed any more."""

_TURN = 500
"""Tombstones that are taken away before others on the loop have their turn."""

_TOUCH = 30.0
"""Seconds between two dates in the store, while nothing new is read."""

_RETRY = 0.05
"""Seconds until a search is repeated while Kafka is away."""

_MARGIN = 0.1
"""Seconds before the deadline at which a search is given up, so that its answer is in time."""


class Log(Protocol):
    """The topic behind the view."""

    @property
    def caught_up(self) -> bool:
        """Whether all is read that was there when we connected, and what came since."""

    @property
    def never_written(self) -> bool:
        """Whether no partition ever had a record, as far as it is known; removed ones count."""

    async def catch_up(self) -> None:
        """Wait until all is read that was there when this was called; `KafkaUnavailable`."""

    def prove_to(self, waiter: Waiter) -> None:
        """As `catch_up`, and tells the waiter, at once if it fails already."""

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
        in_doubt: items in doubt, as of now.
        proving: hits for which it is not shown yet that no newer list was missed.
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
    in_doubt: int = 0
    proving: int = 0


class _NoEvidence(Exception):
    """It is not known where the item is, or not to be told now."""

    def __init__(self, reason: str, code: UnavailableReason = "not-ready", plain: str = "") -> None:
        super().__init__(reason)
        self.code: UnavailableReason = code
        self.plain = plain


def _read(record: Record) -> tuple[ItemId, tuple[Container, ...], datetime]:
    """The item of a record, its containers (none: it is gone), and since when.

    Raises:
        UnreadableRecord: it is not what the contract says.
    """
    if record.value is None:
        return item_id_from_key(record.key), (), _time_of(record)
    message = decode_item_published(record.value)
    return message.item_id, message.containers, message.published_at


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
        topic: the topic's name, for people.
        on_change: told each new list as a search would find it, but not while all is read (again).
        on_doubt: told of each item that comes into doubt, and when, likewise.
        on_gap: called when any item may have come into doubt: `doubt` says which, likewise.
        on_rebuilt: called when all was read again: what was found before may have changed.
        waits_for_evidence: report no hit before it is shown that no newer list was missed. For
            takedowns that do not follow newer lists.
        may_be_empty: whether a topic that never had a record, or only such as are no lists, is
            evidence for a 404.
        utc_now: the wall clock, to date what is stored.
        delete_retention: the topic's `delete.retention.ms` in seconds; None if it is not known.
        safeguards: told that null values may have been missed.
        wait_for_kafka: seconds after a takedown was accepted within which its search is repeated if
            the log cannot be read.
        why_no_room: why no takedown of so many containers may begin now; None if one may. Asked
            before a list is decoded, since that takes long for many.
        interval, much, most: see `WriteBehind`.
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
        self._topic = topic
        self._waits_for_evidence = waits_for_evidence
        self._may_be_empty = may_be_empty
        self._safeguards = safeguards
        self._wait_for_kafka = wait_for_kafka
        self._why_no_room = why_no_room
        self._on_change = on_change
        self._on_doubt = on_doubt
        self._on_gap = on_gap
        self._utc_now = utc_now
        self._on_rebuilt = on_rebuilt
        self._entries = WriteBehind(
            store, on_damage=self._lose, interval=interval, much=much, most=most
        )
        self._log: Log | None = None
        self._started = asyncio.Event()
        self._freshness = Freshness(utc_now, delete_retention)
        self._within_retention = f"{topic}: read within delete.retention.ms"
        self._proofs = Proofs(valid=self._is_proof, margin=_MARGIN)
        self._doubts = Doubts()
        self._gaps = Gaps()
        self._checked = False
        self._lost = ""
        self._building = True
        self._rebuilds = 0
        self._overtaken = 0
        self._readable = False
        self._unreadable = False
        self._stored_no_list = False
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
        try:
            stored = await self._store.doubts()
            self._doubts.load(stored)
            self._gaps.load(stored)
            self._report_gaps()
        except StoreDamaged as error:
            self._lose(str(error))
        self._started.set()

    async def run(self) -> None:
        """Keep what was read, and hear what the check of the store says; until cancelled."""
        await self._started.wait()
        others = (
            asyncio.ensure_future(self._prove()),
            asyncio.ensure_future(self._sweep_tombstones()),
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
            self._lose(str(error))
        except StoreUnavailable:  # all is read again, which proves it as well
            return
        else:
            self._checked = True

    async def _date_store(self) -> None:
        """Store when the log was last read to its end, also while nothing new comes."""
        while True:
            await asyncio.sleep(_TOUCH)
            if not self._lost and self._log is not None and self._log.caught_up:
                self._entries.touch()

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
            if self._gaps:  # without its tombstone an item would be in doubt
                self._tombstones |= old
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
                    entry = unpack(key, value) if value is not None else None
                    if isinstance(entry, Listed) and not entry.containers:
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
            in_doubt=self._doubts.total,
            proving=len(self._proofs),
        )

    def doubts(self, limit: int) -> tuple[int, tuple[ItemDoubt, ...]]:
        """How many items are in doubt, and the newest of them, at most `limit` (and 1000)."""
        return self._doubts.total, self._doubts.newest(limit)

    def why_not_ready(self) -> str | None:
        """What is wrong with the view itself, in words; None if nothing is."""
        if not self._started.is_set():
            return "what was kept is being checked"
        if self._lost or self._entries.problem:
            return self._lost or self._entries.problem
        return self._why_empty() if self._log is not None and self._log.caught_up else None

    def _why_empty(self) -> str | None:
        """Why it is no evidence that an item is not there, if no list of any item ever was."""
        if self._may_be_empty or self._log is None:
            return None
        if self._log.never_written:
            what = "never had a record"
        elif self._unreadable and not self._readable:
            what = "has records, and none of them is a list of an item"
        else:
            return None
        return (
            f"{self._topic} {what}: is this the right topic?"
            " TAKEDOWN_CATALOGUE_MAY_BE_EMPTY=true if it may be empty"
        )

    def distrust(self) -> str | None:
        """Why what was read may not be read on from, in words; None if it may.

        For the start of each of the log's sessions: a reason means that all has to be read again.
        """
        if self._gaps.were_stored:
            return "some of its records could not be read, and may be gone or readable now"
        reason = self._freshness.too_old()
        if reason is None and self._stored_no_list and not self._may_be_empty:
            return "it is stored without any item, and only its records show whether it has lists"
        return reason

    # ------------------------------------------------------------------------ the view

    def resume(self) -> tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None:
        """The positions to go on from, in which log, and its marks; None to begin anew."""
        kept = self._store.kept()
        if kept is None:
            self._freshness.begin()
            return None
        self._freshness.resume(kept.caught_up_at)
        self._readable = kept.items + kept.tombstones > 0
        self._stored_no_list = not self._readable and any(kept.positions.values())
        return kept.positions, TopicIdentity(kept.cluster_id, kept.topic_id), kept.marks

    def apply(self, record: Record) -> None:
        """Take over one record: the item's new list, or a null value, which ends it.

        Raises:
            UnreadableRecord: it is not what the contract says; the items that it names are in
                doubt from now on.
        """
        building = self._is_building()  # before this record is in it
        try:
            item_id, containers, listed_at = _read(record)
        except Exception as error:
            self._unreadable = True
            self._put_in_doubt(record, str(error) or repr(error), building=building)
            raise
        self._readable = True
        key = key_of(item_id)
        before = self._stored(key)
        written_at = _time_of(record)
        if self._is_overtaken(key, before, (listed_at, written_at), record.partition):
            self._overtaken += 1
            return
        value = pack(key, containers, listed_at, record.partition, written_at, offset=record.offset)
        self._entries.put(key, value)
        if before is not None and is_doubt(before):
            self._doubts.remove(item_id)
        if not containers:
            self._tombstones.add(key)
        if self._on_change is not None and not building:
            self._on_change(item_id, containers, listed_at)
        if self._gaps and self._on_doubt is not None and not building:
            entry = unpack(key, value)
            if isinstance(entry, Listed) and (gap := self._gaps.over(entry)) is not None:
                self._on_doubt(item_id, gap.doubted_at)  # of another partition

    def unreadable(self, record: Record, why: Unreadable) -> None:
        """Note records that cannot be decoded.

        Args:
            record: what stands in their place: key, value and time as far as these are known.
            why: which offsets, and whether the key is known.
        """
        building = self._is_building()
        self._unreadable = True
        if why.named:
            self._put_in_doubt(record, why.reason, building=building)
            return
        now = self._utc_now()
        written_at = _time_of(record)
        at = written_at if _EPOCH < written_at < now else now
        self._entries.put(*self._gaps.put(record.partition, why.last, at, why.reason))
        self._report_gaps()
        if self._on_gap is not None and not building:
            self._on_gap()

    def _report_gaps(self) -> None:
        for number in self._gaps.partitions():
            if self._safeguards is not None:
                self._safeguards.missing(
                    f"{self._topic}[{number}]: every record is read",
                    "some cannot be, and which items they are about is not known: items that were "
                    "not published since then are in doubt (takedown catalogue doubts says more)",
                )

    def _put_in_doubt(self, record: Record, reason: str, *, building: bool) -> None:
        """Note that the newest record of an item cannot be read."""
        doubt = Doubt(_time_of(record), record.partition, record.offset, reason)
        named = dict.fromkeys(named_by_value(record.value) if record.value is not None else ())
        if (item_id := named_by_key(record.key)) is not None:
            named[item_id] = None
        for item_id in named:
            key = key_of(item_id)
            before = self._stored(key)
            if self._is_doubt_overtaken(key, before, doubt):
                self._overtaken += 1
                continue
            self._entries.put(key, pack_doubt(key, doubt))
            self._doubts.put(item_id, doubt, new=before is None or not is_doubt(before))
            if self._on_doubt is not None and not building:
                self._on_doubt(item_id, doubt.doubted_at)

    def _stored(self, key: bytes) -> bytes | None:
        """What is stored under a key now; None also if that cannot be known."""
        if self._lost:
            return None
        try:
            return self._entries.get(key)
        except (StoreDamaged, StoreUnavailable) as error:
            self._lose(str(error))  # whatever is kept of it now may be the older one
            return None

    def _is_overtaken(
        self, key: bytes, value: bytes | None, times: tuple[datetime, datetime], partition: int
    ) -> bool:
        """Whether another partition has told something newer of this item.

        Of a doubt and a list of the same time either may be the newer one: the item is in doubt.
        """
        known = self._of_another_partition(key, value, partition)
        if isinstance(known, Doubt):
            return times[0] <= known.doubted_at
        return known is not None and times < times_of(known)

    def _is_doubt_overtaken(self, key: bytes, value: bytes | None, doubt: Doubt) -> bool:
        known = self._of_another_partition(key, value, doubt.partition)
        return known is not None and doubt.doubted_at < times_of(known)[0]

    def _of_another_partition(
        self, key: bytes, value: bytes | None, partition: int
    ) -> Listed | Doubt | None:
        """What this value says, if it is of another partition than this one."""
        if value is None or partition_of(value) == partition:
            return None
        try:
            return unpack(key, value)
        except DamagedEntry as error:
            self._lose(str(error))
            return None

    async def advance(
        self,
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark] | None = None,
    ) -> None:
        """All records below these positions were applied. Waits while too much is not kept yet.

        Args:
            positions: the next offset of each partition.
            identity: which log that is.
            marks: what was last read of each partition.
        """
        if self._lost:
            return
        self._is_building()
        if self._log is not None and self._log.caught_up and not self._date():
            return
        log = identity or TopicIdentity("", "")
        await self._entries.reached(
            Reached(positions, log.cluster_id, log.topic_id, marks or {}),
            self._freshness.caught_up_at,
        )

    def _date(self) -> bool:
        """Note that the log is read to its end; False if that came too late to be believed."""
        late = self._freshness.at_end()
        if late is None:
            return True
        if not late.from_beginning:
            self._read_again(late.reason)
            return False
        # To read it once more would take as long.
        logger.warning("The catalogue may hold items that are gone: %s", late.reason)
        if self._safeguards is not None:
            self._safeguards.missing(self._within_retention, late.reason)
        return True

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
        self._checked = True  # what is stored from now on was read, and written, by us
        self._readable = self._unreadable = self._stored_no_list = False
        self._tombstones = set()
        self._doubts.clear()
        if self._safeguards is not None:
            for number in self._gaps.partitions():
                self._safeguards.present(f"{self._topic}[{number}]: every record is read")
        self._gaps.clear()
        self._freshness.begin()
        if self._safeguards is not None:
            self._safeguards.present(self._within_retention)
        self._entries.begin_again()

    def _lose(self, reason: str) -> None:
        """The store is not to be believed: from now on nothing is known."""
        if self._lost:
            return
        logger.error("The catalogue is damaged and is made again from its topic: %s", reason)
        self._lost = f"it is made again: {reason}"
        if self._log is not None:
            self._log.read_again("the catalogue is damaged")

    def _read_again(self, reason: str) -> None:
        """What was read may be wrong: from now on nothing is known."""
        logger.warning("The catalogue is made again from its topic: %s", reason)
        self._lost = f"it is made again: {reason}"
        assert self._log is not None
        self._log.read_again(reason)

    # ------------------------------------------------------------------------ searches

    def known(self, item_id: ItemId) -> Listed | None:
        """The item's list as it was last read; None if none is known, or not for now."""
        found = self._found(item_id)
        return found if isinstance(found, Listed) else None

    def doubt(self, item_id: ItemId) -> Doubt | None:
        """Why the item is in doubt; None if it is not, or that cannot be known for now."""
        found = self._found(item_id)
        return found if isinstance(found, Doubt) else None

    def _found(self, item_id: ItemId, *, to_begin: bool = False) -> Listed | Doubt | None:
        try:
            return self._look_up(item_id, to_begin=to_begin)
        except StoreUnavailable:
            return None

    def _look_up(self, item_id: ItemId, *, to_begin: bool = False) -> Listed | Doubt | None:
        if self._lost:
            return None
        key = key_of(item_id)
        try:
            value = self._entries.get(key)
            if to_begin and value is not None:
                self._refuse_if_no_room(count(value))
            entry = unpack(key, value) if value is not None else None  # its checksum comes first
        except (StoreDamaged, DamagedEntry) as error:
            self._lose(str(error))
            return None
        if self._gaps and not isinstance(entry, Doubt):
            gap = self._gaps.over(entry)
            if gap is not None:
                return gap
        return entry if not isinstance(entry, Listed) or entry.containers else None

    def _refuse_if_no_room(self, containers: int) -> None:
        if (reason := self._why_no_room(containers)) is not None:
            raise _NoEvidence(reason, "overloaded")

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell what is known of the takedown's item, now or once it is certain."""
        if self._log is not None and self._log.caught_up and not self._waits_for_evidence:
            try:
                found = self._found(takedown.item_id, to_begin=True)
            except _NoEvidence as error:
                tell(CatalogueUnavailable(takedown.takedown_id, str(error), error.code))
                return
            if isinstance(found, Listed):
                self._hits += 1
                tell(
                    ContainersFound(
                        takedown.takedown_id, found.containers, found.listed_at, proven=False
                    )
                )
                self._proofs.follow(self._log.prove_to, takedown, tell)
                return
        self._misses += 1
        search = asyncio.get_running_loop().create_task(self._search(takedown, tell))
        self._searches.add(search)
        search.add_done_callback(self._searches.discard)

    def _is_proof(self) -> bool:
        """Whether it counts that the log is read to its end: not while all is read again.

        And not before the store is checked: an older list that came back in a damaged file would
        be a hit.
        """
        return not self._lost and self._checked and not self._is_building()

    async def _search(self, takedown: Takedown, tell: Tell) -> None:
        takedown_id = takedown.takedown_id
        try:
            async with asyncio.timeout_at(takedown.deadline - _MARGIN):
                found = await self._find_patiently(takedown)
        except TimeoutError:
            reason = "the catalogue is behind its topic and did not catch up in time"
            tell(CatalogueUnavailable(takedown_id, reason))
        except KafkaUnavailable as error:
            behind = "the catalogue may be behind"
            reason, plain = f"{behind}: {error}", f"{behind}: {error.plain}"
            tell(CatalogueUnavailable(takedown_id, reason, plain=plain))
        except (StoreDamaged, StoreUnavailable) as error:
            plain = "the catalogue cannot be searched"
            tell(CatalogueUnavailable(takedown_id, f"{plain}: {error}", plain=plain))
        except _NoEvidence as error:
            tell(CatalogueUnavailable(takedown_id, str(error), error.code, error.plain))
        except Exception as error:
            logger.exception("Defect while searching")
            plain = "defect in the catalogue"
            tell(CatalogueUnavailable(takedown_id, f"{plain}: {error!r}", plain=plain))
        else:
            if found is None:
                tell(ItemUnknown(takedown_id))
            else:
                tell(ContainersFound(takedown_id, found.containers, found.listed_at))

    async def _find_patiently(self, takedown: Takedown) -> Listed | None:
        """The same as `_find`, also if Kafka is away for a moment."""
        until = takedown.accepted_at + self._wait_for_kafka
        while True:
            try:
                return await self._find(takedown.item_id)
            except KafkaUnavailable:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(_RETRY)

    async def _find(self, item_id: ItemId) -> Listed | None:
        """The item's list; None on evidence that there is none."""
        if self._log is None:
            raise KafkaUnavailable("the catalogue has no log")
        if self._lost:
            raise StoreDamaged(self._lost)
        rebuilds = self._rebuilds
        await self._log.catch_up()
        found = self._certain(item_id, rebuilds)
        if not self._checked and not self._entries.fresh:
            # That something is not there, or is the newest, is said of all that is kept.
            await self._store.proven()
            found = self._certain(item_id, rebuilds)
            self._checked = True
        if isinstance(found, Doubt):
            where = f"{self._topic}[{found.partition}] at offset {found.offset}"
            which = "a record of the item"
            if found is self._gaps.of(found.partition):
                which = "a record that may be the item's"
            raise _NoEvidence(f"{which} in {where} cannot be read: {found.reason}", "item-in-doubt")
        if found is None and (reason := self._why_empty()) is not None:
            raise _NoEvidence(reason, plain="no list of any item is known")
        return found

    def _certain(self, item_id: ItemId, rebuilds: int) -> Listed | Doubt | None:
        if rebuilds != self._rebuilds:
            raise StoreDamaged("it was read again meanwhile")
        found = self._look_up(item_id, to_begin=True)
        if self._lost:
            raise StoreDamaged(self._lost)
        return found

    async def stop(self) -> None:
        """Give up the searches that wait, and report nothing more."""
        self._proofs.stop()
        searches = tuple(self._searches)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)

    async def close(self) -> None:
        """Keep what is left to be kept, and close the store. Call it when nothing is read."""
        try:
            if not self._lost:
                self._entries.touch()
                await self._entries.write()
        finally:
            await self._store.close()
