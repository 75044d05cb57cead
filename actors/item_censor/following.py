"""In Active: a newer list of the item adds containers, and lacks those that are deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.ending import finish, finish_if_complete, too_many
from actors.item_censor.evidence import refuted, times_after
from actors.item_censor.persistent import containers_of, names_of
from actors.item_censor.publishing import publish_what_is_due
from actors.item_censor.states import (
    CLOCK_TOLERANCE,
    CONTAINERS_MAX,
    State,
    SubscribeToDeletions,
    give_way_after,
)
from domain.messages import DeletedContainer

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from actors.item_censor.states import CensorStep, ItemsToBeDeleted
    from domain.messages import Container, ContainerId, ItemListed

_PRECISION = timedelta(milliseconds=1)
"""A tombstone's time is its record's, in whole milliseconds: less than one apart, none is older."""


def listed(
    data: ItemsToBeDeleted,
    event: ItemListed,
    *,
    tolerance: timedelta = CLOCK_TOLERANCE,
    containers_max: int = CONTAINERS_MAX,
) -> CensorStep:
    """Request what the list adds, and count what it lacks as deleted."""
    new = _unknown_in(data, event)
    if len(data.containers) + len(new) > containers_max:
        return _too_long(data, event, containers_max)
    names = {c.container_id for c in event.containers}
    is_newest = _is_current(event, data.listed_at)
    gone = data.outstanding - names if is_newest else frozenset()
    again = (data.vanished & names) | refuted(data, event, names, tolerance)
    added = again | new.keys()
    named_earlier = times_after(
        data, event, listed=names, gone=gone, added=added, is_newest=is_newest
    )
    data = replace(data, named_earlier=named_earlier)
    if is_newest:
        data = _with_newest(data, event)
    if gone or added:
        data = _with_changes(data, event, gone=gone, added=added, new=tuple(new.values()))
    if not added:
        return finish_if_complete(data, *give_way_after(event))
    more = tuple(c for c in data.containers if c.container_id in added)
    subscribe = SubscribeToDeletions(data.takedown.item_id, more)
    return publish_what_is_due(data, *give_way_after(event), subscribe)


def _unknown_in(data: ItemsToBeDeleted, event: ItemListed) -> dict[ContainerId, Container]:
    """The containers of a list in which the item never was, each once."""
    known = {c.container_id for c in data.containers}
    new: dict[ContainerId, Container] = {}
    for container in event.containers:
        if container.container_id not in known:
            new.setdefault(container.container_id, container)
    return new


def _is_current(event: ItemListed, at: datetime | None) -> bool:
    """Whether a list is not older than this time; None is older than every list."""
    return at is None or at - event.listed_at < _PRECISION


def _too_long(data: ItemsToBeDeleted, event: ItemListed, containers_max: int) -> CensorStep:
    """Do not follow a list with more containers than one takedown may have."""
    if not data.containers:  # nothing was published
        return finish(data.takedown, too_many(containers_max))
    last = event.listed_at if data.too_long_at is None else max(data.too_long_at, event.listed_at)
    return Step(State.ACTIVE, replace(data, too_long_at=last), give_way_after(event))


def _with_newest(data: ItemsToBeDeleted, event: ItemListed) -> ItemsToBeDeleted:
    """The list is the newest one that is known, and it can be read."""
    newest = data.listed_at
    return replace(
        data,
        listed_at=event.listed_at if newest is None else max(newest, event.listed_at),
        doubted=False,
        too_long_at=None if _is_current(event, data.too_long_at) else data.too_long_at,
    )


def _with_changes(
    data: ItemsToBeDeleted,
    event: ItemListed,
    *,
    gone: AbstractSet[ContainerId],
    added: AbstractSet[ContainerId],
    new: tuple[Container, ...],
) -> ItemsToBeDeleted:
    """What a list changes: `gone` vanishes, `added` is outstanding (again), `new` was unknown."""
    deleted = (
        *(d for d in data.deleted if d.container_id not in added),
        *(
            DeletedContainer(c.container_id, c.container_type, event.listed_at, "list")
            for c in data.containers
            if c.container_id in gone
        ),
    )
    return replace(
        data,
        containers=containers_of((*data.containers, *new)),
        outstanding=names_of((data.outstanding - gone) | added),
        deleted=deleted,
        vanished=names_of((data.vanished - added) | gone),
        due=data.due | added,
        published=data.published - added,
    )
