"""What the bench's programs agree on: the items, their containers and the topics' names."""

from __future__ import annotations

import functools
import random
import uuid
from dataclasses import dataclass

from bus.kafka.topics import Topic

PARTITIONS = 6


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of one run's topics.

    Every server under load has a pair of its own for requests and replies, so that an idle
    server does not read what the loaded one is told; all share the items.
    """

    prefix: str

    @property
    def item_published(self) -> str:
        return f"{self.prefix}-item_published"

    def item_reported(self, server: str) -> str:
        return f"{self.prefix}-{server}-item_reported"

    def item_deleted(self, server: str) -> str:
        return f"{self.prefix}-{server}-item_deleted"

    def to_create(self, servers: list[str]) -> list[Topic]:
        names = [
            name(server) for server in servers for name in (self.item_reported, self.item_deleted)
        ]
        return [
            Topic(self.item_published, PARTITIONS, config={"cleanup.policy": "compact"}),
            *(Topic(name, PARTITIONS) for name in names),
        ]


@functools.cache
def item_ids(containers: int, count: int) -> tuple[str, ...]:
    """The ids of `count` items that are in so many containers each; the same in every process."""
    rng = random.Random(containers)
    return tuple(str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(count))


def containers_of(containers: int) -> list[dict[str, str]]:
    """The containers of an item that is in so many of them: a timeline, then groups."""
    return [
        {
            "containerId": f"{'group' if number else 'timeline'}-{number:04d}",
            "containerType": "group" if number else "timeline",
        }
        for number in range(containers)
    ]
