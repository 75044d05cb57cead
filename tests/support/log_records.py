"""The records of a topic in memory, and its partitions' logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TOPIC = "topic"

UNKNOWN_TOPIC = 3
NOT_LEADER = 6
OUT_OF_RANGE = 1


@dataclass(frozen=True)
class LogRecord:
    topic: str
    partition: int
    offset: int
    said: Any
    """What the test wrote."""
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def value(self) -> bytes | None:
        """What was written, as bytes."""
        if self.said is None or isinstance(self.said, bytes):
            return self.said
        return str(self.said).encode()


@dataclass
class Partition:
    """One partition's log; `end` may lie behind the last record, as after a marker."""

    start: int = 0
    end: int = 0
    records: list[tuple[int, Any]] = field(default_factory=list)
    leads_since: int | None = None
    """What a new leader takes for the log's end, until it knows better."""
    stable: int | None = None
    """Where the first open transaction begins; None if none is open."""
    epochs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """Each leader epoch and where it begins."""
    stamps: dict[int, int] = field(default_factory=dict)
    transactional: set[int] = field(default_factory=set)
    """Offsets of records that were part of a transaction that was aborted: read by nobody."""

    @property
    def epoch(self) -> int:
        return self.epochs[-1][0]

    @property
    def last_stable(self) -> int:
        return self.end if self.stable is None else self.stable

    def epoch_of(self, offset: int) -> int:
        return [epoch for epoch, since in self.epochs if since <= offset][-1]

    def record(self, number: int, offset: int, value: Any) -> LogRecord:
        return LogRecord(TOPIC, number, offset, value, self.stamps.get(offset, 0))
