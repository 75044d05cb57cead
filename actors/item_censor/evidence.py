"""When a deletion or a list counts for a takedown: pure functions over `ItemsToBeDeleted`.

A deletion dated before the list that names its container is a replay and confirms nothing. The
time of that list is the time of the newest list of all, except for containers that the newest one
does not name: their times are in `ItemsToBeDeleted.named_earlier`.

Times are compared by their difference, which exists for any two of them; a time less a tolerance
does not.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.item_censor.persistent import entry_of, with_entry
from domain.messages import DeletedContainer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime, timedelta

    from actors.item_censor.states import ItemsToBeDeleted
    from domain.messages import ContainerId, ItemDeleted, ItemListed

NamedEarlier = tuple["tuple[ContainerId, datetime | None]", ...]

_NAME = itemgetter(0)


def is_complete(data: ItemsToBeDeleted) -> bool:
    """Whether nothing is outstanding, on the evidence that the list of containers is the newest."""
    evident = data.proven and not data.doubted and data.too_long_at is None
    return evident and not data.outstanding


def named_at(data: ItemsToBeDeleted, container_id: ContainerId) -> datetime | None:
    """The time of the newest list that names a container; None if it is not known."""
    earlier = data.named_earlier
    if earlier:  # it is sorted
        index = bisect_left(earlier, container_id, key=_NAME)
        if index < len(earlier) and earlier[index][0] == container_id:
            return earlier[index][1]
    return data.listed_at


def stale_since(
    data: ItemsToBeDeleted, event: ItemDeleted, tolerance: timedelta
) -> datetime | None:
    """The time of the list that makes a deletion stale; None if the deletion counts.

    Without the time of a list (the catalogue over HTTP may not have one) every deletion counts.
    """
    listed_at = named_at(data, event.container_id)
    if listed_at is None or listed_at - event.deleted_at <= tolerance:
        return None
    return listed_at


def refuted(
    data: ItemsToBeDeleted, event: ItemListed, listed: set[ContainerId], tolerance: timedelta
) -> frozenset[ContainerId]:
    """The confirmed containers that this list shows to be populated again.

    Only before the evidence is there: then this may be the newest list that there was when the
    takedown was accepted, and a deletion dated before it confirms nothing.
    """
    if data.proven:
        return frozenset()
    return frozenset(
        each.container_id
        for each in data.deleted
        if each.confirmed_by == "deletion"
        and each.container_id in listed
        and event.listed_at - each.deleted_at > tolerance
    )


def confirmed(data: ItemsToBeDeleted, event: ItemDeleted) -> Sequence[DeletedContainer]:
    """`data.deleted`, with this deletion as what confirms its container."""
    before = entry_of(data.deleted, event.container_id)
    assert before is not None
    return with_entry(
        data.deleted,
        DeletedContainer(event.container_id, before.container_type, event.deleted_at),
    )


def confirmed_again(data: ItemsToBeDeleted, event: ItemDeleted) -> ItemsToBeDeleted:
    """A further deletion of a container that has been confirmed by an earlier one.

    Before the evidence is there, the later of the two counts: a newer list could refute the
    earlier one (`refuted`), but not the later one.
    """
    if data.proven:
        return data
    before = entry_of(data.deleted, event.container_id)
    if before is not None and before.deleted_at < event.deleted_at:
        return replace(data, deleted=confirmed(data, event))
    return data


def times_after(
    data: ItemsToBeDeleted,
    event: ItemListed,
    *,
    listed: set[ContainerId],
    gone: AbstractSet[ContainerId],
    added: AbstractSet[ContainerId],
    is_newest: bool,
) -> NamedEarlier:
    """`named_earlier` once this list counts.

    Args:
        data: what is known before.
        event: the list.
        listed: the containers that it names.
        gone: those that vanish by it.
        added: those that are outstanding (again) by it.
        is_newest: whether it is the newest list of all from now on.
    """
    if not data.named_earlier and (not gone if is_newest else not added):
        return ()
    times = dict(data.named_earlier)
    if is_newest:
        for name in listed & times.keys():
            del times[name]
        for name in gone:
            times.setdefault(name, data.listed_at)
    else:
        for name in listed & (times.keys() | added):
            before = times.get(name)
            times[name] = event.listed_at if before is None else max(before, event.listed_at)
    return tuple(sorted(times.items()))
