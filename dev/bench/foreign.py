"""Events for other instances' items: what each costs that is read and is not ours.

    python -m dev.bench.foreign write --bootstrap 127.0.0.1:9092 --topic item_deleted --count 200000
    python -m dev.bench.foreign read ...   # a bare consumer that drops them: the library's part

`write` prints nothing. `read` prints one JSON object: CPU microseconds of each event.
"""

from __future__ import annotations

import argparse
import time

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from dev.bench.items import PARTITIONS

BATCH_BYTES = 500_000


async def write(bootstrap: str, topic: str, count: int) -> None:
    """Write `count` deletions of items that nobody asks for, evenly over the partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        each = count // PARTITIONS
        for partition in range(PARTITIONS):
            extra = count - each * PARTITIONS if partition == 0 else 0
            batch = producer.create_batch()
            for number in range(each + extra):
                item_id = f"ffffffff-0000-4000-8{partition:03d}-{number:012d}"
                value = (
                    b'{"itemId":"%b","containerId":"group-0001","containerType":"group",'
                    b'"deletedAt":"2026-01-02T12:00:00.000Z"}' % item_id.encode()
                )
                key = item_id.encode()
                if batch.append(timestamp=None, key=key, value=value) is None:
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value)
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str, count: int) -> dict[str, float]:
    """Read the last `count` records and do nothing with them."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition, end in ends.items():
            consumer.seek(partition, max(0, end - count // PARTITIONS))
        started, read = time.process_time(), 0
        while read < count // PARTITIONS * PARTITIONS:
            read += sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))
        return {"cpu_us": (time.process_time() - started) / read * 1e6}
    finally:
        await consumer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.foreign")
    parser.add_argument("what", choices=("write", "read"))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, default=200_000)
    options = parser.parse_args()
    where = (options.bootstrap, options.topic, options.count)
    if options.what == "write":
        uvloop.run(write(*where))
    else:
        print(msgspec.json.encode(uvloop.run(read(*where))).decode())


if __name__ == "__main__":
    main()
