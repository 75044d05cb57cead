"""What aiokafka 0.14 does not do for us, worked round in this one place.

- `AIOKafkaConsumer.stop()` may raise the `CancelledError` of one of its own tasks, such as a fetch
  that waits for its next attempt (https://github.com/aio-libs/aiokafka/issues/647): the caller
  would take it for its own cancellation, and the connections would stay open.
  `AIOKafkaProducer.stop()` may never return while a broker is away. So both are stopped from a
  task of their own, within a bound, and the client is closed after that in any case.
- The consumer keeps its client private; the producer does not say that its background task has
  died, and then fails each record one by one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.client import AIOKafkaClient

logger = logging.getLogger("takedown.kafka")

_CLOSE = 1.0


def client_of(consumer: AIOKafkaConsumer) -> AIOKafkaClient:
    """The client below a consumer: topics, metadata, connections."""
    return consumer._client  # noqa: SLF001 - public in the producer, private here


def sender_of(producer: AIOKafkaProducer) -> asyncio.Task[None]:
    """The task that sends what a producer has taken; when it is done, nothing is sent any more."""
    task: asyncio.Task[None] = producer._sender.sender_task  # noqa: SLF001 - nothing public says it
    return task


async def stop_consumer(consumer: AIOKafkaConsumer, *, within: float) -> None:
    """Stop a consumer, whatever state it and the broker are in; never raises."""
    if not await _in_time(consumer.stop(), within):
        await _in_time(client_of(consumer).close(), _CLOSE)


async def stop_producer(producer: AIOKafkaProducer, *, within: float) -> None:
    """Send what can be sent within the bound, fail the rest, and stop; never raises."""
    if await _in_time(producer.stop(), within):
        return
    # Fail what waits, cut the connections, which fails what is under way, and only then end the
    # sender, which waits for what is under way.
    gone = KafkaConnectionError("the producer was stopped before Kafka answered")
    producer._message_accumulator.fail_all(gone)  # noqa: SLF001 - stop() waits for its batches
    await _in_time(producer.client.close(), _CLOSE)
    await _in_time(producer._sender.close(), _CLOSE)  # noqa: SLF001 - nothing public ends it


async def _in_time(ending: Coroutine[Any, Any, Any], within: float) -> bool:
    """Whether it ended by itself, without an error, within so many seconds."""
    task = asyncio.ensure_future(ending)
    await asyncio.wait([task], timeout=within)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CLOSE)
        return False
    if task.cancelled():
        return False  # not by us: see above
    if error := task.exception():
        logger.debug("A Kafka client did not stop cleanly: %r", error)
        return False
    return True
