"""Sample items, the same ones at every start: something to look at, and to take down."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass

from demo.items_service.faults import Faults
from domain.messages import Container, ContainerId, ItemId

DEMO_DELETABLE = ItemId("0b9a1f60-7c1e-4c59-9a52-3f6d1e8c4a01")
"""An item in three containers, all of which confirm."""

DEMO_STUCK = ItemId("5d2c8e17-3b4f-4d0a-8e6b-9c7a20f1b302")
"""An item that is also in a vault, from which `DEMO_FAULTS` let nothing be deleted."""

DEMO_UNKNOWN = ItemId("c3f7d4a9-1e68-4b2d-b0c5-6a8e91d2f703")
"""No item has this id."""

DEMO_FAULTS = Faults(latency=0.02, jitter=0.08, never_delete=frozenset({"vault"}), seed=1)
"""A platform that takes its time, and one kind of container that never confirms."""

COUNT = 60
MOST_CONTAINERS = 20
_SEED = 20210604

_PEOPLE = (
    "anna.berg", "bashir.haddad", "chloe.martin", "daniel.okafor", "elif.yilmaz", "fatima.zahra",
    "goran.petrov", "hanna.virtanen", "ines.moreau", "jonas.weber", "kenji.sato", "lucia.rossi",
)  # fmt: skip
_GROUPS = (
    "allotment-gardens", "book-swap", "cycling-north", "dog-walkers", "flat-hunters",
    "home-brewing", "lost-and-found", "night-shift", "parents-of-year-4", "retro-computers",
    "sunday-league", "trail-running", "used-cameras", "vegan-kitchen",
)  # fmt: skip
_PAGES = ("city-museum", "corner-bakery", "daily-courier", "harbour-radio", "old-town-cinema")
_EVENTS = ("autumn-market", "half-marathon", "jazz-night", "open-studios", "repair-cafe")
_ALBUMS = ("family", "holidays", "moving-house", "new-bike", "winter")
_CHANNELS = ("announcements", "general", "neighbours", "random", "weekend")

# What an item may be put into, by what it is.
_PLACES = {
    "post": ("timeline", "group", "page", "event", "message-channel"),
    "photo": ("timeline", "album", "story", "group", "page"),
    "video": ("timeline", "story", "group", "page", "message-channel", "event"),
}


@dataclass(frozen=True, slots=True)
class SampleItem:
    """One item of the sample.

    Attributes:
        item_id: its id.
        kind: post, photo or video; it decides what it may be put into.
        containers: where it is published.
    """

    item_id: ItemId
    kind: str
    containers: tuple[Container, ...]


def sample_items() -> tuple[SampleItem, ...]:
    """The sample: `COUNT` items, the two for the demo first."""
    rng = random.Random(_SEED)  # noqa: S311 - the same sample each time is the point
    items = [
        SampleItem(
            DEMO_DELETABLE,
            "photo",
            (
                _container("timeline", "anna.berg"),
                _container("group", "cycling-north"),
                _container("album", "anna.berg.new-bike"),
            ),
        ),
        SampleItem(
            DEMO_STUCK,
            "video",
            (
                _container("timeline", "jonas.weber"),
                _container("group", "night-shift"),
                _container("vault", "jonas.weber"),
            ),
        ),
    ]
    while len(items) < COUNT:
        kind = rng.choice(tuple(_PLACES))
        item_id = ItemId(str(uuid.UUID(int=rng.getrandbits(128), version=4)))
        items.append(SampleItem(item_id, kind, _containers(rng, kind)))
    return tuple(items)


def sample_places(rng: random.Random) -> tuple[Container, ...]:
    """Where one more item like those of the sample might be published."""
    return _containers(rng, rng.choice(tuple(_PLACES)))


def _containers(rng: random.Random, kind: str) -> tuple[Container, ...]:
    author = rng.choice(_PEOPLE)
    # Most items are in a few places; some were passed around.
    count = min(MOST_CONTAINERS, 1 + int(rng.expovariate(1 / 3.5)))
    first = _container("timeline", author)
    found = {first.container_id: first}
    while len(found) < count:
        container_type = rng.choice(_PLACES[kind])
        container = _container(container_type, _name(rng, container_type, author))
        found[container.container_id] = container
    return tuple(found.values())


def _name(rng: random.Random, container_type: str, author: str) -> str:
    match container_type:
        case "timeline" | "story":
            return rng.choice(_PEOPLE)
        case "album":
            return f"{author}.{rng.choice(_ALBUMS)}"
        case "page":
            return rng.choice(_PAGES)
        case "event":
            return rng.choice(_EVENTS)
        case "message-channel":
            return f"{rng.choice(_GROUPS)}.{rng.choice(_CHANNELS)}"
        case _:
            return rng.choice(_GROUPS)


def _container(container_type: str, name: str) -> Container:
    return Container(ContainerId(f"{container_type}:{name}"), container_type)
