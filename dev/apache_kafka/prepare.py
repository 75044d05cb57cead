"""What is done once on a machine, so that brokers start fast from then on."""

from __future__ import annotations

import asyncio
import os
import shutil

from aiokafka import AIOKafkaProducer

from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from dev.apache_kafka import jars
from dev.apache_kafka.cluster import ApacheKafka


async def prepare() -> None:
    """Download the jars, and record which classes a broker loads, so that others start faster.

    Raises:
        BrokerStartError: Java or Maven is missing, or the broker did not start.
    """
    await asyncio.to_thread(jars.download)
    archive = jars.class_archive()
    if archive.exists():
        return
    new = archive.with_suffix(f".{os.getpid()}.unfinished")
    folder = jars.HOME / f"prepare-{os.getpid()}"
    kafka = ApacheKafka(
        folder=folder,
        java_options=[f"-XX:ArchiveClassesAtExit={new}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"],
        stop_timeout=60.0,
    )
    try:
        async with kafka:
            await _use(kafka.bootstrap_servers)
        if new.exists():
            new.rename(archive)
    finally:
        new.unlink(missing_ok=True)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _use(bootstrap_servers: str) -> None:
    """Have a broker load what tests will use."""
    await ensure_topics(Connection(bootstrap_servers), [Topic("prepare", 1)])
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, transactional_id="prepare", acks="all"
    )
    async with producer, producer.transaction():
        await producer.send_and_wait("prepare", b"value", key=b"key")
