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

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Awaitable

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
    """Stop a consumer; raises nothing but our own cancellation."""
    await _bounded(consumer.stop(), within)
    await _bounded(client_of(consumer).close(), _CLOSE)


async def stop_producer(producer: AIOKafkaProducer, *, within: float) -> None:
    """Send what can be sent within the bound, fail the rest, and stop."""
    await _bounded(producer.stop(), within, on_timeout=lambda: _fail_what_is_left(producer))
    await _bounded(producer.client.close(), _CLOSE)


async def _fail_what_is_left(producer: AIOKafkaProducer) -> None:
    # Closing the connections fails the requests in flight, for which the sender waits.
    await _bounded(producer.client.close(), _CLOSE)
    accumulator = producer._message_accumulator  # noqa: SLF001 - stop() waits for its batches
    accumulator.fail_all(KafkaError("the producer was stopped"))


async def _bounded(work: Awaitable[Any], within: float, *, on_timeout: Any = None) -> None:
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=within)
    if not done:
        if on_timeout is not None:
            await on_timeout()
        task.cancel()
        await asyncio.wait([task], timeout=_CLOSE)
    if task.done() and not task.cancelled() and task.exception() is not None:
        logger.debug("A Kafka client did not stop cleanly: %r", task.exception())
