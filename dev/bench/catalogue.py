"""What the catalogue costs: `python -m dev.bench.catalogue [--items 1000000]`.

A topic of so many items with 1 to 20 containers is written to a real Apache Kafka, and read by the
service's own reader, view and store. The parts are measured alone as well, so that the wall is
seen. Each part is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from aiokafka import AIOKafkaProducer

from bus.kafka.aiokafka_fixes import stop_producer
from bus.kafka.codec import decode_item_published, encode
from bus.kafka.connection import Connection
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.topics import Topic, ensure_topics
from catalogue.store.check import check
from catalogue.store.data_folder import Folder
from catalogue.store.entries import key_of, pack
from catalogue.store.lmdb_files import LmdbFiles
from catalogue.store.lmdb_store import LmdbStore
from catalogue.store.store import Batch
from catalogue.store.write_behind import MUCH
from catalogue.view import CatalogueView
from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.prepare import prepare
from dev.bench.processes import output_of
from dev.bench.report import machine
from domain.messages import Container, ContainerId, ItemId, ItemPublished, Takedown, TakedownId

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from bus.kafka.log_marks import LogMark
    from bus.kafka.topic_identity import TopicIdentity

TOPIC = "bench-item_published"
PARTITIONS = 6
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("timeline", "group", "page")
LOOKUPS = 100_000
MISSES = 200
WITHIN = 900.0


def items(count: int, start: int = 0) -> Iterator[ItemPublished]:
    """The same items each time, from number `start` on."""
    for number in range(start, count):
        rng = random.Random(number)
        containers = tuple(
            Container(ContainerId(f"{kind}:{rng.randrange(10**7)}"), kind)
            for kind in rng.choices(KINDS, k=rng.randint(1, 20))
        )
        yield ItemPublished(id_of(number), containers, NOW)


def id_of(number: int) -> ItemId:
    return ItemId(str(uuid.UUID(int=random.Random(number * 7 + 1).getrandbits(128))))


# ------------------------------------------------------------------------------ the topic


async def write(bootstrap: str, count: int) -> dict[str, float]:
    """Fill the topic."""
    await ensure_topics(
        Connection(bootstrap),
        [Topic(TOPIC, PARTITIONS, config={"cleanup.policy": "compact"})],
        timeout=60,
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, max_batch_size=1 << 19)
    await producer.start()
    began, size = time.perf_counter(), 0
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    waiting = []
    try:
        for item in items(count):
            key, value = item.item_id.encode(), encode(item)
            size += len(value)
            partition = key[0] % PARTITIONS
            if batches[partition].append(key=key, value=value, timestamp=None) is None:
                sent = await producer.send_batch(batches[partition], TOPIC, partition=partition)
                waiting.append(sent)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=value, timestamp=None)
        for partition, batch in enumerate(batches):
            waiting.append(await producer.send_batch(batch, TOPIC, partition=partition))
        await asyncio.gather(*waiting)
    finally:
        await stop_producer(producer, within=30)
    return {"seconds": time.perf_counter() - began, "value bytes": size / count}


# ------------------------------------------------------------------------------ the parts


def reader_of(bootstrap: str, handle: Callable[[Any], None], **more: Any) -> TopicReader:
    async def nothing() -> None: ...

    return TopicReader(
        connection=Connection(bootstrap),
        topic=TOPIC,
        start=Start.BEGINNING,
        handle=handle,
        prepare=nothing,
        **more,
    )


async def read_to_end(reader: TopicReader) -> float:
    """Run it until it is caught up; returns the seconds, and leaves it ended."""
    began = time.perf_counter()
    running = asyncio.create_task(reader.run())
    while not reader.caught_up:
        await asyncio.sleep(0.01)
        if running.done():
            running.result()
    seconds = time.perf_counter() - began
    running.cancel()
    await asyncio.wait([running])
    return seconds


async def fetch_only(bootstrap: str, _folder: Path, count: int) -> dict[str, float]:
    seconds = await read_to_end(reader_of(bootstrap, lambda _record: None))
    return {"items a second": count / seconds}


async def decode_only(_bootstrap: str, _folder: Path, count: int) -> dict[str, float]:
    values = [encode(item) for item in items(min(count, 100_000))]
    began = time.perf_counter()
    for value in values:
        item = decode_item_published(value)
        key = key_of(item.item_id)
        pack(key, item.containers, item.published_at, 0)
    return {"items a second": len(values) / (time.perf_counter() - began)}


async def store_only(_bootstrap: str, folder: Path, count: int) -> dict[str, float]:
    Folder.take(folder).give_back(well=True)
    files = LmdbFiles(folder)
    files.open()
    seconds = 0.0
    entries: dict[bytes, bytes | None] = {}
    size = at = 0
    for at, item in enumerate(items(count), start=1):
        key = key_of(item.item_id)
        entries[key] = value = pack(key, item.containers, item.published_at, 0)
        size += len(value) + 150
        if size > MUCH or at == count:
            began = time.perf_counter()
            files.commit(Batch(entries, {0: at}), TOPIC)
            seconds += time.perf_counter() - began
            entries, size = {}, 0
    files.close()
    return {"items a second": count / seconds}


async def opened(
    bootstrap: str,
    folder: Path,
    use: Callable[[CatalogueView, TopicReader, float], Coroutine[Any, Any, Any]],
) -> dict[str, float]:
    """The real thing: reader, view and store, from opening the folder on."""
    began = time.perf_counter()
    store = LmdbStore(folder, TOPIC)
    await store.take()
    view = CatalogueView(store)

    async def advance(
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark],
    ) -> None:
        await view.advance(positions, identity, marks)

    reader = reader_of(
        bootstrap, view.apply, rewind=view.rewind, resume=view.resume, advance=advance
    )
    view.attach(reader)
    await view.start()
    tasks = [asyncio.create_task(view.run()), asyncio.create_task(reader.run())]
    before = rss()
    peak = 0
    while not reader.caught_up:
        await asyncio.sleep(0.005)
        peak = max(peak, rss())
        for task in tasks:
            if task.done():
                task.result()
    facts = {
        "RssAnon MB before it read": before / 1e6,
        "RssAnon MB at most while it read": max(peak, before) / 1e6,
        "RssAnon MB when it was ready": rss() / 1e6,
    }
    facts |= await use(view, reader, began)
    for task in reversed(tasks):
        task.cancel()
        await asyncio.wait([task])
    await view.close()
    return facts


async def load(bootstrap: str, folder: Path, count: int) -> dict[str, float]:
    """The first load, to the end of the topic and to the disk."""

    async def use(view: CatalogueView, _reader: TopicReader, began: float) -> dict[str, float]:
        read = time.perf_counter() - began
        while view.statistics().pending:  # noqa: ASYNC110 - a bench
            await asyncio.sleep(0.01)
        kept = time.perf_counter() - began
        return {
            "seconds to the end": read,
            "seconds until all is kept": kept,
            "items a second": count / kept,
            "MB on disk": view.statistics().bytes / 1e6,
            "transactions": view.statistics().commits,
        }

    return await opened(bootstrap, folder, use)


async def restart(bootstrap: str, folder: Path, count: int) -> dict[str, float]:
    """A start when nothing new came; then what is asked of it."""

    async def use(view: CatalogueView, reader: TopicReader, began: float) -> dict[str, float]:
        facts = {
            "seconds to ready": time.perf_counter() - began,
            "records read again": float(reader.statistics().read),
        }
        loop = asyncio.get_running_loop()
        rng = random.Random(3)
        wanted = [takedown(id_of(rng.randrange(count)), loop.time()) for _ in range(LOOKUPS)]
        gc.freeze()
        gc.set_threshold(20_000)  # as `commands` has it for the service
        # The second time, the process has each page in its map already, as one that runs for long.
        for when in ("the first time", "again"):
            took = []
            told: list[Any] = []
            for one in wanted:
                at = time.perf_counter()
                view.locate(one, told.append)
                took.append(time.perf_counter() - at)
            assert len(told) == LOOKUPS
            percentiles = statistics.quantiles(took, n=100)
            facts[f"microseconds of a hit {when}, median"] = statistics.median(took) * 1e6
            facts[f"microseconds of a hit {when}, p99"] = percentiles[98] * 1e6
        began = time.perf_counter()
        await miss(view, loop.time())
        facts["seconds of the first miss, with the check"] = time.perf_counter() - began
        misses = []
        for _ in range(MISSES):
            at = time.perf_counter()
            await miss(view, loop.time())
            misses.append(time.perf_counter() - at)
        facts["ms of a miss, median"] = statistics.median(misses) * 1e3
        return facts

    return await opened(bootstrap, folder, use)


async def miss(view: CatalogueView, now: float) -> None:
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    view.locate(takedown(ItemId(str(uuid.uuid4())), now), told.set_result)
    assert type(await told).__name__ == "ItemUnknown"


def takedown(item: ItemId, now: float) -> Takedown:
    return Takedown(TakedownId("bench"), item, now, now + 600, NOW, NOW, "")


async def verify(_bootstrap: str, folder: Path, count: int) -> dict[str, float]:
    began = time.perf_counter()
    checked = check(folder, structure=True)
    assert (checked.problems, checked.items) == ((), count), checked
    return {"seconds": time.perf_counter() - began}


def rss() -> int:
    """Bytes of this process that are no file's pages."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


PARTS: dict[str, Callable[[str, Path, int], Coroutine[Any, Any, dict[str, float]]]] = {
    "fetch and parse only": fetch_only,
    "decode and pack only": decode_only,
    "store only": store_only,
    "first load": load,
    "restart": restart,
    "verify": verify,
}


# ------------------------------------------------------------------------------- running


async def compare(count: int, at_once: int) -> None:
    """Write the topic, and run one part after the other."""
    await prepare()
    folder = Path(tempfile.mkdtemp(prefix="takedown-bench-"))
    kafka = ApacheKafka()
    print(machine("Apache Kafka, one node, on the same machine"))
    await kafka.start()
    try:
        bootstrap = kafka.bootstrap_servers
        show("write the topic", await write(bootstrap, count))
        for name in PARTS:
            where = folder / ("alone" if name == "store only" else "kept")
            show(name, await part(name, bootstrap, where, count))
        if at_once:
            await load_at_once(bootstrap, folder, count, at_once)
    finally:
        await kafka.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def load_at_once(bootstrap: str, folder: Path, count: int, workers: int) -> None:
    began = time.perf_counter()
    others = [
        part("first load", bootstrap, folder / f"worker-{number}", count)
        for number in range(workers)
    ]
    loads = await asyncio.gather(*others)
    show(
        f"first load by {workers} workers at once",
        {
            "seconds until all is kept, the slowest": max(
                one["seconds until all is kept"] for one in loads
            ),
            "seconds with their starts": time.perf_counter() - began,
        },
    )


async def part(name: str, bootstrap: str, folder: Path, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "dev.bench.catalogue", "--part", name]
    command += ["--bootstrap", bootstrap, "--folder", str(folder), "--items", str(count)]
    facts: dict[str, float] = json.loads(await output_of(command, WITHIN))
    return facts


def show(name: str, facts: Mapping[str, float]) -> None:
    load_average = os.getloadavg()[0]
    print(f"{name} (load average {load_average:.1f})")
    for what, figure in facts.items():
        print(f"  {what:45} {figure:12,.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--workers", type=int, default=2, help="that load at the same time; 0: none"
    )
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--bootstrap", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        asyncio.run(compare(options.items, options.workers))
    else:
        logging.disable()
        work = PARTS[options.part](options.bootstrap, options.folder, options.items)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(work)))


if __name__ == "__main__":
    main()
