"""Kafka's clients as this service needs them, and their end, which never takes long."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

if TYPE_CHECKING:
    from bus.connection import Connection

logger = logging.getLogger("takedown.items_service")

STOP_TIMEOUT = 1.0
"""Seconds that a client may take to say goodbye properly."""


def make_producer(connection: Connection) -> AIOKafkaProducer:
    """A producer; every acknowledgement stands for all replicas."""
    # Not idempotent: the embedded broker does not know it, and the outbox repeats anyway.
    return AIOKafkaProducer(**connection.client_options(), acks="all", linger_ms=0)


def make_consumer(connection: Connection) -> AIOKafkaConsumer:
    """A consumer without a group; where it reads is ours to say."""
    return AIOKafkaConsumer(
        **connection.client_options(),
        fetch_max_wait_ms=round(connection.fetch_max_wait * 1000),
        enable_auto_commit=False,
        # Never jump silently: an offset that is gone ends the session, and the next one decides.
        auto_offset_reset="none",
    )


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop it, whatever state it and the broker are in."""
    if await _in_time(consumer.stop()):
        return
    await _in_time(consumer._client.close())  # noqa: SLF001 - aiokafka has no other way


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Stop it, whatever state it and the broker are in. What it still held is in the outbox.

    aiokafka's own `stop` waits until everything is delivered, however long that takes. If that
    is too long: fail what is waiting, cut the connections (which fails what is under way), and
    only then end the sender, which waits for what is under way.
    """
    if await _in_time(producer.stop()):
        return
    gone = KafkaConnectionError("the producer was stopped before Kafka answered")
    producer._message_accumulator.fail_all(gone)  # noqa: SLF001 - aiokafka has no other way
    await _in_time(producer.client.close())
    await _in_time(producer._sender.close())  # noqa: SLF001 - aiokafka has no other way


async def _in_time(ending: object) -> bool:
    task = asyncio.ensure_future(ending)  # type: ignore[call-overload]  # aiokafka is untyped
    await asyncio.wait({task}, timeout=STOP_TIMEOUT)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_TIMEOUT)
        return False
    if task.cancelled():
        # Not by us: aiokafka's consumer awaits fetches that it has cancelled, and stops there
        # with their `CancelledError` before it closes its connections.
        return False
    if error := task.exception():
        logger.debug("A Kafka client did not stop cleanly: %r", error)
        return False
    return True
