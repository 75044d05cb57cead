"""The internal event bus: each actor hears only the deletions and the lists it asked for.

Lookup classification: an event's *partition key* (`itemId-containerId` of a deletion, `itemId` of
a list or of an item in doubt) is looked up in a dictionary of subscribers. What nobody subscribed
to, which with several instances is most of what is read from Kafka, costs one failed lookup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType, Protocol

from domain.messages import ItemDeleted, ItemId, ItemListed

if TYPE_CHECKING:
    from domain.messages import ContainerId, ItemInDoubt

PartitionKey = NewType("PartitionKey", str)

_UUID_LENGTH = 36


def partition_key(item_id: ItemId, container_id: ContainerId) -> PartitionKey:
    """The key under which one container's deletion is published.

    An item id is a canonical UUID of fixed length, so that no two pairs share a key whatever
    the container id looks like.
    """
    return PartitionKey(f"{item_id}-{container_id}")


def list_key(item_id: ItemId) -> PartitionKey:
    """The key under which an item's lists are published; no deletion's key is as short."""
    return PartitionKey(item_id)


class Subscriber(Protocol):
    """Something with a mailbox; hashed by identity."""

    def try_tell(self, message: object) -> bool:
        """Put `message` into the mailbox; False if the subscriber is dead."""


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """What the bus holds and has done.

    Attributes:
        keys: keys with at least one subscriber.
        subscribers: actors with at least one subscription.
        subscriptions: pairs of the two.
        published: deletions published.
        matched: deletions that had at least one subscriber.
        lists: lists published.
        lists_matched: lists that had at least one subscriber.
        doubts: items in doubt published.
        delivered: events put into a mailbox.
        dropped: dead subscribers that were removed.
    """

    keys: int
    subscribers: int
    subscriptions: int
    published: int
    matched: int
    lists: int
    lists_matched: int
    doubts: int
    delivered: int
    dropped: int


class EventBus:
    """Passes each event on to the actors that subscribed to its key. Not thread-safe."""

    def __init__(self) -> None:
        # Nearly every key has one subscriber, who then stands for himself. Of several a dictionary
        # serves as an ordered set: delivery is in the order of subscription.
        self._by_key: dict[PartitionKey, Subscriber | dict[Subscriber, None]] = {}
        self._by_subscriber: dict[Subscriber, list[PartitionKey]] = {}
        self._published = 0
        self._matched = 0
        self._lists = 0
        self._lists_matched = 0
        self._doubts = 0
        self._delivered = 0
        self._dropped = 0

    def subscribe(self, subscriber: Subscriber, key: PartitionKey) -> bool:
        """Have `subscriber` told of events under `key`; False if it was already."""
        known = self._by_key.get(key)
        if known is None:
            self._by_key[key] = subscriber
        elif isinstance(known, dict):
            if subscriber in known:
                return False
            known[subscriber] = None
        elif known is subscriber:
            return False
        else:
            self._by_key[key] = {known: None, subscriber: None}
        self._by_subscriber.setdefault(subscriber, []).append(key)
        return True

    def unsubscribe(self, subscriber: Subscriber, key: PartitionKey) -> bool:
        """End one subscription; False if there was none."""
        keys = self._by_subscriber.get(subscriber)
        if keys is None or key not in keys:
            return False
        keys.remove(key)
        if not keys:
            del self._by_subscriber[subscriber]
        self._remove(subscriber, key)
        return True

    def unsubscribe_all(self, subscriber: Subscriber) -> int:
        """End every subscription of one actor; returns how many there were."""
        keys = self._by_subscriber.pop(subscriber, None)
        if keys is None:
            return 0
        for key in keys:
            self._remove(subscriber, key)
        return len(keys)

    def _remove(self, subscriber: Subscriber, key: PartitionKey) -> None:
        known = self._by_key[key]
        if isinstance(known, dict):
            del known[subscriber]
            if known:
                return
        del self._by_key[key]

    def publish(self, event: ItemDeleted | ItemListed | ItemInDoubt) -> int:
        """Tell `event` to its subscribers; returns how many there were.

        A subscriber that turns out to be dead is removed from the bus altogether.
        """
        if type(event) is ItemDeleted:
            self._published += 1
            subscribers = self._by_key.get(partition_key(event.item_id, event.container_id))
            self._matched += subscribers is not None
        else:
            subscribers = self._by_key.get(list_key(event.item_id))
            if type(event) is ItemListed:
                self._lists += 1
                self._lists_matched += subscribers is not None
            else:
                self._doubts += 1
        if subscribers is None:
            return 0
        delivered = 0
        for subscriber in tuple(subscribers) if isinstance(subscribers, dict) else (subscribers,):
            if subscriber.try_tell(event):
                delivered += 1
            else:
                self._dropped += 1
                self.unsubscribe_all(subscriber)
        self._delivered += delivered
        return delivered

    def followed(self) -> tuple[ItemId, ...]:
        """The items whose lists somebody subscribed to."""
        return tuple(ItemId(key) for key in self._by_key if len(key) == _UUID_LENGTH)

    def statistics(self) -> BusStatistics:
        """What the bus holds and has done."""
        return BusStatistics(
            keys=len(self._by_key),
            subscribers=len(self._by_subscriber),
            subscriptions=sum(map(len, self._by_subscriber.values())),
            published=self._published,
            matched=self._matched,
            lists=self._lists,
            lists_matched=self._lists_matched,
            doubts=self._doubts,
            delivered=self._delivered,
            dropped=self._dropped,
        )
