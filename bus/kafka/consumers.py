"""The two aiokafka consumers of a reader's session: their options, and their positions.

One consumer fetches. The other one only sends requests about the log (its partitions, where they
begin and end): on the fetching consumer's connection these would wait behind a fetch that the
broker holds back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bus.kafka.aiokafka_fixes import stop_consumer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bus.kafka.connection import Connection

ConsumerFactory: TypeAlias = Callable[..., Any]
"""Makes a consumer from options, as the class `AIOKafkaConsumer` does."""

_ASKING = "asking"
_FETCHING = "fetching"

TURN = 500
"""Records that are handled before other tasks of the event loop run."""

FIRST_HOLD = 0.01
"""Seconds for which a broker may hold back the fetches that confirm the positions."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a reader waits for brokers.

    Attributes:
        answer: seconds within which a broker must have answered a request.
        fetch: seconds within which it must have answered a fetch.
        hold: seconds for which it may hold a fetch back while there is nothing new.
    """

    answer: float
    fetch: float
    hold: float

    @classmethod
    def of(cls, *, answer: float, hold: float) -> TimeLimits:
        """With time for a fetch that is held back twice."""
        return cls(answer, max(answer, 2 * hold + 1), hold)


class SessionConsumers:
    """Opens the consumers of one reader's sessions.

    Args:
        factory: makes a consumer.
        connection: how Kafka is reached.
        topic: which topic.
        stop_within: seconds within which a consumer must have stopped.
    """

    def __init__(
        self, factory: ConsumerFactory, connection: Connection, topic: str, *, stop_within: float
    ) -> None:
        self._factory = factory
        self._connection = connection
        self._topic = topic
        self._stop_within = stop_within

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[AIOKafkaConsumer, AIOKafkaConsumer]]:
        """The one for requests and the one that fetches, until the end of the block.

        Raises:
            KafkaError: a consumer cannot start.
            TimeoutError: it has not started within the connection's request timeout.
        """
        async with self._started(_ASKING) as asking, self._started(_FETCHING) as fetching:
            yield asking, fetching

    @contextlib.asynccontextmanager
    async def _started(self, role: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._factory(**_options(self._connection, self._topic, role))
        try:
            async with asyncio.timeout(self._connection.request_timeout):
                await consumer.start()
            yield consumer
        finally:
            await stop_consumer(consumer, within=self._stop_within)


def _options(connection: Connection, topic: str, role: str) -> dict[str, Any]:
    return {
        **connection.client_options(f"{topic}-{role}"),
        "fetch_max_wait_ms": round(FIRST_HOLD * 1000),
        "max_poll_records": TURN,  # a batch can hold millions
        "check_crcs": False,  # the filter has compared them, and changes batches
        # The reader itself investigates a position that the log does not have.
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        # A deletion inside an aborted transaction did not happen. But the log's end is requested
        # without regard to transactions: what was committed after the start of an open one
        # exists, although it cannot be read yet.
        "isolation_level": "read_uncommitted" if role == _ASKING else "read_committed",
    }


def assign(fetching: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]) -> None:
    """Assign these partitions and set every position.

    It does not await in between: the fetcher must not see a partition without a position.
    """
    fetching.assign(list(positions))
    for tp, position in positions.items():
        fetching.seek(tp, position)


def beyond_the_log(
    fetching: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]
) -> set[TopicPartition]:
    """The partitions of which the last fetch reported an end before our position."""
    return {
        tp
        for tp, position in positions.items()
        if (highwater := fetching.highwater(tp)) is not None and highwater < position
    }


def numbers_of(partitions: Iterable[TopicPartition]) -> str:
    """The numbers of these partitions, for people."""
    return ", ".join(str(tp.partition) for tp in sorted(partitions))
