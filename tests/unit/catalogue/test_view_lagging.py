"""A view that lags behind its topic, under load: it is late, and never wrong.

The real reader, view and overlay on a virtual clock; the topic and the store are in memory, and
both are slow.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from support.fakes import T0, FakeRecord, item_id, places, takedown_now
from support.log import FakeTopic
from support.log_records import TOPIC

from bus.kafka.codec import encode
from bus.kafka.connection import Connection
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from catalogue.store.store import Batch, MemoryStore, StoreUnavailable
from catalogue.view import CatalogueView
from domain.messages import (
    CatalogueCaughtUp,
    CatalogueUnavailable,
    ContainersFound,
    ItemId,
    ItemPublished,
    ItemUnknown,
)

ITEMS = 400


class _SlowDisk(MemoryStore):
    """Takes its time, and is full now and then."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def commit(self, batch: Batch) -> None:
        await asyncio.sleep(self._rng.uniform(0, 2))
        if self._rng.random() < 0.3:
            raise StoreUnavailable("no space left on device")
        await super().commit(batch)


async def trouble(topic: FakeTopic, reader: TopicReader, rng: random.Random) -> None:
    """The broker gets slow, breaks connections, goes away; the store is lost."""
    while True:
        await asyncio.sleep(rng.uniform(0.5, 3))
        what = rng.randrange(4)
        if what == 0:
            topic.answering_takes = rng.choice([0.0, 0.05, 0.3])
        elif what == 1:
            topic.break_connections()
        elif what == 2:
            topic.down = True
            await asyncio.sleep(rng.uniform(0, 2))
            topic.down = False
        else:
            reader.read_again("the catalogue is damaged")


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_published_is_never_unknown_and_what_was_not_is_never_found(
    seed: int,
) -> None:
    rng = random.Random(seed)
    topic = FakeTopic()
    view = CatalogueView(_SlowDisk(rng), much=2000, most=8000)

    async def prepare() -> None:
        pass

    reader = TopicReader(
        connection=Connection("nowhere:1"),
        topic=TOPIC,
        start=Start.BEGINNING,
        handle=view.apply,
        prepare=prepare,
        rewind=view.rewind,
        resume=view.resume,
        advance=view.advance,
        consumer_factory=topic.consumer,
    )
    view.attach(reader)
    await view.start()
    tasks = [asyncio.create_task(view.run()), asyncio.create_task(reader.run())]
    tasks.append(asyncio.create_task(trouble(topic, reader, rng)))
    wrong: list[str] = []
    seen: set[type] = set()

    def ask(number: int, expected: tuple[str, ...]) -> None:
        """Ask now: what is in the topic now is the least that must be known."""

        def told(event: Any) -> None:
            seen.add(type(event))
            if isinstance(event, ItemUnknown) and expected:
                wrong.append(f"{number} was unknown")
            elif isinstance(event, ContainersFound) and not expected:
                wrong.append(f"{number} was found")
            elif isinstance(event, ContainersFound) and event.containers != places(*expected):
                wrong.append(f"{number} was found where it was before")

        view.locate(takedown_now(item_id(number), seconds=rng.uniform(0.2, 4)), told)

    for number in range(ITEMS):
        item = item_id(number)
        value = encode(ItemPublished(item, places("a", "b"), T0))
        topic.append(value, partition=number % 2)
        ask(number, ("a", "b"))
        ask(number + 10 * ITEMS, ())
        await asyncio.sleep(rng.uniform(0, 0.2))
        # Long after it was published, whatever has happened since.
        ask(rng.randrange(number + 1), ("a", "b"))
    await asyncio.sleep(20)
    for task in reversed(tasks):
        task.cancel()
        await asyncio.wait([task])
    await view.stop()
    assert not wrong
    assert seen == {ItemUnknown, ContainersFound, CatalogueUnavailable, CatalogueCaughtUp}
    assert view.statistics().waiting == 0


class Followers:
    """Takedowns that follow their items' lists, and what each knew when it was told its proof.

    Each record has a number, which is larger than that of every record before it.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.topic = FakeTopic()
        self.view = CatalogueView(
            _SlowDisk(rng),
            on_change=self._on_change,
            on_doubt=self._on_doubt,
            on_rebuilt=self._on_rebuilt,
            much=2000,
            most=8000,
        )
        self.known: dict[str, int] = {}
        self.written: dict[str, int] = {}
        self.numbers: dict[tuple[int, int], int] = {}
        self.wrong: list[str] = []
        self.proven = self.followed = 0

    def apply(self, record: Any) -> None:
        self.view.apply(
            FakeRecord(record.key, record.value, partition=record.partition, offset=record.offset)
        )

    def _on_change(self, item: str, containers: Any, _at: Any) -> None:
        self.known[item] = int(containers[0].container_id)

    def _on_doubt(self, item: str, _at: Any) -> None:
        doubt = self.view.doubt(ItemId(item))
        assert doubt is not None
        self.known[item] = self.numbers[doubt.partition, doubt.offset]

    def _on_rebuilt(self) -> None:
        for item in map(ItemId, self.written):
            if (listed := self.view.known(item)) is not None:
                self._on_change(item, listed.containers, listed.listed_at)
            elif (doubt := self.view.doubt(item)) is not None:
                self._on_doubt(item, doubt.doubted_at)

    def write(self, number: int) -> ItemId:
        """Write a list of some item, or a record that cannot be read."""
        which = self.rng.randrange(8)
        item = item_id(which)
        self.written[item] = number
        self.numbers[which % 2, self.topic.partitions[which % 2].end] = number
        value = encode(ItemPublished(item, places(str(number)), T0))
        if self.rng.random() < 0.2:
            value = value.replace(b"containerId", b"containerID")
        self.topic.append(value, partition=which % 2)
        return item

    def ask(self, item: ItemId) -> None:
        least = self.written[item]

        def told(event: Any) -> None:
            if isinstance(event, ContainersFound):
                found = int(event.containers[0].container_id)
                self.known[item] = max(self.known.get(item, 0), found)
                self.followed += self.known[item] < least
            elif isinstance(event, CatalogueCaughtUp):
                self.proven += 1
                if self.known[item] < least:
                    self.wrong.append(f"{item}: {self.known[item]}, and {least} was there")

        self.view.locate(takedown_now(item, seconds=self.rng.uniform(0.5, 6)), told)


@pytest.mark.parametrize("seed", range(6))
async def test_a_proof_comes_after_every_newer_list_and_every_doubt(seed: int) -> None:
    rng = random.Random(seed)
    followers = Followers(rng)
    view = followers.view

    async def prepare() -> None:
        pass

    reader = TopicReader(
        connection=Connection("nowhere:1"),
        topic=TOPIC,
        start=Start.BEGINNING,
        handle=followers.apply,
        prepare=prepare,
        rewind=view.rewind,
        resume=view.resume,
        advance=view.advance,
        consumer_factory=followers.topic.consumer,
    )
    view.attach(reader)
    await view.start()
    tasks = [asyncio.create_task(view.run()), asyncio.create_task(reader.run())]
    tasks.append(asyncio.create_task(trouble(followers.topic, reader, rng)))
    for number in range(1, ITEMS):
        followers.ask(followers.write(number))
        await asyncio.sleep(rng.uniform(0, 0.2))
    await asyncio.sleep(20)
    for task in reversed(tasks):
        task.cancel()
        await asyncio.wait([task])
    await view.stop()
    assert not followers.wrong
    assert followers.proven > 20
    assert followers.followed > 5, "each hit was the newest at once: nothing is shown"
    assert view.statistics().proving == 0
