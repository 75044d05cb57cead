"""Where the catalogue is kept: what the view asks of a store, and one that forgets.

A store keeps entries (see `entries`) and, in the same transaction, how far the topic was read to
get them and which log that was. So whatever happens to the process, the entries and the positions
belong together, and what is missing is read again from the topic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec import field as struct_field

from bus.kafka.log_marks import LogMark  # noqa: TC001 - msgspec reads the annotations
from catalogue.store.entries import checksum, count, is_doubt, is_tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 5
"""Of everything that is written; another one is not read.

5: the offsets of the lists' records, and gaps. 4: the times of the lists' records. 3: items in
doubt, marks, and when the log was last caught up with. A store of an older format may lack the
doubts of records that were skipped: it is rebuilt from the topic.
"""


class StoreDamaged(Exception):
    """What was kept is not what was written; it has to be rebuilt from the topic."""


class StoreUnavailable(Exception):
    """It cannot be used now, for example since the disk is full; what is kept is whole."""


class Kept(Struct, frozen=True, array_like=True):
    """What is written with every batch.

    Attributes:
        format: see `FORMAT`.
        topic: the topic's name.
        cluster_id, topic_id: which log it was; empty where the broker does not tell.
        positions: the next offset to read, by partition.
        items: how many entries have containers.
        containers: how many containers these have.
        tombstones: how many entries have none.
        digest: the sum of the entries' checksums, modulo 2**64.
        doubts: how many entries are doubts.
        marks: what was last read of each partition.
        caught_up_at: seconds since 1970 by the wall clock: when the positions were last known to be
            the log's end, or reading from its beginning began; 0 if neither is known.
    """

    format: int
    topic: str
    cluster_id: str
    topic_id: str
    positions: dict[int, int]
    items: int = 0
    containers: int = 0
    tombstones: int = 0
    digest: int = 0
    doubts: int = 0
    marks: dict[int, LogMark] = struct_field(default_factory=dict)
    caught_up_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction.

    Attributes:
        entries: values by key; None removes.
        positions: the next offset to read of each partition once this is written.
        cluster_id, topic_id: which log that is; empty where the broker does not tell.
        fresh: forget everything before.
        marks, caught_up_at: see `Kept`.
    """

    entries: Mapping[bytes, bytes | None]
    positions: Mapping[int, int]
    cluster_id: str = ""
    topic_id: str = ""
    fresh: bool = False
    marks: Mapping[int, LogMark] = field(default_factory=dict)
    caught_up_at: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store keeps.

    Attributes:
        items, containers: as of the last transaction; tombstones and doubts are none.
        bytes: its size on disk; 0 for one that forgets.
        commits: transactions since the start.
    """

    items: int
    containers: int
    bytes: int
    commits: int


class Store(Protocol):
    """Keeps entries, positions and the log's identity together."""

    async def ready(self) -> None:
        """Before anything else: open what is kept."""

    def kept(self) -> Kept | None:
        """What the last transaction wrote; None if there was none."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; never waits for a transaction.

        Raises:
            StoreDamaged: it cannot be trusted.
            StoreUnavailable: it cannot be looked up now; that is no word on whether it is there.
        """

    async def commit(self, batch: Batch) -> None:
        """Write it all, or nothing of it. Raises `StoreDamaged` or `StoreUnavailable`."""

    async def proven(self) -> None:
        """Wait until all of it was checked once since the start.

        Raises:
            StoreDamaged: it is not what was written.
            StoreUnavailable: the check was given up.
        """

    async def tombstones(self) -> list[bytes]:
        """The keys of all tombstones that are kept."""

    async def doubts(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every doubt that is stored."""

    def statistics(self) -> StoreStatistics:
        """What it keeps."""

    async def close(self) -> None:
        """Leave everything in order."""


@dataclass(slots=True)
class Sums:
    """What `Kept` adds up over all entries."""

    items: int = 0
    containers: int = 0
    tombstones: int = 0
    digest: int = 0
    doubts: int = 0

    @classmethod
    def of(cls, kept: Kept | None) -> Sums:
        """Those of what was kept."""
        if kept is None:
            return cls()
        return cls(kept.items, kept.containers, kept.tombstones, kept.digest, kept.doubts)

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return self.items + self.tombstones + self.doubts

    def add(self, value: bytes, sign: int = 1) -> None:
        """One value more, or one less (`sign` -1)."""
        containers = count(value)
        if containers:
            self.items += sign
        elif is_doubt(value):
            self.doubts += sign
        else:
            self.tombstones += sign
        self.containers += sign * containers
        self.digest = (self.digest + sign * checksum(value)) % 2**64

    def kept_with(self, batch: Batch, topic: str) -> Kept:
        """What is written with a batch once its entries are added up here."""
        return Kept(
            FORMAT,
            topic,
            batch.cluster_id,
            batch.topic_id,
            dict(batch.positions),
            self.items,
            self.containers,
            self.tombstones,
            self.digest,
            self.doubts,
            dict(batch.marks),
            batch.caught_up_at,
        )


@dataclass
class MemoryStore:
    """Keeps everything in memory: for tests and for simulations.

    Attributes:
        topic: the topic's name.
        entries: what it holds.
        failing: what the next commits raise, if anything.
        flawed: what `proven` raises, if anything.
    """

    topic: str = "item_published"
    entries: dict[bytes, bytes] = field(default_factory=dict)
    failing: Exception | None = None
    flawed: Exception | None = None
    commits: int = 0
    _kept: Kept | None = None
    _sums: Sums = field(default_factory=Sums)

    async def ready(self) -> None:
        """There is nothing to open."""

    def kept(self) -> Kept | None:
        """What the last transaction wrote."""
        return self._kept

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        return self.entries.get(key)

    async def commit(self, batch: Batch) -> None:
        """Take it over at once."""
        if self.failing is not None:
            raise self.failing
        if batch.fresh:
            self.entries.clear()
            self._sums = Sums()
            self.flawed = None
        for key, value in batch.entries.items():
            if (old := self.entries.pop(key, None)) is not None:
                self._sums.add(old, -1)
            if value is not None:
                self.entries[key] = value
                self._sums.add(value)
        self.commits += 1
        self._kept = self._sums.kept_with(batch, self.topic)

    async def proven(self) -> None:
        """There is nothing to check."""
        if self.flawed is not None:
            raise self.flawed

    async def tombstones(self) -> list[bytes]:
        """The keys of all tombstones."""
        return [key for key, value in self.entries.items() if is_tombstone(value)]

    async def doubts(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every doubt."""
        return [(key, value) for key, value in self.entries.items() if is_doubt(value)]

    def statistics(self) -> StoreStatistics:
        """What it keeps."""
        return StoreStatistics(self._sums.items, self._sums.containers, 0, self.commits)

    async def close(self) -> None:
        """There is nothing to leave in order."""
