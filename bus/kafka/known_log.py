"""Is the log that is read still the one that was read? Asked in every session, at each change.

It is another one if its topic was deleted and created again (the ids differ), and it is not what it
was if it was cut below our position and has grown since (see `bus.kafka.log_verification`). Leader
epochs say when that may have happened: whenever a partition's epoch rises, in the topic's
description or in a batch that was fetched, everything that was read is compared again, before
anything of the new leader is handled, and before its end of the log proves anything. A leader that
moved in good order passes, and reading goes on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, LeaderNotAvailableError, UnknownError

from bus.kafka.log_marks import ReadMarks
from bus.kafka.log_verification import LogVerification
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_identity import UNKNOWN_EPOCH, describe_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from aiokafka import AIOKafkaConsumer

    from bus.kafka.log_marks import Divergence
    from bus.kafka.topic_identity import TopicDescription, TopicIdentity

logger = logging.getLogger("takedown.kafka")

_ASK_AGAIN = 0.05
"""Seconds until brokers are asked again that do not know of a change yet."""


class LogChanged(Exception):
    """The log is not the one that was read."""


class KnownLog:
    """What is known of one topic's log, and up to where it was read.

    Args:
        topic: which topic.
        timeout: seconds within which brokers must have answered and agreed.
        safeguards: notes what the brokers do not report.

    Attributes:
        topic: which topic.
        identity: which log was read; None before the first session.
        positions: the next offset of each partition; always this dictionary, changed in place.
        marks: what was read last of each partition.
        replaced: partitions of which the broker does not have our position any more, or may not.
        diverged: partitions that were found to be other logs, until `judged`.
    """

    def __init__(self, topic: str, *, timeout: float, safeguards: Safeguards | None = None) -> None:
        self.topic = topic
        self.identity: TopicIdentity | None = None
        self.positions: dict[TopicPartition, int] = {}
        self.marks = ReadMarks()
        self.replaced: set[TopicPartition] = set()
        self.diverged: dict[int, Divergence] = {}
        self._timeout = timeout
        self._safeguards = safeguards or Safeguards()
        self._verified: dict[int, int] = {}
        self._asking: Any = None
        self._client: Any = None
        self._verification: LogVerification | None = None
        self._on_doubt: Callable[[], object] = lambda: None

    def begin(self, asking: AIOKafkaConsumer, client: Any, on_doubt: Callable[[], object]) -> None:
        """A session begins.

        Args:
            asking: asks where partitions begin.
            client: below it.
            on_doubt: called when what leaders reported until now is not to be trusted any more.
        """
        self._asking, self._client, self._on_doubt = asking, client, on_doubt
        self._verification = LogVerification(client, self.topic, self._safeguards)
        self._verified = {}
        self.marks.begin()

    # --------------------------------------------------------------------------- a session

    async def compare(self, positions: Collection[TopicPartition]) -> TopicDescription:
        """Compare the log with what was read of it, before positions are carried on.

        Returns what the topic is now. What differs is in `diverged`. With another identity there
        is nothing to compare.

        Args:
            positions: partitions that exist now.
        """
        description = await self._compared(positions)
        self._verified = dict(description.epochs)
        self._note_missing(description.identity)
        return description

    async def mark(
        self, description: TopicDescription, beginnings: Mapping[TopicPartition, int]
    ) -> None:
        """Take fingerprints of what stands below positions where nothing was read.

        Without them a cut would go unnoticed that repeats a leader epoch.
        """
        assert self._verification is not None
        bare = self.marks.without_tail()
        async with asyncio.timeout(self._timeout):
            found = await self._verification.marks_below(
                description,
                {tp.partition: position for tp, position in bare.items()},
                {tp.partition: at for tp, at in beginnings.items()},
            )
        for number, mark in found.items():
            self.marks.found(TopicPartition(self.topic, number), mark)

    async def require_same(self) -> TopicDescription:
        """Make sure that the log is still the one that is read; returns what it is now.

        Raises:
            LogChanged: it is not.
        """
        description = await self._described_since(self.marks.newest_epochs())
        self._require_identity(description)
        if _rises(description.epochs, self._verified):
            return await self.verify()
        for number, epoch in description.epochs.items():
            self._verified.setdefault(number, epoch)  # a new partition
        return description

    def assume_epochs(self, description: TopicDescription) -> None:
        """Where no leader epoch is known of what was read, it was not read in a later one."""
        for number, epoch in description.epochs.items():
            if self._verified.get(number) == epoch:
                self.marks.assume(TopicPartition(self.topic, number), epoch)

    def fetched(self, tp: TopicPartition, batches: bytes) -> None:
        """These raw batches came; they are handled after `verify_fetched`."""
        self.marks.fetched(tp, batches)

    async def verify_fetched(self) -> None:
        """Before what was fetched is handled: verify the log if a new leader has sent it.

        Otherwise a log that was cut would be read on as if nothing had happened.

        Raises:
            LogChanged: it is not the log that was read.
        """
        if _rises(self.marks.newest_epochs(), self._verified):
            await self.verify()

    async def verify(self) -> TopicDescription:
        """Make sure that below each position there still is what was read.

        Raises:
            LogChanged: it is not.
        """
        self._on_doubt()
        async with asyncio.timeout(self._timeout):
            description = await self._compared(self.marks.partitions())
        self._require_identity(description)
        if self.diverged:
            numbers = ", ".join(map(str, sorted(self.diverged)))
            raise LogChanged(f"{self.topic}[{numbers}] is not the log that we have read")
        self._verified |= description.epochs
        return description

    # --------------------------------------------------------------------------- judgement

    def judged(
        self, beginnings: Mapping[TopicPartition, int]
    ) -> tuple[dict[TopicPartition, str], dict[TopicPartition, int]]:
        """What is wrong with which partitions, and from where they can be read on, if known."""
        problems, read_on = {}, {}
        for number, found in self.diverged.items():
            tp = TopicPartition(self.topic, number)
            at = "below that" if found.at is None else f"from {found.at} on"
            problems[tp] = (
                f"{self.topic}[{number}] is not the log that we read to {found.position}: "
                f"it differs {at} ({found.how})"
            )
            if found.at is not None and tp in beginnings:
                read_on[tp] = max(found.at, beginnings[tp])
        self.diverged.clear()
        return problems, read_on

    def forget(self) -> None:
        """Everything is read again."""
        self.replaced.clear()
        self.diverged.clear()
        self.marks.clear()

    # ----------------------------------------------------------------------------- asking

    def _require_identity(self, description: TopicDescription) -> None:
        if self._is_another(description):
            raise LogChanged(f"{self.topic} was recreated")

    def _is_another(self, description: TopicDescription) -> bool:
        return self.identity is not None and description.identity.differs_from(self.identity)

    async def _described_since(self, epochs: Mapping[int, int]) -> TopicDescription:
        """The topic, by a broker that knows leaders of which we have records."""
        async with asyncio.timeout(self._timeout):
            while True:
                description = await describe_topic(self._client, self.topic)
                if self._is_another(description) or not _rises(epochs, description.epochs):
                    return description
                await asyncio.sleep(_ASK_AGAIN)

    async def _compared(self, partitions: Collection[TopicPartition]) -> TopicDescription:
        assert self._verification is not None
        while True:
            description = await self._described_since(self.marks.newest_epochs())
            if self._is_another(description):
                return description
            try:
                if any(leader < 0 for leader in description.leaders.values()):
                    raise LeaderNotAvailableError(f"not every partition of {self.topic} is led")
                beginnings = await self._asking.beginning_offsets(set(partitions))
                self.diverged |= await self._verification.differing(
                    description,
                    self.marks.of(partitions),
                    {tp.partition: at for tp, at in beginnings.items()},
                )
            except KafkaError as error:
                # As while leaders move: the next description names the new one. aiokafka knows no
                # names for the errors about leader epochs.
                if not (error.retriable or isinstance(error, UnknownError)):
                    raise
                logger.info("%s cannot be verified yet: %s", self.topic, error)
                await asyncio.sleep(_ASK_AGAIN)
            else:
                return description

    def _note_missing(self, identity: TopicIdentity) -> None:
        name = f"{self.topic}: topic id"
        if identity.topic_id:
            self._safeguards.present(name)
        else:
            why = "the brokers do not report it; a topic that was recreated may go unnoticed"
            self._safeguards.missing(name, why)


def _rises(epochs: Mapping[int, int], above: Mapping[int, int]) -> bool:
    """Whether a partition's leader epoch is higher than what is known; unknown ones are not."""
    return any(
        epoch > UNKNOWN_EPOCH and UNKNOWN_EPOCH < above.get(number, UNKNOWN_EPOCH) < epoch
        for number, epoch in epochs.items()
    )
