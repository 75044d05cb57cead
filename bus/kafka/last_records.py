"""The last records below a position, as they are in the log now.

They are fetched again and compared with the fingerprints of what was read. A different record at
one of these offsets, or a record at an offset between them where there was none, means another log.
A reader that begins at the end of a log has read none; it gets the fingerprints of the last ones
below its position here.

A record that is missing proves nothing, since compaction and retention remove records. Nor does a
transactional record between the known ones: its transaction may have been aborted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NoError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from bus.kafka.fetch_filter import FetchFilter
from bus.kafka.log_marks import TAIL, Divergence, LogMark, batch_epochs, digest_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from aiokafka.client import AIOKafkaClient

    from bus.kafka.log_marks import Read
    from bus.kafka.topic_identity import TopicDescription

logger = logging.getLogger("takedown.kafka")

_SIZES = (65_536, 4_194_304)
"""Bytes of each partition that are fetched for comparison: a few records first, then a batch of
any size that brokers take by default."""

_WAIT_MS = 50
"""For how long a broker may hold back a fetch that finds nothing."""

_READ_UNCOMMITTED = 0


class LastRecords:
    """Fetches the last records of one topic's partitions.

    Args:
        client: sends the requests; it must know the cluster's nodes.
        topic: which topic.
    """

    def __init__(self, client: AIOKafkaClient, topic: str) -> None:
        self._client = client
        self._topic = topic

    async def differing(
        self,
        description: TopicDescription,
        read: Mapping[int, Read],
        beginnings: Mapping[int, int],
    ) -> dict[int, Divergence]:
        """The partitions whose last records are not the ones that were read, by number.

        Args:
            description: of the topic as it is now.
            read: positions and marks of partitions that exist now.
            beginnings: where the partitions begin now.

        Raises:
            KafkaError: a leader does not answer, or is not the leader any more.
        """
        firsts = {
            number: max(mark.tail[0][0], beginnings.get(number, 0))
            for number, (position, mark) in read.items()
            if mark.tail and beginnings.get(number, 0) < position
        }
        found: dict[int, Divergence] = {}
        async for number, batches in self._batches_from(description, firsts):
            first = firsts[number]
            if batches is None:
                position, _ = read[number]
                how = f"it does not reach to {first} any more"
                found[number] = Divergence(number, position, None, how)
            else:
                clean, unreadable = await self._cleaned(number, first, batches)
                if divergence := _compare(number, read[number], first, clean, unreadable):
                    found[number] = divergence
        return found

    async def marks_below(
        self,
        description: TopicDescription,
        positions: Mapping[int, int],
        beginnings: Mapping[int, int],
    ) -> dict[int, LogMark]:
        """What is in the log just below these positions now, by partition.

        Partitions that have no record there, or none that can be decoded, are left out.

        Args:
            description: of the topic as it is now.
            positions: by partition.
            beginnings: where the partitions begin now.

        Raises:
            KafkaError: a leader does not answer, or is not the leader any more.
        """
        firsts = {
            number: max(position - TAIL, beginnings.get(number, 0))
            for number, position in positions.items()
            if number in description.leaders and beginnings.get(number, 0) < position
        }
        found: dict[int, LogMark] = {}
        async for number, batches in self._batches_from(description, firsts):
            if batches is not None:
                mark = await self._mark_of(number, positions[number], firsts[number], batches)
                if mark is not None:
                    found[number] = mark
        return found

    async def _mark_of(
        self, number: int, position: int, first: int, batches: bytes
    ) -> LogMark | None:
        epochs = [epoch for base, epoch in batch_epochs(batches) if base < position]
        batches, unreadable = await self._cleaned(number, first, batches)
        tail = []
        try:
            for record, _ in _records(batches):
                if first <= record.offset < position and not unreadable(record.offset):
                    tail.append((record.offset, digest_of(record)))
        except (KafkaError, ValueError) as error:  # such as a compression that we do not have
            logger.warning("The last records of partition %d are not known: %s", number, error)
            return None
        return LogMark(epochs[-1], tuple(tail)) if tail else None

    async def _cleaned(
        self, number: int, first: int, batches: bytes
    ) -> tuple[bytes, Callable[[int], bool]]:
        """These batches so that they can be decoded, and which offsets could not be."""
        tp = TopicPartition(self._topic, number)
        clean = FetchFilter(lambda _: first)
        batches = bytes(await clean.clean(tp, batches, first))  # all of it, not decoded
        return batches, lambda offset: clean.unreadable(tp, offset) is not None

    async def _batches_from(
        self, description: TopicDescription, firsts: Mapping[int, int]
    ) -> AsyncIterator[tuple[int, bytes | None]]:
        """Each partition that has batches from its offset on, and these.

        None where the log does not reach that far.
        """
        left = dict(firsts)
        for size in _SIZES:
            answers = await self._fetch(description, left, size)
            for number, batches in answers.items():
                if batches is None or MemoryRecords(batches).has_next():
                    del left[number]
                    yield number, batches
                # Otherwise there is nothing, or not a single whole batch.

    async def _fetch(
        self, description: TopicDescription, offsets: Mapping[int, int], size: int
    ) -> dict[int, bytes | None]:
        """The batches from these offsets on; None where the log does not reach that far."""
        answers: dict[int, bytes | None] = {}
        for leader, numbers in description.by_leader(offsets):
            wanted = [(number, offsets[number], size) for number in numbers]
            request = FetchRequest(
                _WAIT_MS, 1, size * len(wanted), _READ_UNCOMMITTED, [(self._topic, wanted)]
            )
            response = await self._client.send(leader, request)
            for _, partitions in response.topics or ():
                for number, code, *_, batches in partitions:
                    error = for_code(code)
                    if error is OffsetOutOfRangeError:
                        answers[number] = None
                    elif error is not NoError:
                        raise error(f"{self._topic}[{number}]")
                    else:
                        answers[number] = batches or b""
        return answers


def _compare(
    number: int, read: Read, first: int, batches: bytes, unreadable: Callable[[int], bool]
) -> Divergence | None:
    position, mark = read
    known = dict(mark.tail)
    try:
        for record, transactional in _records(batches):
            if not first <= record.offset < position or unreadable(record.offset):
                continue
            expected = known.get(record.offset)
            if expected is None and transactional:
                continue
            if expected is None:
                how = f"there is a record at {record.offset} where there was none"
                return Divergence(number, position, None, how)
            if expected != digest_of(record):
                how = f"there is another record at {record.offset} than the one that we read"
                return Divergence(number, position, None, how)
    except (KafkaError, ValueError) as error:  # such as a compression that we do not have
        logger.warning("The last records of partition %d cannot be compared: %s", number, error)
    return None


def _records(batches: bytes) -> Iterator[tuple[Any, bool]]:
    """Each record of data, and whether it is part of a transaction."""
    records = MemoryRecords(batches)
    while records.has_next():
        batch = records.next_batch()
        if not batch.is_control_batch:
            for record in batch:
                yield record, bool(batch.is_transactional)
