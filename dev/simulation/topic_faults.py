"""Faults of topics that no client is told of: each can make an answer false.

The newest list of an item is behind many others; a transaction stays open; a log loses its end and
grows again; a record cannot be decoded; a null value is compacted away while the service is
stopped. Callers then ask for the items that are concerned.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from bus.kafka.codec import encode, item_key
from dev.simulation.faults import Fault
from dev.simulation.items import place_of
from dev.simulation.loop import wall_clock
from dev.simulation.undecodable import key_of, undecodable
from domain.messages import Container, ContainerId, ItemId, ItemPublished

if TYPE_CHECKING:
    from dev.simulation.log import Record
    from dev.simulation.world import World

_PUBLISHED = "item_published"
_DELETED = "item_deleted"
_NEW = 100_000
"""Items that are made because of these faults have numbers from this one on."""

_AFTER = 0.01
"""Seconds after the first lists: of two records of one time in two partitions, neither is newer."""

_RETENTION = 86_400.0
"""Seconds for which a topic retains null values, in runs without a long stop."""


class TopicFaults:
    """These faults of one run.

    Args:
        world: all that is around the service.

    Attributes:
        retention: seconds for which `item_published` retains null values.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._made = 0
        self._until = 0.0
        rng = random.Random(f"{world.seed} retention")
        long_stop = Fault.LONG_STOP in world.faults.kinds
        self.retention = rng.choice((2.0, 15.0)) if long_stop else _RETENTION
        if long_stop:  # what says how long may be too long may be said late
            world.cluster.settings_delay = rng.choice((0.0, 0.0, 0.3, 1.5))

    async def over(self) -> None:
        """Wait for what these faults take longer than everything else."""
        await asyncio.sleep(max(0.0, self._until - self._world.loop.time()))

    def plan(self, kind: Fault, at: float, rng: random.Random) -> None:
        """Have one of the kinds that come at a time of their own strike in so many seconds."""
        happen = self._world.loop.happen
        at = max(at, _AFTER)
        match kind:
            case Fault.LIST_BEHIND:
                happen(at, self._put_behind, rng)
            case Fault.TRANSACTION_HANGS:
                happen(at, self._hang_transaction, rng)
            case Fault.LOG_CUT:
                happen(at, self._cut_log, rng)
            case Fault.LONG_STOP:
                self._plan_long_stop(at, rng)

    # ------------------------------------------------------------------------ list-behind

    def _put_behind(self, rng: random.Random) -> None:
        """Other lists, which take a while to read, are written before the newest one of an item."""
        world = self._world
        if world.faults.over:
            return
        item_id = self._any_item(rng)
        partition = self._partition_of(item_id)
        where = f"{_PUBLISHED}[{partition}]"
        world.journal.write("Kafka", "Kafka", f"! many other lists are written to {where}")
        pace = rng.randint(4, 20), rng.uniform(0.005, 0.03)
        world.cluster.pace[where] = pace
        count = rng.randint(20, 120)
        for _ in range(count):
            self._fill(partition)
        lag = count / pace[0] * pace[1]
        world.loop.happen(lag + rng.uniform(0.1, 1.0), world.cluster.pace.pop, where, None)
        self._list_elsewhere(item_id, rng)
        self._ask_soon(item_id, lag, rng)
        if rng.random() < 0.5:
            new = self._new_item(partition)
            world.items.publish(new)
            self._ask_soon(new, lag, rng)

    # ------------------------------------------------------------------ transaction-hangs

    def _hang_transaction(self, rng: random.Random) -> None:
        """A transaction stays open for a while, or until the end; others write behind it."""
        world = self._world
        topic = _PUBLISHED if rng.random() < 0.8 else _DELETED
        item_id = self._any_item(rng)
        partition = self._partition_of(item_id, topic)
        if world.faults.over or not world.cluster.can_write(topic, partition):
            return
        transaction = world.cluster.begin(commits=rng.random() < 0.5)
        world.journal.write("Kafka", "Kafka", f"! transaction {transaction} begins on {topic}")
        for _ in range(rng.randint(1, 3)):
            self._fill(partition, topic, transaction)
        seconds = rng.choice((0.1, 0.5, 2.0)) * rng.uniform(0.5, 1.5)
        if rng.random() < 0.7:
            world.loop.happen(seconds, world.cluster.end, transaction)
        if topic == _PUBLISHED:
            self._list_elsewhere(item_id, rng)
            new = self._new_item(partition)
            world.items.publish(new)
            self._ask_soon(new, seconds, rng)
        self._ask_soon(item_id, seconds, rng)

    # ---------------------------------------------------------------------------- log-cut

    def _cut_log(self, rng: random.Random) -> None:
        """A partition loses its last records, and others are written in their place."""
        world = self._world
        if world.faults.over:
            return
        breaks = rng.choice(("nothing", "leader", "reader", "process"))
        if breaks != "process":
            self._cut_now(breaks, rng)
            return
        stop = world.another_life(
            world.life,
            kill=rng.random() < 0.5,
            downtime=rng.uniform(0.05, 0.5),
            meanwhile=lambda: self._cut_now(breaks, rng),
        )
        world.loop.create_task(stop)

    def _cut_now(self, breaks: str, rng: random.Random) -> None:
        world = self._world
        topic = _PUBLISHED if rng.random() < 0.8 else _DELETED
        partition = rng.randrange(len(world.cluster.topics[topic]))
        log = world.cluster.topics[topic][partition]
        lose = [record.offset for record in log.records if record.offset >= log.fixed]
        if not lose:
            return
        offset = lose[-min(len(lose), rng.randint(1, 12))]
        growth = rng.choice((0, 1, 1, 2)) * (log.end - offset) + rng.randint(0, 8)
        # A log that was restored may repeat an epoch: then its readers have lost their connections.
        repeats = breaks in {"reader", "process"} and rng.random() < 0.4
        epochs = 0 if repeats else rng.randint(1, 2)
        lost = world.cluster.cut(topic, partition, offset, epochs=epochs)
        if breaks == "leader":
            world.cluster.lose_leader(topic, partition, rng.uniform(0.01, 0.3))
        elif breaks == "reader":
            world.lose_reader(topic)
        # Writers have waited for the new leader, and write before any reader is back.
        wanted = [self._grow(topic, partition, rng) for _ in range(growth)]
        for item_id in filter(None, wanted):
            self._ask_soon(item_id, 1.0, rng)
        if topic == _PUBLISHED:
            self._write_again(lost, rng)

    def _grow(self, topic: str, partition: int, rng: random.Random) -> ItemId | None:
        """Write one record to a log that has lost its end; returns the item to be asked for."""
        world = self._world
        if topic == _DELETED or rng.random() < 0.5:
            self._fill(partition, topic)
            return None
        known = [one for one in world.items.lists if self._partition_of(one) == partition]
        if known and rng.random() < 0.5:
            item_id = rng.choice(known)
            self._change(item_id, rng)
        else:
            item_id = self._new_item(partition)
        self._append(item_id, partition)
        return item_id

    def _write_again(self, lost: tuple[Record, ...], rng: random.Random) -> None:
        """The Items service publishes what was lost, or does not notice the loss."""
        world = self._world
        keys = dict.fromkeys(record.key for record in lost)
        for item_id in [one for one in world.items.lists if item_key(one) in keys]:
            if rng.random() < 0.5:
                world.loop.happen(rng.uniform(0.05, 1.5), world.items.publish, item_id)
            if rng.random() < 0.3:
                self._ask_soon(item_id, 1.5, rng)

    # ------------------------------------------------------------------------ undecodable

    def doubt(self, item_id: ItemId, number: int, rng: random.Random) -> None:
        """A record of an item cannot be decoded; what follows may be readable, or nothing."""
        world = self._world
        if item_id not in world.items.lists:
            item_id = world.items.make(_NEW - number)  # not published by now
        at = rng.uniform(0.0, 0.05)
        world.loop.happen(at, self._write_undecodable, item_id, rng)
        for _ in range(rng.randint(1, 3)):
            world.loop.happen(at + rng.uniform(0.0, 0.2), world.ask_again, item_id)
        match rng.choice(("list", "null", "nothing")):
            case "list":
                ends = at + rng.uniform(0.1, 1.0)
                world.loop.happen(ends, world.items.publish, item_id)
            case "null":
                ends = at + rng.uniform(0.1, 1.0)
                world.loop.happen(ends, self._write_null, item_id, key_of(item_id, rng))
            case _:
                ends = at + 0.5
        world.loop.happen(ends + rng.uniform(0.0, 0.2), world.ask_again, item_id)

    def _write_undecodable(self, item_id: ItemId, rng: random.Random) -> None:
        world = self._world
        if world.faults.over:
            return
        containers = sorted(world.items.lists[item_id])
        key, value = undecodable(item_id, containers, wall_clock(world.loop), rng)
        world.journal.write("Items", "Kafka", f"! item_published {item_id[-4:]}: {value!r:.40}")
        world.cluster.publish(_PUBLISHED, key, value, place_of(item_id))

    def _write_null(self, item_id: ItemId, key: bytes | None = None) -> None:
        world = self._world
        world.items.lists[item_id].clear()
        world.journal.write("Items", "Kafka", f"item_published {item_id[-4:]} in nothing")
        world.cluster.publish(_PUBLISHED, key or item_key(item_id), None, place_of(item_id))

    # -------------------------------------------------------------------------- long-stop

    def _plan_long_stop(self, at: float, rng: random.Random) -> None:
        """The service is stopped for longer than null values are retained."""
        world = self._world
        downtime = self.retention + rng.uniform(0.2, 2.0)
        self._until = world.loop.time() + at + downtime + world.workload.timeout + 2.5
        world.loop.happen(at, self._stop_for_long, downtime, rng)

    def _stop_for_long(self, downtime: float, rng: random.Random) -> None:
        world = self._world
        if not world.faults.over:
            stop = world.another_life(
                world.life,
                kill=rng.random() < 0.5,
                downtime=downtime,
                meanwhile=lambda: self._end_items(downtime, rng),
            )
            world.loop.create_task(stop)

    def _end_items(self, downtime: float, rng: random.Random) -> None:
        world = self._world
        known = [item_id for item_id, places in world.items.lists.items() if places]
        for item_id in rng.sample(known, min(len(known), rng.randint(1, 5))):
            self._write_null(item_id)
            world.loop.happen(downtime - 0.05, self._compact, item_id)
            for _ in range(rng.randint(1, 3)):
                again = downtime + rng.uniform(0.0, 1.5)
                world.loop.happen(again, world.ask_again, item_id)

    def _compact(self, item_id: ItemId) -> None:
        """Have an item's null value, and all before it, compacted away."""
        self._world.ledger.truth.compact(item_id, self._world.cluster)

    # ------------------------------------------------------------------------------ items

    def _any_item(self, rng: random.Random) -> ItemId:
        """An item that is asked for and, if there is one, is in a container."""
        items = self._world.items.lists
        return rng.choice([one for one in self._world.ids if items.get(one)] or list(items))

    def _partition_of(self, item_id: ItemId, topic: str = _PUBLISHED) -> int:
        return place_of(item_id) % len(self._world.cluster.topics[topic])

    def _new_item(self, partition: int) -> ItemId:
        """An item that is not published yet and belongs into a partition."""
        count = len(self._world.cluster.topics[_PUBLISHED])
        self._made += 1
        return self._world.items.make((_NEW + self._made) * count + partition)

    def _list_elsewhere(self, item_id: ItemId, rng: random.Random) -> None:
        self._change(item_id, rng)
        self._world.items.publish(item_id)

    def _change(self, item_id: ItemId, rng: random.Random) -> None:
        """Put an item into one more container, and maybe out of another."""
        places = self._world.items.lists[item_id]
        if places and rng.random() < 0.3:
            places.pop(rng.choice(tuple(places)))
        new = ContainerId(f"c{rng.randint(0, 9)}")
        places[new] = Container(new, "group")

    def _ask_soon(self, item_id: ItemId, within: float, rng: random.Random) -> None:
        until = self._world.loop.time() + within + self._world.workload.timeout + 1.0
        self._until = max(self._until, until)
        for _ in range(rng.randint(1, 3)):
            self._world.loop.happen(rng.uniform(0.0, within), self._world.ask_again, item_id)

    def _fill(self, partition: int, topic: str = _PUBLISHED, transaction: int = 0) -> None:
        """Write a record that concerns nobody."""
        self._made += 1
        item_id = ItemId(f"eeeeeeee-0000-4000-8000-{self._made:012x}")
        if topic == _PUBLISHED:
            self._append(item_id, partition, transaction)
        else:
            self._world.cluster.append(
                topic, partition, item_key(item_id), None, transaction=transaction
            )

    def _append(self, item_id: ItemId, partition: int, transaction: int = 0) -> None:
        world = self._world
        places = world.items.lists.get(item_id)
        containers = tuple(places.values()) if places else (Container(ContainerId("c0"), "group"),)
        value = encode(ItemPublished(item_id, containers, wall_clock(world.loop)))
        world.cluster.append(
            _PUBLISHED, partition, item_key(item_id), value, transaction=transaction
        )
