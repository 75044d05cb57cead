"""Fetches records and handles them in their order, each once.

Before a round of records is handled, the log is verified if a new leader has sent it (see
`bus.kafka.known_log`). Whatever makes aiokafka fetch a record again, what lies below our own
position is skipped. After each round the positions and marks are stored; nothing is fetched before
that is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from aiokafka.errors import OffsetOutOfRangeError, RecordTooLargeError

from bus.kafka.consumers import TURN
from bus.kafka.known_log import LogChanged
from bus.kafka.log_marks import TAIL, LogMark

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bus.kafka.fetch_filter import FetchFilter
    from bus.kafka.known_log import KnownLog
    from bus.kafka.read_progress import ReadProgress
    from bus.kafka.record_handler import Record, RecordHandler
    from bus.kafka.topic_identity import TopicIdentity

Advance: TypeAlias = Callable[
    [Mapping[int, int], "TopicIdentity | None", Mapping[int, LogMark]], Awaitable[object]
]

_BYTES = 2048
"""Bytes of a value that take as long as one more record."""

_IDLE_POLL = 0.2
"""Seconds for which one call waits for records."""


class RecordFetcher:
    """Fetches one topic.

    Args:
        known: the positions, which this moves, and what was read below them.
        fetch_filter: has made safe what is fetched.
        handler: handles each record.
        progress: learns that something was read.
        advance: called after each round with the positions, the log that they are of, and the
            marks.

    Attributes:
        is_held: `advance` has not returned, so nothing is fetched.
    """

    def __init__(
        self,
        known: KnownLog,
        fetch_filter: FetchFilter,
        handler: RecordHandler,
        progress: ReadProgress,
        advance: Advance | None,
    ) -> None:
        self.is_held = False
        self._known = known
        self._positions = known.positions
        self._filter = fetch_filter
        self._handler = handler
        self._progress = progress
        self._advance = advance

    @property
    def is_decoding(self) -> bool:
        """An answer is being decoded, which may take long."""
        return self._filter.is_working

    async def run(self, fetching: AIOKafkaConsumer) -> None:
        """Fetch until cancelled.

        Raises:
            LogChanged: the log is not the one that was read.
            KafkaError: a fetch has failed.
        """
        while True:
            await self.fetch_once(fetching)

    async def fetch_once(self, fetching: AIOKafkaConsumer, *, within: float = _IDLE_POLL) -> None:
        """Fetch and handle one round of records; without records it waits `within` seconds."""
        try:
            batches = await fetching.getmany(timeout_ms=round(within * 1000))
        except RecordTooLargeError as error:
            self._handler.skip_too_large(error)
            self._known.marks.forget_tails()
            return
        except OffsetOutOfRangeError as error:
            self._known.replaced.update(error.args[0])
            raise LogChanged(f"{self._known.topic} does not have our position any more") from error
        await self._known.verify_fetched()  # before anything of it is handled
        handle_one = self._handler.handle_one
        handled = weight = 0
        for tp, records in batches.items():
            first = position = self._positions[tp]
            for record in records:
                if record.offset < position:
                    continue  # fetched again, since the partitions were assigned again meanwhile
                handle_one(tp, record)
                position = record.offset + 1
                handled += 1
                weight += 1 + len(record.value or b"") // _BYTES
                if weight >= TURN:
                    weight = 0
                    self._positions[tp] = position
                    await asyncio.sleep(0)
            self._positions[tp] = position
            self._mark(tp, records, first)
        for tp in tuple(self._positions):
            # Further than the last record: markers of transactions and records that compaction
            # removed have offsets too. It does not wait, the position is known.
            self._positions[tp] = max(self._positions[tp], await fetching.position(tp))
            self._known.marks.read(tp, (), self._positions[tp])
        self._filter.passed(self._positions)
        self._progress.settle()
        if self._advance is not None:
            at = {tp.partition: position for tp, position in self._positions.items()}
            self.is_held = True
            try:
                await self._advance(at, self._known.identity, self._known.marks.marks())
            finally:
                self.is_held = False
        if handled:
            await asyncio.sleep(0)  # aiokafka does not wait as long as it has records at hand

    def _mark(self, tp: TopicPartition, records: list[Record], first: int) -> None:
        """Remember what was read last: those of these records from this offset on are new."""
        tail = [record for record in records[-TAIL:] if record.offset >= first]
        if self._handler.placeholders:
            tail = [record for record in tail if record.offset not in self._handler.placeholders]
            self._handler.placeholders.clear()
        self._known.marks.read(tp, tail, self._positions[tp])
