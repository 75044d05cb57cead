"""Where the catalogue is kept: what the view asks of a store, and one that forgets.

A store keeps entries (see `entries`) and, in the same transaction, how far the topic was read to
get them and which log that was. So whatever happens to the process, the entries and the positions
belong together, and what is missing is read again from the topic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from catalogue.entries import count

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Of everything that is written; another one is not read."""


class StoreDamaged(Exception):
    """What was kept is not what was written; it has to be made again from the topic."""


class StoreUnavailable(Exception):
    """It cannot be used now, for example since the disk is full; what is kept is whole."""


class Kept(Struct, frozen=True, array_like=True):
    """What is written with every batch.

    Attributes:
        format: see `FORMAT`.
        topic: the topic's name.
        cluster_id, topic_id: which log it was; empty where the broker does not tell.
        positions: the next offset to read, by partition.
        items: how many entries there are.
        containers: how many containers these have.
        digest: the sum of the entries' checksums, modulo 2**64.
    """

    format: int
    topic: str
    cluster_id: str
    topic_id: str
    positions: dict[int, int]
    items: int
    containers: int
    digest: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction.

    Attributes:
        entries: values by key; None removes.
        positions: the next offset to read of each partition once this is written.
        cluster_id, topic_id: which log that is; empty where the broker does not tell.
        fresh: forget everything before.
    """

    entries: Mapping[bytes, bytes | None]
    positions: Mapping[int, int]
    cluster_id: str = ""
    topic_id: str = ""
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store keeps.

    Attributes:
        items, containers: as of the last transaction.
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
            StoreDamaged: it cannot be believed.
            StoreUnavailable: it cannot be looked up now; that is no word on whether it is there.
        """

    async def commit(self, batch: Batch) -> None:
        """Write it all, or nothing of it. Raises `StoreDamaged` or `StoreUnavailable`."""

    async def proven(self) -> None:
        """Wait until all of it was checked once since the start. Raises `StoreDamaged`."""

    def statistics(self) -> StoreStatistics:
        """What it keeps."""

    async def close(self) -> None:
        """Leave everything in order."""


def add_up(kept: Kept, *, items: int, containers: int, digest: int) -> tuple[int, int, int]:
    """The three sums of `kept` after these changes."""
    return (kept.items + items, kept.containers + containers, (kept.digest + digest) % 2**64)


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
    _containers: int = 0

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
            self._containers = 0
            self.flawed = None
        for key, value in batch.entries.items():
            old = self.entries.pop(key, None)
            self._containers -= count(old) if old is not None else 0
            if value is not None:
                self.entries[key] = value
                self._containers += count(value)
        self.commits += 1
        self._kept = Kept(
            FORMAT,
            self.topic,
            batch.cluster_id,
            batch.topic_id,
            dict(batch.positions),
            len(self.entries),
            self._containers,
            0,
        )

    async def proven(self) -> None:
        """There is nothing to check."""
        if self.flawed is not None:
            raise self.flawed

    def statistics(self) -> StoreStatistics:
        """What it keeps."""
        return StoreStatistics(len(self.entries), self._containers, 0, self.commits)

    async def close(self) -> None:
        """There is nothing to leave in order."""
