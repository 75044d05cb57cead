"""The other side of Kafka: an Items service that says yes at once, as cheaply as it can.

It creates the run's topics, publishes the items, prints `ready`, and from then on answers each
request with a deletion. Requests are read and answered in batches, and a reply goes to its
request's partition (both topics have as many, and the same key), so that nothing is hashed.

    python -m dev.bench.responder --bootstrap 127.0.0.1:9092 --prefix bench --servers a,b
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bus.kafka.connection import Connection
from bus.kafka.topics import ensure_topics
from dev.bench.items import PARTITIONS, Topics, containers_of, item_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH_BYTES = 1_000_000
WAIT_MS = 100


class Request(msgspec.Struct, rename="camel"):
    """As much of an `item_reported` as the answer repeats."""

    item_id: str
    container_id: str
    container_type: str


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


async def publish_items(
    producer: AIOKafkaProducer, topic: str, sizes: Sequence[int], count: int
) -> None:
    """Write `count` items for each size in `sizes` (containers of an item)."""
    encode = msgspec.json.encode
    acknowledgements: list[asyncio.Future[Any]] = []
    published_at = now()
    for size in sizes:
        containers = containers_of(size)
        for item_id in item_ids(size, count):
            value = {"itemId": item_id, "containers": containers, "publishedAt": published_at}
            acknowledgements.append(await producer.send(topic, encode(value), key=item_id.encode()))
    await asyncio.gather(*acknowledgements)


async def answer_requests(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, reply_topics: dict[str, str]
) -> None:
    """Answer for ever what comes in the topics that are the keys of `reply_topics`."""
    decode = msgspec.json.Decoder(Request).decode
    starts: dict[tuple[str, str], bytes] = {}
    expected = {tp: await consumer.position(tp) for tp in consumer.assignment()}
    while True:
        records = without_gaps(consumer, await consumer.getmany(timeout_ms=WAIT_MS), expected)
        if not records:
            continue
        end = f',"deletedAt":"{now()}"}}'.encode()
        timestamp = int(time.time() * 1000)
        for partition, requests in records.items():
            topic = reply_topics[partition.topic]
            batch = producer.create_batch()
            for record in requests:
                request = decode(record.value)
                start = starts.get((request.item_id, request.container_id))
                if start is None:
                    start = msgspec.json.encode(request)[:-1]
                    starts[request.item_id, request.container_id] = start
                value = start + end
                if batch.append(timestamp=timestamp, key=record.key, value=value) is None:
                    await producer.send_batch(batch, topic, partition=partition.partition)
                    batch = producer.create_batch()
                    batch.append(timestamp=timestamp, key=record.key, value=value)
            await producer.send_batch(batch, topic, partition=partition.partition)


def without_gaps(
    consumer: AIOKafkaConsumer,
    records: dict[TopicPartition, list[Any]],
    expected: dict[TopicPartition, int],
) -> dict[TopicPartition, list[Any]]:
    """What was read, up to the first record that is missing; from there it is read again.

    The embedded broker may show a record before the one that another producer is still writing in
    front of it; whoever goes on from there never sees that one. Nobody writes requests in
    transactions or compacts them, so that there is no other reason for a gap.

    Args:
        consumer: what they come from.
        records: what it has fetched.
        expected: the next offset of each partition; brought up to date.
    """
    whole: dict[TopicPartition, list[Any]] = {}
    for partition, found in records.items():
        following = expected[partition]
        for record in found:
            if record.offset > following:
                consumer.seek(partition, following)
                break
            whole.setdefault(partition, []).append(record)
            following = record.offset + 1
        expected[partition] = following
    return whole


async def run(options: argparse.Namespace) -> None:
    topics = Topics(options.prefix)
    servers: list[str] = options.servers.split(",")
    await ensure_topics(Connection(options.bootstrap), topics.to_create(servers), timeout=30.0)
    async with AsyncExitStack() as stack:
        producer = AIOKafkaProducer(
            bootstrap_servers=options.bootstrap, acks=1, linger_ms=0, max_batch_size=BATCH_BYTES
        )
        await producer.start()
        stack.push_async_callback(producer.stop)
        sizes = [int(size) for size in options.containers.split(",")]
        await publish_items(producer, topics.item_published, sizes, options.items)

        consumer = AIOKafkaConsumer(
            bootstrap_servers=options.bootstrap, fetch_max_wait_ms=options.fetch_max_wait_ms
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        partitions = [
            TopicPartition(topics.item_reported(server), number)
            for server in servers
            for number in range(PARTITIONS)
        ]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)

        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        print("ready", flush=True)
        reply_topics = {
            topics.item_reported(server): topics.item_deleted(server) for server in servers
        }
        answering = asyncio.create_task(answer_requests(consumer, producer, reply_topics))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((answering, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if answering.done():
            await answering  # it never ends well by itself
        answering.cancel()
    if options.delete_topics:
        await delete_topics(options.bootstrap, [topic.name for topic in topics.to_create(servers)])


async def delete_topics(bootstrap: str, names: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(names)
    finally:
        await admin.close()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.responder")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", default="bench")
    parser.add_argument("--servers", required=True, help="comma list of servers to answer")
    parser.add_argument("--containers", default="1,3,20", help="comma list of items' sizes")
    parser.add_argument("--items", type=int, default=2000, help="how many of each size")
    parser.add_argument("--delete-topics", action="store_true", help="in the end")
    parser.add_argument("--fetch-max-wait-ms", type=int, default=500)
    return parser


if __name__ == "__main__":
    uvloop.run(run(arguments().parse_args()))
