"""Finds out in the long way where a log ends: all its partitions, their ends, and which log it is.

This is the way while the quick one (`bus.kafka.log_end`) is not available: at first, and after
anything about the topic has changed. It finds new partitions, which are read from their start. The
topic's id is requested after everything else, so that the ends are never those of another log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from bus.kafka.aiokafka_fixes import client_of
from bus.kafka.consumers import assign, numbers_of
from bus.kafka.known_log import LogChanged
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaConsumer

    from bus.kafka.known_log import KnownLog
    from bus.kafka.log_end import LogEnd
    from bus.kafka.read_progress import ReadProgress
    from bus.kafka.topic_identity import TopicDescription

logger = logging.getLogger("takedown.kafka")

_ASK_AGAIN = 0.05
"""Seconds until the ends are requested again, if a partition was added meanwhile."""


class LogInspection:
    """Inspects one topic's log.

    Args:
        known: the positions, and which log they are of.
        progress: learns where the log ends.
        on_missing: called when the broker does not know the topic.
        timeout: seconds within which a broker must have answered.
    """

    def __init__(
        self,
        known: KnownLog,
        progress: ReadProgress,
        *,
        on_missing: Callable[[], object],
        timeout: float,
    ) -> None:
        self._known = known
        self._progress = progress
        self._on_missing = on_missing
        self._timeout = timeout
        self._described: asyncio.Queue[TopicDescription] = asyncio.Queue(maxsize=1)

    async def partitions(self, asking: AIOKafkaConsumer) -> set[TopicPartition]:
        """The partitions that exist now.

        Raises:
            KafkaUnavailable: the broker does not answer, or does not know the topic.
        """
        topic = self._known.topic
        client = client_of(asking)
        client.add_topic(topic)
        async with asyncio.timeout(self._timeout):
            # Twice: the first request finds a connection that was reset, and opens a new one.
            updated = await client.force_metadata_update() or await client.force_metadata_update()
        if not updated:
            raise KafkaUnavailable("no broker answers questions about the topic's partitions")
        numbers = asking.partitions_for_topic(topic)
        if not numbers:
            self._on_missing()
            raise KafkaUnavailable("the topic's partitions are not known to the broker")
        return {TopicPartition(topic, number) for number in numbers}

    async def answer(self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer) -> None:
        """Find the log's ends whenever the long way is needed, until cancelled.

        Raises:
            LogChanged: it is not the log that was read.
            KafkaUnavailable: the broker does not answer, or does not know the topic.
        """
        rounds = self._progress.rounds
        while True:
            await rounds.long_way()
            async with asyncio.timeout(self._timeout):
                ends, description = await self._inspect(asking, fetching)
            self._progress.seen(ends)
            self._progress.settle()
            rounds.answered(ends)
            # From now on in the quick way, as long as nothing changes.
            if self._described.full():
                self._described.get_nowait()  # only the newest one is worth a connection
            self._described.put_nowait(description)

    async def open_quick_way(self, log_end: LogEnd) -> None:
        """Open the connections for the quick way, until cancelled.

        This may take long, and nothing waits for it.
        """
        while True:
            description = await self._described.get()
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(self._timeout):
                    await log_end.connect(description)

    async def _inspect(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer
    ) -> tuple[dict[TopicPartition, int], TopicDescription]:
        """The ends of all partitions that exist now, and what the topic is now."""
        while True:
            ends, description = await self._inspect_once(asking, fetching)
            if len(description.leaders) <= len(ends):
                return ends, description
            # A partition was added meanwhile: its end is not known, nor what it contains.
            await asyncio.sleep(_ASK_AGAIN)

    async def _inspect_once(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer
    ) -> tuple[dict[TopicPartition, int], TopicDescription]:
        known = self._known
        partitions = await self.partitions(asking)
        gone = known.positions.keys() - partitions
        if gone:
            raise LogChanged(f"{known.topic} has lost partitions: {numbers_of(gone)}")
        new = partitions - known.positions.keys()
        async with asyncio.timeout(self._timeout):
            if new:
                beginnings: dict[TopicPartition, int] = await asking.beginning_offsets(new)
                known.positions.update(
                    {tp: at for tp, at in beginnings.items() if tp not in known.positions}
                )
                known.marks.keep_only(known.positions)
                assign(fetching, known.positions)
                logger.info("New partitions of %s: %s", known.topic, numbers_of(new))
            ends: dict[TopicPartition, int] = await asking.end_offsets(partitions)
        # After the rest: what it said is of this log, or of no use.
        async with asyncio.timeout(self._timeout):
            return ends, await known.require_same()
