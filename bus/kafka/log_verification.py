"""Is a log still the one that was read? Two independent checks.

A position is resumed only if nothing below it has changed, by where leader epochs end
(`bus.kafka.epoch_ends`) and by the last records (`bus.kafka.last_records`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.kafka.epoch_ends import EpochEnds
from bus.kafka.last_records import LastRecords

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.client import AIOKafkaClient

    from bus.kafka.log_marks import Divergence, LogMark, Read
    from bus.kafka.safeguards import Safeguards
    from bus.kafka.topic_identity import TopicDescription


class LogVerification:
    """Compares one topic's log with what was read of it.

    Bound every request with a timeout of your own.

    Args:
        client: sends the requests; it must know the cluster's nodes.
        topic: which topic.
        safeguards: notes when the brokers do not report leader epochs.
    """

    def __init__(self, client: AIOKafkaClient, topic: str, safeguards: Safeguards) -> None:
        self._epochs = EpochEnds(client, topic, safeguards)
        self._records = LastRecords(client, topic)

    async def differing(
        self,
        description: TopicDescription,
        read: Mapping[int, Read],
        beginnings: Mapping[int, int],
    ) -> dict[int, Divergence]:
        """The partitions whose logs are not the ones that were read, by number.

        Args:
            description: of the topic as it is now.
            read: partitions that were read, with their positions and marks. Those that do not
                exist any more are left out.
            beginnings: where the partitions begin now.

        Raises:
            KafkaError: a leader does not answer, or is not the leader any more.
        """
        read = {number: known for number, known in read.items() if number in description.leaders}
        found = await self._epochs.differing(description, read)
        rest = {number: known for number, known in read.items() if number not in found}
        return found | await self._records.differing(description, rest, beginnings)

    async def marks_below(
        self,
        description: TopicDescription,
        positions: Mapping[int, int],
        beginnings: Mapping[int, int],
    ) -> dict[int, LogMark]:
        """What is in the log just below these positions now; see `LastRecords.marks_below`."""
        return await self._records.marks_below(description, positions, beginnings)
