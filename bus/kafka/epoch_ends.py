"""Where leader epochs end in a log: below a position, the log was cut.

Each new leader of a partition begins a new epoch, and leaders know where each epoch ends
(`OffsetForLeaderEpoch`, KIP-101). If the epoch of the last batch that was read ends below our
position, the log was cut: by an unclean election, or by a replaced disk.

aiokafka 0.14 does not know the request. Version 3, which Apache Kafka has had since 2.4, is written
down here as the protocol's description has it. The embedded broker does not know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from aiokafka.errors import (
    IncompatibleBrokerVersion,
    NoError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String

from bus.kafka.log_marks import Divergence
from bus.kafka.topic_identity import UNKNOWN_EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.client import AIOKafkaClient

    from bus.kafka.log_marks import Read
    from bus.kafka.safeguards import Safeguards
    from bus.kafka.topic_identity import TopicDescription

_CONSUMER = -1


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


class EpochEnds:
    """Compares where one topic's leader epochs end with what was read.

    Args:
        client: sends the requests; it must know the cluster's nodes.
        topic: which topic.
        safeguards: notes when the brokers do not report leader epochs.
    """

    def __init__(self, client: AIOKafkaClient, topic: str, safeguards: Safeguards) -> None:
        self._client = client
        self._topic = topic
        self._safeguards = safeguards
        self._name = f"{topic}: leader epochs"

    async def differing(
        self, description: TopicDescription, read: Mapping[int, Read]
    ) -> dict[int, Divergence]:
        """The partitions that were cut below their positions, by number.

        Args:
            description: of the topic as it is now.
            read: positions and marks of partitions that exist now.

        Raises:
            KafkaError: a leader does not answer, or is not the leader any more.
        """
        if all(epoch == UNKNOWN_EPOCH for epoch in description.epochs.values()):
            self._missing("the brokers do not report them")
            return {}
        found: dict[int, Divergence] = {}
        undefined = False
        for leader, numbers in description.by_leader(description.leaders):
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
