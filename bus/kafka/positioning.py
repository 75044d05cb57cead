"""Sets the position of every partition at the start of a session, and confirms each by a fetch.

The partitions are assigned by hand: without a consumer group nothing rebalances, and every position
is set explicitly. Whether a position still exists is judged by a fetch, never by where the log
ends: Apache Kafka refuses a fetch that is out of range, and the embedded broker reports a high
water mark below it (for a batch of several records it says that the log ends after the first of
them). A high water mark below a position is a suspicion only: the new leader of a partition reports
one, too, until its followers have fetched from it once.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from bus.kafka.aiokafka_fixes import client_of, hold_fetches
from bus.kafka.consumers import FIRST_HOLD, assign, beyond_the_log
from bus.kafka.known_log import LogChanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bus.kafka.consumers import TimeLimits
    from bus.kafka.known_log import KnownLog
    from bus.kafka.log_inspection import LogInspection
    from bus.kafka.record_fetcher import RecordFetcher
    from bus.kafka.resume_positions import ResumePositions

_NEW_LEADER = 1.0
"""Seconds in which a new leader learns where its log ends: its followers fetch twice a second."""


class Start(Enum):
    """Where reading begins in a partition that was never read."""

    BEGINNING = "beginning"
    END = "end"


class Positioning:
    """Sets the positions of one reader.

    Args:
        known: the positions, and which log they are of.
        resume: judges the positions of the session before.
        inspection: finds the partitions.
        fetcher: makes the fetches that confirm the positions.
        start: where a reader begins that has read nothing.
        limits: how long to wait for brokers.
    """

    def __init__(
        self,
        known: KnownLog,
        *,
        resume: ResumePositions,
        inspection: LogInspection,
        fetcher: RecordFetcher,
        start: Start,
        limits: TimeLimits,
    ) -> None:
        self._known = known
        self._resume = resume
        self._inspection = inspection
        self._fetcher = fetcher
        self._start = start
        self._limits = limits

    async def position(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer
    ) -> dict[TopicPartition, int]:
        """Decide where each partition is read from, and go there; returns the log's ends.

        Raises:
            LogChanged: the log is not the one that was read.
            KafkaUnavailable: a broker does not answer, or does not know the topic.
            TimeoutError: a fetch is not answered.
        """
        known = self._known
        partitions = await self._inspection.partitions(asking)
        async with asyncio.timeout(self._limits.answer):
            # Before the rest: a topic that is recreated meanwhile is found by the next inspection.
            description = await known.compare(partitions)
            ends: dict[TopicPartition, int] = await asking.end_offsets(partitions)
            beginnings: dict[TopicPartition, int] = await asking.beginning_offsets(partitions)
        first_time = not known.positions
        resumed = self._resume.valid(description.identity, beginnings)
        stable: Mapping[TopicPartition, int] = {}
        if first_time and self._start is Start.END:
            # Not at the end itself: what is in an open transaction now may be committed later.
            stable = await self._stable_ends(fetching, partitions)
        known.identity = description.identity
        positions = {
            tp: stable[tp] if tp in stable else resumed.get(tp, beginnings[tp]) for tp in partitions
        }
        known.positions.clear()
        known.positions.update(positions)
        known.marks.keep_only(known.positions)
        await known.mark(description, beginnings)
        assign(fetching, known.positions)
        await self._confirm(fetching)
        async with asyncio.timeout(self._limits.answer):
            description = await known.require_same()
        known.assume_epochs(description)
        return ends

    async def _stable_ends(
        self, fetching: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        client = client_of(fetching)
        client.add_topic(self._known.topic)
        async with asyncio.timeout(self._limits.answer):
            await client.force_metadata_update()
            ends: dict[TopicPartition, int] = await fetching.end_offsets(partitions)
        return ends

    async def _confirm(self, fetching: AIOKafkaConsumer) -> None:
        """Fetch once from every position, to see that it exists and that we may read it.

        Without this a reader that may request the log's ends but not read it would be ready for a
        moment in each session. Brokers hold fetches back for `hold` only from then on.
        """
        known = self._known
        now = asyncio.get_running_loop().time
        given_up = now() + _NEW_LEADER
        async with asyncio.timeout(self._limits.fetch) as bound:
            while True:
                await self._fetcher.fetch_once(fetching, within=FIRST_HOLD)
                if self._fetcher.is_decoding:  # an answer is there, and takes long to decode
                    bound.reschedule(now() + self._limits.fetch)
                unanswered = {tp for tp in known.positions if fetching.highwater(tp) is None}
                beyond = beyond_the_log(fetching, known.positions)
                if unanswered or (beyond and now() < given_up):
                    continue
                known.replaced |= beyond
                break
        if known.replaced:
            raise LogChanged(f"{known.topic} is shorter than what we have read of it")
        hold_fetches(fetching, self._limits.hold)
