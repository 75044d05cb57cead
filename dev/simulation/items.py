"""The Items service and its items, as the world knows them; and what it does to its readers."""

from __future__ import annotations

import functools
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from bus.kafka.codec import encode, item_key
from dev.simulation.faults import Fault
from dev.simulation.loop import wall_clock
from domain.messages import Container, ContainerId, ItemDeleted, ItemId, ItemPublished, ItemReported

if TYPE_CHECKING:
    from dev.simulation.cluster import Cluster
    from dev.simulation.event_log import Journal
    from dev.simulation.faults import Faults
    from dev.simulation.log import Record
    from dev.simulation.loop import SimulatedLoop

_KINDS = ("timeline", "group", "vault")
_POISON = (
    b"",
    b"\xff\xfe",
    b"{",
    b"[]",
    b'{"itemId":"no"}',
    b'{"itemId":17,"containerId":"a","containerType":"b","deletedAt":"2026-01-01T00:00:00Z"}',
    b'{"itemId":"00000000-0000-4000-8000-000000000000","containerId":"","deletedAt":"never"}',
    b"[" * 2000,
    None,
)

_reported = msgspec.json.Decoder(ItemReported)


class Items:
    """Holds what is published where, and answers requests to delete it.

    Args:
        loop: the world's time.
        cluster: where it reads and writes.
        faults: what goes wrong.
        journal: where it is written down.
        seed: of the run.
    """

    def __init__(
        self, loop: SimulatedLoop, cluster: Cluster, faults: Faults, journal: Journal, seed: int
    ) -> None:
        self._loop = loop
        self._cluster = cluster
        self._faults = faults
        self._journal = journal
        self._rng = random.Random(f"{seed} items")
        self._republishes = self._rng.random() < 0.5
        self.lists: dict[ItemId, dict[ContainerId, Container]] = {}
        self._first: dict[ItemId, dict[ContainerId, Container]] = {}
        self._first_listed: dict[ItemId, datetime] = {}
        cluster.followers.setdefault("item_reported", []).append(self._on_request)

    def make(self, number: int) -> ItemId:
        """A new item, in a random number of containers; not published yet."""
        item_id = ItemId(f"00000000-0000-4000-8000-{number:012x}")
        count = self._rng.choice((1, 1, 2, 2, 3, 3, 4, 7))
        places = {}
        for place in range(count):
            # The same names in every item: nobody may take one item's place for another's.
            container_id = ContainerId(f"c{place}")
            places[container_id] = Container(container_id, self._rng.choice(_KINDS))
        self.lists[item_id] = places
        self._first[item_id] = dict(places)
        return item_id

    def publish(self, item_id: ItemId) -> None:
        """Publish an item's complete, current list."""
        containers = tuple(self.lists[item_id].values())
        self._first_listed.setdefault(item_id, wall_clock(self._loop))
        value: bytes | None = encode(ItemPublished(item_id, containers, wall_clock(self._loop)))
        if not containers and self._rng.random() < 0.5:
            value = None
        names = ",".join(c.container_id for c in containers) or "nothing"
        self._journal.write("Items", "Kafka", f"item_published {item_id[-4:]} in {names}")
        place = place_of(item_id)
        if (rng := self._faults.strikes(Fault.LISTED_ELSEWHERE, item_id[-4:])) is not None:
            place = rng.randrange(8)
            self._journal.write("Items", "Kafka", f"! item_published {item_id[-4:]} elsewhere")
        rng = self._faults.strikes(Fault.TRANSACTION, "list", item_id[-4:])
        again = functools.partial(self.publish, item_id)  # what it is then
        self._cluster.publish(
            "item_published", item_key(item_id), value, place, rng=rng, again=again
        )

    # -------------------------------------------------------------------------- requests

    def _on_request(self, record: Record) -> None:
        self._loop.happen(self._cluster.delay() + 0.002, self._handle, record)

    def _handle(self, record: Record) -> None:
        strikes, loop = self._faults.strikes, self._loop
        request = _reported.decode(record.value or b"")
        item_id, container_id = request.item_id, request.container_id
        if self._journal.keeps:
            text = f"item_reported {item_id[-4:]} {container_id} for {request.takedown_id[:4]}"
            self._journal.write("Kafka", "Items", text)
        if item_id not in self.lists:
            return  # nobody has heard of it, so nothing can be deleted
        what = f"{item_id[-4:]}-{container_id}"
        self._change(item_id, what)
        if (rng := strikes(Fault.DELETION_REPLAYED, what)) is not None:
            self._replay(rng, item_id, container_id)
        if strikes(Fault.EVENT_LOST, what) is not None:
            self._journal.write("Items", "Items", f"! forgets {item_id[-4:]} {container_id}")
            return
        delay = 0.002 + 0.02 * self._rng.random()
        if (rng := strikes(Fault.EVENT_DELAYED, what)) is not None:
            delay += rng.uniform(0.2, 1.5)
        if (rng := strikes(Fault.EVENT_LATE, what)) is not None:
            delay += rng.uniform(1.0, 6.0)
        if (rng := strikes(Fault.EVENT_REORDERED, what)) is not None:
            delay += rng.uniform(0.0, 0.2)
        loop.happen(delay, self._delete, item_id, container_id, request.container_type)
        if (rng := strikes(Fault.EVENT_DUPLICATED, what)) is not None:
            for _ in range(rng.randint(1, 3)):
                again = delay + rng.uniform(0.0, 2.0)
                loop.happen(again, self._confirm, item_id, container_id, request.container_type)
        if (rng := strikes(Fault.EVENT_FOREIGN, what)) is not None:
            other = rng.choice(tuple(self.lists))
            loop.happen(delay * rng.random(), self._confirm, other, container_id, "group")
        if (rng := strikes(Fault.EVENT_NOT_ASKED, what)) is not None:
            stranger = ContainerId(rng.choice(("c0", "c1", "c9", "C0", "-", "c0 ")))
            if rng.random() < 0.5 and stranger in self.lists[item_id]:
                loop.happen(delay * rng.random(), self._delete, item_id, stranger, "group")
            elif stranger not in self.lists[item_id]:
                loop.happen(delay * rng.random(), self._confirm, item_id, stranger, "group")
        if (rng := strikes(Fault.POISON, what)) is not None:
            topic = rng.choice(("item_deleted", "item_published"))
            value, place = rng.choice(_POISON), rng.randrange(8)
            self._journal.write("Items", "Kafka", f"! poison on {topic}: {value!r:.40}")
            self._cluster.publish(topic, rng.choice((None, b"", b"\xff")), value, place)

    def _delete(self, item_id: ItemId, container_id: ContainerId, kind: str) -> None:
        gone = self.lists[item_id].pop(container_id, None)
        self._confirm(item_id, container_id, kind)
        if gone is not None and self._republishes:
            self._loop.happen(0.02 * self._rng.random(), self.publish, item_id)

    def _confirm(
        self,
        item_id: ItemId,
        container_id: ContainerId,
        kind: str,
        deleted_at: datetime | None = None,
    ) -> None:
        self._journal.write("Items", "Kafka", f"item_deleted {item_id[-4:]} {container_id}")
        deleted_at = deleted_at or wall_clock(self._loop)
        event = ItemDeleted(item_id, container_id, kind, deleted_at)
        again = functools.partial(self._confirm, item_id, container_id, kind, deleted_at)
        rng = self._faults.strikes(Fault.TRANSACTION, "deletion", f"{item_id[-4:]}-{container_id}")
        key, place = item_key(item_id), place_of(item_id)
        self._cluster.publish("item_deleted", key, encode(event), place, rng=rng, again=again)

    def _replay(self, rng: random.Random, item_id: ItemId, container_id: ContainerId) -> None:
        """Old deletions are written again, of containers that the item is in now."""
        first = self._first_listed.get(item_id, wall_clock(self._loop))
        for container in (container_id, *self.lists[item_id]):
            if container == container_id or rng.random() < 0.5:
                before = timedelta(seconds=rng.choice((1.5, 5.0, 3600.0, 27 * 365 * 86400.0)))
                self._journal.write("Items", "Kafka", f"! replays {item_id[-4:]} {container}")
                self._loop.happen(
                    rng.uniform(0.0, 0.005),
                    self._confirm,
                    item_id,
                    container,
                    "group",
                    first - before,
                )

    # --------------------------------------------------------------------------- changes

    def _change(self, item_id: ItemId, what: str) -> None:
        """What people do to an item while it is being taken down."""
        strikes, places = self._faults.strikes, self.lists[item_id]
        if (rng := strikes(Fault.LIST_CHANGED, what)) is not None:
            if places and rng.random() < 0.5:
                gone = places.pop(rng.choice(tuple(places)))
                if rng.random() < 0.5:  # and it is there again a moment later
                    self._loop.happen(rng.uniform(0.025, 0.1), self._put_back, item_id, gone)
            else:
                new = ContainerId(f"c{rng.randint(0, 9)}")
                places[new] = Container(new, rng.choice(_KINDS))
            self._loop.happen(rng.uniform(0.0, 0.02), self.publish, item_id)
        if (rng := strikes(Fault.ITEM_REPUBLISHED, what)) is not None:
            places.update(self._first[item_id])
            self._loop.happen(rng.uniform(0.0, 0.5), self.publish, item_id)
        if (rng := strikes(Fault.ITEM_GONE, what)) is not None:
            places.clear()
            self._loop.happen(rng.uniform(0.0, 0.1), self.publish, item_id)

    def _put_back(self, item_id: ItemId, container: Container) -> None:
        self.lists[item_id][container.container_id] = container
        self.publish(item_id)


def place_of(item_id: ItemId) -> int:
    """Which partition an item's records are in, modulo how many there are."""
    return int(item_id[-6:], 16)
