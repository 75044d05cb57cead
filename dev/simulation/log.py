"""One partition of a topic: its records, transactions, leader epochs, and what a cut takes away."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Record:
    """One record, as aiokafka's ConsumerRecord shows it; `at` is the loop's time of its writing.

    Its `timestamp` is the wall clock's, in milliseconds. `epoch` is that of the leader that wrote
    it, `transaction` the number of the transaction that it belongs to, or 0.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    at: float
    timestamp: int
    epoch: int = 0
    transaction: int = 0


@dataclass(slots=True)
class Log:
    """One partition. Offsets between records are markers; `led`: it has a leader.

    Attributes:
        start: the offset of its first record that may still be there.
        end: the high water mark; with one replica, where the log ends.
        records: in the order of their offsets.
        led: it has a leader.
        epoch: the leader's; it may stay the same when the log is cut.
        epochs: each epoch and the offset at which it began.
        open: the first offset of each open transaction.
        aborted: offsets of records whose transaction was aborted.
        fixed: no cut below this offset: a transaction's record or marker is just before it.
        markers: offset and epoch of each marker that ends a transaction.
    """

    start: int = 0
    end: int = 0
    records: list[Record] = field(default_factory=list)
    led: bool = True
    epoch: int = 0
    epochs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    open: dict[int, int] = field(default_factory=dict)
    aborted: set[int] = field(default_factory=set)
    fixed: int = 0
    markers: list[tuple[int, int]] = field(default_factory=list)

    @property
    def stable(self) -> int:
        """The last stable offset: committed reads end here."""
        return min(self.open.values(), default=self.end)

    def since(self, offset: int, before: int, *, committed: bool = True) -> list[Record]:
        """Records from one offset until before another; committed: without aborted ones."""
        found = []
        for record in reversed(self.records):
            if record.offset < offset:
                break
            if record.offset < before and not (committed and record.offset in self.aborted):
                found.append(record)
        found.reverse()
        return found

    def end_transaction(self, transaction: int) -> None:
        """Write the marker that ends it."""
        del self.open[transaction]
        self.markers.append((self.end, self.epoch))
        self.end += 1
        self.fixed = self.end

    def batches(self, offset: int, before: int) -> list[tuple[int, int]]:
        """Offset and epoch of all that is fetched between two offsets: of markers as well."""
        records = self.since(offset, before, committed=False)
        found = [(record.offset, record.epoch) for record in records]
        found += [marker for marker in self.markers if offset <= marker[0] < before]
        return sorted(found)

    def epoch_end(self, epoch: int) -> tuple[int, int]:
        """What a leader answers to OffsetForLeaderEpoch.

        Returns:
            The largest epoch that is not above the one asked for, and the offset at which it
            ended; (-1, -1) if the epoch asked for is above the leader's own.
        """
        if epoch > self.epoch:
            return -1, -1
        later = [start for number, start in self.epochs if number > epoch]
        known = [number for number, _ in self.epochs if number <= epoch]
        if not known:
            return epoch, self.start
        return known[-1], later[0] if later else self.end

    def elect(self, epochs: int = 1) -> None:
        """Another leader, so many epochs later, writes from now on; nothing is lost."""
        self.epoch += epochs
        if self.epochs[-1][1] == self.end:
            self.epochs.pop()  # nothing was written in that epoch
        self.epochs.append((self.epoch, self.end))

    def cut(self, offset: int, epochs: int) -> list[Record]:
        """Lose what was written from an offset on, to a leader of so many epochs later.

        Returns:
            The records that are lost.
        """
        lost = self.since(offset, self.end, committed=False)
        if lost:
            del self.records[-len(lost) :]
        self.end = offset
        self.epochs = [(number, start) for number, start in self.epochs if start < offset]
        self.epoch += epochs
        if not self.epochs or self.epochs[-1][0] != self.epoch:
            self.epochs.append((self.epoch, offset))
        return lost
