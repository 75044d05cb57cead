"""The two aiokafka consumers of a reader's session: their options, and their positions.

One consumer fetches. The other one only sends requests about the log (its partitions, where they
begin and end): on the fetching consumer's connection these would wait behind a fetch that the
broker holds back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from bus.kafka.aiokafka_fixes import stop_consumer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from bus.kafka.connection import Connection

ConsumerFactory: TypeAlias = Callable[..., Any]
"""Makes a consumer from options, as the class `AIOKafkaConsumer` does."""

ASKING = "asking"
FETCHING = "fetching"

TURN = 500
"""Records that are handled before other tasks of the event loop run."""

FIRST_HOLD = 0.01
"""Seconds for which a broker may hold back the fetches that confirm the positions."""


@contextlib.asynccontextmanager
async def open_consumer(
    factory: ConsumerFactory, connection: Connection, topic: str, role: str, *, stop_within: float
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer, which is stopped at the end of the block.

    Args:
        factory: makes it.
        connection: how Kafka is reached.
        topic: which topic; part of the client id, like `role`.
        role: `ASKING` or `FETCHING`.
        stop_within: seconds within which it must have stopped.

    Raises:
        KafkaError: the consumer cannot start.
        TimeoutError: it has not started within the connection's request timeout.
    """
    consumer = factory(**_options(connection, topic, role))
    try:
        async with asyncio.timeout(connection.request_timeout):
            await consumer.start()
        yield consumer
    finally:
        await stop_consumer(consumer, within=stop_within)


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
        "isolation_level": "read_uncommitted" if role == ASKING else "read_committed",
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
