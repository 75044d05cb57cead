"""Handles one record at a time, and skips those that cannot be read.

A record is skipped if the handler refuses it, if the handler has a defect, or if what was fetched
could not be decoded: then a placeholder stands in its place (see `bus.kafka.fetch_filter`). Every
skipped record is counted, logged and reported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from bus.kafka.skip_log import SkipLog
from domain.errors import UnreadableRecord

if TYPE_CHECKING:
    from aiokafka import TopicPartition
    from aiokafka.errors import RecordTooLargeError

    from bus.kafka.batches import Unreadable
    from bus.kafka.fetch_filter import FetchFilter

logger = logging.getLogger("takedown.kafka")

Record: TypeAlias = Any
"""aiokafka's ConsumerRecord: topic, partition, offset, key, value, headers."""

OnSkip: TypeAlias = Callable[[str, int, int, str], object]
OnUnreadable: TypeAlias = "Callable[[Record, Unreadable], object]"


class RecordHandler:
    """Handles the records of one topic.

    Args:
        topic: which topic.
        handle: called for each record.
        fetch_filter: has replaced by placeholders what cannot be decoded.
        on_skip: called for each record that is skipped: topic, partition, offset, and why.
        on_unreadable: called with each placeholder, and why it is one.

    Attributes:
        read: records that were read, placeholders included.
        skipped: records that were skipped.
        placeholders: offsets of placeholders that have come since this was last cleared.
    """

    def __init__(
        self,
        topic: str,
        handle: Callable[[Record], None],
        fetch_filter: FetchFilter,
        *,
        on_skip: OnSkip | None,
        on_unreadable: OnUnreadable | None,
    ) -> None:
        self.read = 0
        self.skipped = 0
        self.placeholders: set[int] = set()
        self._topic = topic
        self._handle = handle
        self._filter = fetch_filter
        self._on_skip = on_skip
        self._on_unreadable = on_unreadable
        self._skips = SkipLog(topic)

    def handle_one(self, tp: TopicPartition, record: Record) -> None:
        """Handle this record, or skip it; raises nothing."""
        self.read += 1
        if (unreadable := self._filter.unreadable(tp, record.offset)) is not None:
            self.placeholders.add(record.offset)
            self._pass_unreadable(record, unreadable)
            return
        try:
            self._handle(record)
        except UnreadableRecord as error:
            self._skip(record, str(error))
        except Exception as error:
            self._skip(record, f"defect: {error!r}")
            logger.exception("Defect while handling a record")

    def skip_too_large(self, error: RecordTooLargeError) -> None:
        """The client has refused to fetch a record."""
        self.skipped += 1
        logger.warning("Skipped a record of %s that is too large: %s", self._topic, error)

    def close(self) -> None:
        """Log now what waits to be logged."""
        self._skips.close()

    def _pass_unreadable(self, record: Record, unreadable: Unreadable) -> None:
        """Skip records that cannot be decoded; `record` is their placeholder."""
        try:
            if self._on_unreadable is not None:
                self._on_unreadable(record, unreadable)
        except Exception:
            logger.exception("Defect while handling an unreadable record")
        many = unreadable.last > unreadable.first
        offsets = f" (offsets {unreadable.first} to {unreadable.last})" if many else ""
        self._skip(record, unreadable.reason + offsets, named=unreadable.named)

    def _skip(self, record: Record, reason: str, *, named: bool = True) -> None:
        self.skipped += 1
        if self._on_skip is not None:
            self._on_skip(record.topic, record.partition, record.offset, reason)
        self._skips.note(record, reason, named=named)
