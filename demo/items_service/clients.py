"""Kafka's clients as this service needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

if TYPE_CHECKING:
    from bus.kafka.connection import Connection

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
