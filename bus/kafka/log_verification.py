"""Is a log still the one that was read? What its leaders report about epochs and last records.

A position is carried on only if nothing below it has changed. Two independent checks:

- `OffsetForLeaderEpoch`: where the log ends for the leader epoch of the last batch that was read.
  Below our position means that the log was cut: an unclean election, or a replaced disk.
- The last records that were read are fetched again and compared with their fingerprints. A
  different record at one of these offsets, or a record at an offset between them where there was
  none, means another log. A reader that begins at the end of a log has read none; it fetches the
  last ones below its position for that.

A record that is missing proves nothing, since compaction and retention remove records. Nor does a
transactional record between the known ones: its transaction may have been aborted.

aiokafka 0.14 does not know `OffsetForLeaderEpoch`; version 3, which Apache Kafka has had since 2.4,
is written down here as the protocol's description has it. The embedded broker does not know it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String
from aiokafka.record.memory_records import MemoryRecords

from bus.kafka.fetch_filter import FetchFilter
from bus.kafka.log_marks import TAIL, LogMark, batch_epochs, digest_of
from bus.kafka.topic_identity import UNKNOWN_EPOCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from aiokafka.client import AIOKafkaClient

    from bus.kafka.safeguards import Safeguards
    from bus.kafka.topic_identity import TopicDescription

logger = logging.getLogger("takedown.kafka")

_SIZES = (65_536, 4_194_304)
"""Bytes of each partition that are fetched for comparison: a few records first, then a batch of
any size that brokers take by default."""

_WAIT_MS = 50
"""For how long a broker may hold back a fetch that finds nothing."""

_CONSUMER = -1
_READ_UNCOMMITTED = 0


@dataclass(frozen=True, slots=True)
class Divergence:
    """A partition whose log is not the one that was read.

    Attributes:
        partition: its number.
        position: up to where it was read.
        at: the offset from which on the two logs differ; None if that is not known.
        how: how this was found.
    """

    partition: int
    position: int
    at: int | None
    how: str


class OffsetForLeaderEpochResponse_v3(Response):  # type: ignore[misc] # noqa: N801 - as aiokafka does
    """Where a leader epoch ends."""

    API_KEY = 23
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_epoch", Int32),
                        ("end_offset", Int64),
                    ),
                ),
            ),
        ),
    )


class OffsetForLeaderEpochRequest_v3(RequestStruct):  # type: ignore[misc] # noqa: N801
    """Asks a partition's leader where a leader epoch ends in its log."""

    API_KEY = 23
    API_VERSION = 3
    RESPONSE_TYPE = OffsetForLeaderEpochResponse_v3
    SCHEMA = Schema(
        ("replica_id", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("leader_epoch", Int32),
                    ),
                ),
            ),
        ),
    )


class OffsetForLeaderEpochRequest(Request[OffsetForLeaderEpochRequest_v3]):  # type: ignore[misc]
    """About one topic's partitions: number, current leader epoch, leader epoch in question."""

    API_KEY: ClassVar[int] = 23

    def __init__(self, topic: str, partitions: list[tuple[int, int, int]]) -> None:
        self._topic = topic
        self._partitions = partitions

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """The request in the one version that is known."""
        return request_struct_class(_CONSUMER, [(self._topic, self._partitions)])


Read = tuple[int, "LogMark"]
"""A position, and what was read just below it."""


class LogVerification:
    """Compares one topic's log with what was read of it.

    Args:
        client: asks the brokers; it must know the cluster's nodes.
        topic: which topic.
        safeguards: notes when the brokers do not report leader epochs.
    """

    def __init__(self, client: AIOKafkaClient, topic: str, safeguards: Safeguards) -> None:
        self._client = client
        self._topic = topic
        self._safeguards = safeguards
        self._name = f"{topic}: leader epochs"

    async def differing(
        self,
        description: TopicDescription,
        read: Mapping[int, Read],
        beginnings: Mapping[int, int],
    ) -> dict[int, Divergence]:
        """The partitions whose logs are not the ones that were read, by number.

        Bound it with a timeout of your own.

        Args:
            description: of the topic as it is now.
            read: partitions that were read, with their positions and marks. Those that do not
                exist any more are left out.
            beginnings: where the partitions begin now.

        Raises:
            KafkaError: a leader could not be asked, or is not the leader any more.
        """
        read = {number: known for number, known in read.items() if number in description.leaders}
        found = await self._by_epochs(description, read)
        rest = {number: known for number, known in read.items() if number not in found}
        return found | await self._by_fingerprints(description, rest, beginnings)

    async def marks_below(
        self,
        description: TopicDescription,
        positions: Mapping[int, int],
        beginnings: Mapping[int, int],
    ) -> dict[int, LogMark]:
        """What stands in the log just below these positions now, by partition.

        Partitions that have no record there, or none that can be decoded, are left out.
        Bound it with a timeout of your own.

        Args:
            description: of the topic as it is now.
            positions: by partition.
            beginnings: where the partitions begin now.

        Raises:
            KafkaError: a leader could not be asked, or is not the leader any more.
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

    # --------------------------------------------------------------------- leader epochs

    async def _by_epochs(
        self, description: TopicDescription, read: Mapping[int, Read]
    ) -> dict[int, Divergence]:
        if all(epoch == UNKNOWN_EPOCH for epoch in description.epochs.values()):
            self._missing("the brokers do not report them")
            return {}
        found: dict[int, Divergence] = {}
        undefined = False
        for leader, numbers in _by_leader(description, description.leaders):
            wanted = []
            for number in numbers:
                now = description.epochs[number]
                epoch = read[number][1].epoch if number in read else UNKNOWN_EPOCH
                # Without one of ours the current one: whether leaders can be asked at all has to
                # be known before it matters.
                wanted.append((number, now, now if epoch == UNKNOWN_EPOCH else epoch))
            try:
                response = await self._client.send(
                    leader, OffsetForLeaderEpochRequest(self._topic, wanted)
                )
            except (IncompatibleBrokerVersion, NotImplementedError):
                self._missing("the broker cannot be asked where they end (OffsetForLeaderEpoch)")
                return {}
            rows = [row for _, partitions in response.topics or () for row in partitions]
            if any(for_code(code) is TopicAuthorizationFailedError for code, *_ in rows):
                self._missing("we are not allowed to ask where they end")
                return {}
            for code, number, _, end in rows:
                if (error := for_code(code)) is not NoError:
                    raise error(f"{self._topic}[{number}]")
                undefined |= end < 0
                now = description.epochs[number]
                if number in read and (divergence := _cut(number, read[number], end, now)):
                    found[number] = divergence
        if undefined:
            self._missing("the brokers do not know where they end")
        else:
            self._safeguards.present(self._name)
        return found

    def _missing(self, why: str) -> None:
        self._safeguards.missing(
            self._name,
            f"{why}; a log that was cut and has grown again is recognized by its last records only",
        )

    # ------------------------------------------------------------------------ fingerprints

    async def _by_fingerprints(
        self,
        description: TopicDescription,
        read: Mapping[int, Read],
        beginnings: Mapping[int, int],
    ) -> dict[int, Divergence]:
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
            elif divergence := await self._compared(number, read[number], first, batches):
                found[number] = divergence
        return found

    async def _compared(
        self, number: int, read: Read, first: int, batches: bytes
    ) -> Divergence | None:
        batches, unreadable = await self._cleaned(number, first, batches)
        return _compare(number, read, first, batches, unreadable)

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
        """Each partition in which something stands from its offset on, and what.

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
        """What stands from these offsets on; None where the log does not reach that far."""
        answers: dict[int, bytes | None] = {}
        for leader, numbers in _by_leader(description, offsets):
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


def _by_leader(
    description: TopicDescription, numbers: Iterable[int]
) -> Iterator[tuple[int, list[int]]]:
    led: dict[int, list[int]] = {}
    for number in numbers:
        leader = description.leaders[number]
        if leader < 0:
            raise LeaderNotAvailableError(f"partition {number} has no leader")
        led.setdefault(leader, []).append(number)
    yield from led.items()


def _cut(number: int, read: Read, end: int, now: int) -> Divergence | None:
    position, mark = read
    if mark.epoch == UNKNOWN_EPOCH or not 0 <= end < position:
        return None
    how = (
        f"its last batch below that was of leader epoch {mark.epoch}; "
        f"now batches of this epoch or earlier ones end at {end}"
    )
    # Where the epoch that we have read is the present one, another log goes by the same number: it
    # may differ anywhere below its end.
    return Divergence(number, position, end if mark.epoch < now else None, how)


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
