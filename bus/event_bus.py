"""The internal event bus: each actor hears only the deletions it asked for.

Lookup classification: an event's *partition key* (`itemId-containerId`) is looked up in a
dictionary of subscribers. What nobody subscribed to, which with several instances is most of
what is read from Kafka, costs one failed lookup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType, Protocol

if TYPE_CHECKING:
    from messages import ContainerId, ItemDeleted, ItemId

PartitionKey = NewType("PartitionKey", str)


def partition_key(item_id: ItemId, container_id: ContainerId) -> PartitionKey:
    """The key under which one container's deletion is published.

    An item id is a canonical UUID of fixed length, so that no two pairs share a key whatever
    the container id looks like.
    """
    return PartitionKey(f"{item_id}-{container_id}")


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
        published: events published.
        matched: events that had at least one subscriber.
        delivered: events put into a mailbox.
        dropped: dead subscribers that were removed.
    """

    keys: int
    subscribers: int
    subscriptions: int
    published: int
    matched: int
    delivered: int
    dropped: int


class EventBus:
    """Passes each deletion on to the actors that subscribed to its key. Not thread-safe."""

    def __init__(self) -> None:
        # Dictionaries serve as ordered sets: delivery is in the order of subscription.
        self._by_key: dict[PartitionKey, dict[Subscriber, None]] = {}
        self._by_subscriber: dict[Subscriber, dict[PartitionKey, None]] = {}
        self._published = 0
        self._matched = 0
        self._delivered = 0
        self._dropped = 0

    def subscribe(self, subscriber: Subscriber, key: PartitionKey) -> bool:
        """Have `subscriber` told of events under `key`; False if it was already."""
        subscribers = self._by_key.setdefault(key, {})
        if subscriber in subscribers:
            return False
        subscribers[subscriber] = None
        self._by_subscriber.setdefault(subscriber, {})[key] = None
        return True

    def unsubscribe(self, subscriber: Subscriber, key: PartitionKey) -> bool:
        """End one subscription; False if there was none."""
        keys = self._by_subscriber.get(subscriber)
        if keys is None or key not in keys:
            return False
        del keys[key]
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
        subscribers = self._by_key[key]
        del subscribers[subscriber]
        if not subscribers:
            del self._by_key[key]

    def publish(self, event: ItemDeleted) -> int:
        """Tell `event` to its subscribers; returns how many there were.

        A subscriber that turns out to be dead is removed from the bus altogether.
        """
        self._published += 1
        subscribers = self._by_key.get(partition_key(event.item_id, event.container_id))
        if subscribers is None:
            return 0
        delivered = 0
        for subscriber in tuple(subscribers):
            if subscriber.try_tell(event):
                delivered += 1
            else:
                self._dropped += 1
                self.unsubscribe_all(subscriber)
        self._matched += 1
        self._delivered += delivered
        return delivered

    def statistics(self) -> BusStatistics:
        """What the bus holds and has done."""
        return BusStatistics(
            keys=len(self._by_key),
            subscribers=len(self._by_subscriber),
            subscriptions=sum(map(len, self._by_subscriber.values())),
            published=self._published,
            matched=self._matched,
            delivered=self._delivered,
            dropped=self._dropped,
        )
