"""How far a reader has read its log, compared with where the log ends.

Every end that the reader learns of is recorded here. From the ends and the positions follows
whether the reader has caught up, whether it lags (`bus.kafka.lag`), and which callers have what
they wait for (`bus.kafka.read_barrier`, `bus.kafka.log_rounds`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bus.kafka.lag import Lag
from bus.kafka.log_rounds import LogRounds
from bus.kafka.read_barrier import CatchingUp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import TopicPartition

    from bus.kafka.log_rounds import Ask
    from bus.kafka.read_barrier import Ends


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    """What a reader has done and where it is.

    Attributes:
        topic: which topic it reads.
        positioned: every position is known and set, and the log's ends were seen lately.
        caught_up: it has read to where the log ended when it (re)connected, and does not lag.
        partitions: how many it reads.
        positions: the next offset of each partition.
        behind: records between the positions and the log's ends as last seen.
        read: records read.
        skipped: records that could not be read.
        sessions: how often it connected.
        last_error: why it last had to connect again; empty if never.
    """

    topic: str
    positioned: bool
    caught_up: bool
    partitions: int
    positions: dict[int, int]
    behind: int
    read: int
    skipped: int
    sessions: int
    last_error: str


class ReadProgress:
    """The progress of one reader.

    Args:
        positions: the next offset of each partition; the reader updates this mapping in place.

    Attributes:
        rounds: requests for the log's end on behalf of those who wait.
        lag: whether what is in the log for seconds has not been read.
        ends: where the partitions end, as last seen.
        behind: records between the positions and these ends, when they were seen.
        never_written: no partition had ever had a record when the ends were last seen.
        caught_up: in this session it has read to where the log ended at its start.
    """

    def __init__(self, positions: Mapping[TopicPartition, int]) -> None:
        self._positions = positions
        self._catching_up = CatchingUp(self.distance)
        self.rounds = LogRounds(self._catching_up)
        self.lag = Lag()
        self.ends: Ends = {}
        self.behind = 0
        self.never_written = False
        self.caught_up = False

    def begin(self, ends: Ends, quick: Ask) -> None:
        """A session has set its positions.

        Args:
            ends: where the log ends now.
            quick: the session's quick way to request the ends.
        """
        self.caught_up = False
        self.lag.clear()
        self.seen(ends)
        self.rounds.use(quick)
        self._catching_up.expect(ends).add_done_callback(self._on_caught_up)

    def seen(self, ends: Ends) -> None:
        """The log ends there now."""
        self.ends = ends
        self.never_written = not any(ends.values())
        self.behind = self.distance(ends)
        self.lag.seen(ends, asyncio.get_running_loop().time())
        self._catching_up.renew(ends)

    def settle(self) -> None:
        """Something was read, or an end is known: release those who waited for that."""
        self.lag.read(self._positions)
        self._catching_up.settle()

    def fail(self, error: Exception) -> None:
        """The session is over: everyone who waits gets this error."""
        self.rounds.reset()
        self._catching_up.fail(error)

    def distance(self, ends: Ends) -> int:
        """How many records are left to read up to these ends."""
        return sum(max(0, end - self._positions.get(tp, 0)) for tp, end in ends.items())

    def _on_caught_up(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.caught_up = True
