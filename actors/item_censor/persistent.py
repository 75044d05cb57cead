"""Immutable collections for takedowns with many containers: a change costs the same at any size.

A machine's data is never modified: each event makes new data from the old. Copying a set of 10,000
containers for each of 10,000 deletions takes minutes. So a large takedown holds its containers in
these collections. A new version shares the memory of the version that it was made from, and each
version knows how much of that memory is its own. Only the newest version can be extended in this
way; a change of an older one makes a copy.

Few containers stay in `frozenset` and `tuple`, which are faster then. The functions below take
either kind, and a large collection is equal to the small kind with the same content.
"""

# ruff: noqa: SLF001 - the versions of a collection share what is private

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, overload

from domain.messages import Container, ContainerId, DeletedContainer

MANY = 64
"""Containers from which on a copy costs more than a version that shares memory."""


class Names(AbstractSet[ContainerId]):
    """An immutable set of containers; `without` takes the same time at any size."""

    __slots__ = ("_gone", "_members", "_version")

    def __init__(self, members: Iterable[ContainerId] = ()) -> None:
        self._members = dict.fromkeys(members)
        self._gone: dict[ContainerId, int] = {}
        self._version = 0

    def __contains__(self, name: object) -> bool:
        version = self._version
        return name in self._members and self._gone.get(name, version) >= version  # type: ignore[call-overload] # any object may be looked up

    def __iter__(self) -> Iterator[ContainerId]:
        version, gone = self._version, self._gone
        return (name for name in self._members if gone.get(name, version) >= version)

    def __len__(self) -> int:
        return len(self._members) - self._version

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def without(self, name: ContainerId) -> Names:
        """The same set less `name`."""
        if name not in self:
            return self
        if len(self._gone) != self._version:
            return Names(other for other in self if other != name)
        self._gone[name] = self._version
        following = Names.__new__(Names)
        following._members = self._members
        following._gone = self._gone
        following._version = self._version + 1
        return following


class Deletions(Sequence[DeletedContainer]):
    """An immutable sequence with one entry for each container, in the order of the first ones."""

    __slots__ = ("_at", "_length", "_log", "_version")

    def __init__(self, entries: Iterable[DeletedContainer] = ()) -> None:
        self._log: list[DeletedContainer] = list(entries)
        self._at: dict[ContainerId, list[int]] = {}
        for index, entry in enumerate(self._log):
            self._at.setdefault(entry.container_id, []).append(index)
        self._version = len(self._log)
        self._length = len(self._at)

    def get(self, name: ContainerId) -> DeletedContainer | None:
        """The entry of a container; None if there is none."""
        for index in reversed(self._at.get(name, ())):
            if index < self._version:
                return self._log[index]
        return None

    def with_entry(self, entry: DeletedContainer) -> Deletions:
        """The same entries and this one, which takes the place of an earlier one."""
        known = self.get(entry.container_id) is not None
        if len(self._log) != self._version or self._version > 2 * (self._length + MANY):
            # An older version, or most of the memory is of entries that were replaced.
            return Deletions(self).with_entry(entry)
        self._at.setdefault(entry.container_id, []).append(self._version)
        self._log.append(entry)
        following = Deletions.__new__(Deletions)
        following._log, following._at = self._log, self._at
        following._version = self._version + 1
        following._length = self._length + (not known)
        return following

    def __iter__(self) -> Iterator[DeletedContainer]:
        log, version = self._log, self._version
        return iter({log[at].container_id: log[at] for at in range(version)}.values())

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> DeletedContainer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[DeletedContainer, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Deletions | tuple):
            return tuple(self) == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


class Containers(tuple[Container, ...]):  # noqa: SLOT001 - the index is made when it is needed
    """A tuple of many containers that finds one by its id."""

    @cached_property
    def by_id(self) -> dict[ContainerId, Container]:
        """Each container by its id."""
        return {container.container_id: container for container in self}


def names_of(names: AbstractSet[ContainerId] | Iterable[ContainerId]) -> AbstractSet[ContainerId]:
    """These containers as a set of the kind that suits their number."""
    found = names if isinstance(names, frozenset) else frozenset(names)
    return found if len(found) < MANY else Names(found)


def without(names: AbstractSet[ContainerId], name: ContainerId) -> AbstractSet[ContainerId]:
    """A set less one container."""
    return names.without(name) if type(names) is Names else names - {name}


def containers_of(containers: tuple[Container, ...]) -> tuple[Container, ...]:
    """These containers as a tuple of the kind that suits their number."""
    return containers if len(containers) < MANY else Containers(containers)


def type_of(name: ContainerId, containers: tuple[Container, ...]) -> str:
    """The type of the container with this id; KeyError if there is none."""
    if type(containers) is Containers:
        return containers.by_id[name].container_type
    for container in containers:
        if container.container_id == name:
            return container.container_type
    raise KeyError(name)


def entry_of(deleted: Sequence[DeletedContainer], name: ContainerId) -> DeletedContainer | None:
    """What confirmed a container; None if nothing did."""
    if type(deleted) is Deletions:
        return deleted.get(name)
    for each in deleted:
        if each.container_id == name:
            return each
    return None


def with_entry(
    deleted: Sequence[DeletedContainer], entry: DeletedContainer
) -> Sequence[DeletedContainer]:
    """`deleted` and one entry more, which takes the place of an earlier one of its container."""
    if type(deleted) is Deletions:
        return deleted.with_entry(entry)
    if len(deleted) >= MANY:
        return Deletions(deleted).with_entry(entry)
    name = entry.container_id
    if any(each.container_id == name for each in deleted):
        return tuple(entry if each.container_id == name else each for each in deleted)
    return (*deleted, entry)
