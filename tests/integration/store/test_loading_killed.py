"""kill -9 at random points of loading: nothing is lost, nothing is there twice.

After each death the store must be whole, and hold exactly what the topic holds below the positions
that are kept with it: no record less and no record more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from support.fakes import T0, places
from support.platform import read_topic
from support.processes import ROOT, running

from bus.kafka.aiokafka_fixes import stop_producer
from bus.kafka.codec import decode_item_published, encode, item_id_from_key
from bus.kafka.connection import Connection
from bus.kafka.topics import Topic, ensure_topics
from catalogue.store.check import check
from catalogue.store.data_folder import data_of
from catalogue.store.entries import Doubt, is_doubt, is_tombstone, key_of, pack, pack_doubt
from catalogue.store.lmdb_reader import read_only
from domain.errors import UnreadableRecord
from domain.messages import ItemId, ItemPublished

KILLS = 200
ITEMS = 1200
RECORDS = 5000
MOST_ROUNDS = 50
"""That are read in one life; a load takes 100."""

EARLY = 0.2
"""The share of those that die at any time, most of them while they connect."""

SIDES = 2
"""Folders that are loaded into at the same time."""

PROGRAM = Path(__file__).parent / "loader.py"


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with running("broker", broker_port=0, log_format="json") as process:
        yield process.wait_for_event("ready")["kafka"]
        assert process.stop() == 0


async def write_topic(bootstrap: str, topic: str, rng: random.Random) -> None:
    """New items, newer lists, and items that are gone."""
    await ensure_topics(Connection(bootstrap), [Topic(topic, 3)])
    items = [ItemId(str(uuid.UUID(bytes=rng.randbytes(16)))) for _ in range(ITEMS)]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        written = []
        for number in range(RECORDS):
            item = rng.choice(items)
            names = places(*(f"{number}-{n}" for n in range(rng.randint(0, 4))))
            value = encode(ItemPublished(item, names, T0)) if rng.random() > 0.1 else None
            if rng.random() < 0.1:
                value = b'{"containers": null}'
            written.append(await producer.send(topic, value, key=item.encode()))
        await asyncio.gather(*written)
    finally:
        await stop_producer(producer, within=3)


def _entry(record: Any) -> tuple[bytes, bytes | None]:
    """Key and value of what a record's value says; no value where the item is gone."""
    written_at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=record.timestamp)
    try:
        said = decode_item_published(record.value)
    except UnreadableRecord as error:
        key = key_of(item_id_from_key(record.key))
        return key, pack_doubt(key, Doubt(written_at, record.partition, record.offset, str(error)))
    key = key_of(said.item_id)
    if not said.containers:
        return key, None
    at = said.published_at, record.partition, written_at
    return key, pack(key, said.containers, *at, offset=record.offset)


class Truth:
    """What the topic holds, and what a store of it must hold at some positions."""

    def __init__(self, records: list[Any]) -> None:
        self.partitions: dict[int, list[tuple[int, bytes, bytes | None]]] = {}
        for record in records:
            if record.value is None:
                key, value = key_of(item_id_from_key(record.key)), None
            else:
                key, value = _entry(record)
            log = self.partitions.setdefault(record.partition, [])
            log.append((record.offset, key, value))

    @property
    def ends(self) -> dict[int, int]:
        return {number: log[-1][0] + 1 for number, log in self.partitions.items()}

    def at(self, positions: dict[int, int]) -> dict[bytes, bytes]:
        held: dict[bytes, bytes] = {}
        for number, log in self.partitions.items():
            for offset, key, value in log:
                if offset >= positions.get(number, 0):
                    break
                held.pop(key, None)
                if value is not None:
                    held[key] = value
        return held


@contextlib.contextmanager
def loader(bootstrap: str, topic: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), bootstrap, topic, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield program
    finally:
        program.communicate(timeout=20)


def order(program: subprocess.Popen[str]) -> str:
    """Send a line, and read the one that is said to it."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    return program.stdout.readline().strip()


def hear(program: subprocess.Popen[str], rounds: int) -> None:
    """Wait until so many rounds were read, or all is."""
    assert program.stdout is not None
    for _ in range(rounds):
        if program.stdout.readline().strip() == "caught up":
            return


def kill(child: int, program: subprocess.Popen[str]) -> None:
    os.kill(child, signal.SIGKILL)
    said = order(program)
    while said != "gone":
        assert said in {"round", "caught up"}
        assert program.stdout is not None
        said = program.stdout.readline().strip()


def verify(folder: Path, truth: Truth) -> dict[int, int]:
    """Check what is kept against the topic; returns the positions."""
    if not data_of(folder).exists():
        return {}
    checked = check(folder, structure=True)
    assert checked.problems == ()
    if checked.kept is None:
        assert checked.items == 0
        return {}
    with read_only(folder) as (entries, kept):
        assert kept is not None
        live = {key: value for key, value in entries.cursor() if not is_tombstone(value)}
        assert live == truth.at(kept.positions)
        assert kept.doubts == sum(map(is_doubt, live.values()))
        return dict(kept.positions)


def live_and_die(
    bootstrap: str, topic: str, folder: Path, truth: Truth, seed: int
) -> tuple[int, int, int]:
    """One side's deaths; returns how many there were, in how many something new was kept, and how
    many loads came to the topic's end."""
    rng = random.Random(seed)
    kills = progress = complete = 0
    with loader(bootstrap, topic, folder) as program:
        last: dict[int, int] = {}
        while kills < KILLS // SIDES:
            child = int(order(program))
            if rng.random() < EARLY:
                time.sleep(rng.uniform(0, 0.5))
            else:
                hear(program, rng.randint(1, MOST_ROUNDS))
                time.sleep(rng.uniform(0, 0.06))
            kill(child, program)
            kills += 1
            now = verify(folder, truth)
            assert all(now.get(number, 0) >= at for number, at in last.items()), (last, now)
            progress += now != last
            last = now
            if now == truth.ends:
                complete += 1
                shutil.rmtree(folder)
                last = {}
        # And at last one that may live.
        child = int(order(program))
        given_up = time.monotonic() + 30
        while last != truth.ends and time.monotonic() < given_up:
            time.sleep(0.2)
            with contextlib.suppress(FileNotFoundError), read_only(folder) as (_, kept):
                last = dict(kept.positions) if kept is not None else {}
        kill(child, program)
        assert verify(folder, truth) == truth.ends
    return kills, progress, complete


@pytest.mark.timeout(300)
async def test_no_death_loses_or_doubles_anything(bootstrap: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201 - pytest shows it with a failure
    topic = f"item_published.{uuid.uuid4().hex[:8]}"
    await write_topic(bootstrap, topic, random.Random(seed))
    truth = Truth(await read_topic(bootstrap, topic))
    assert sum(map(len, truth.partitions.values())) == RECORDS
    async with asyncio.TaskGroup() as tasks:
        sides = [
            tasks.create_task(
                asyncio.to_thread(
                    live_and_die, bootstrap, topic, tmp_path / str(side), truth, seed + side
                )
            )
            for side in range(SIDES)
        ]
    kills, progress, complete = map(sum, zip(*(side.result() for side in sides), strict=True))
    assert kills == KILLS
    # It was killed while it loaded, and not before or after.
    assert progress > KILLS // 4
    assert complete >= SIDES
    print("kills", kills, "with progress", progress, "complete loads", complete)  # noqa: T201
