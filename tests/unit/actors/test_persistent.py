"""The collections of a large takedown: they behave as `frozenset` and `tuple`, old versions too."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.fakes import gone, place, places

from actors.item_censor.persistent import (
    MANY,
    Containers,
    Deletions,
    Names,
    containers_of,
    entry_of,
    names_of,
    type_of,
    with_entry,
    without,
)
from domain.messages import ContainerId, DeletedContainer

NAMED = [ContainerId("a"), ContainerId("b")]
NAMES = st.lists(st.sampled_from("abcdefgh").map(ContainerId), max_size=30)


@given(NAMES, NAMES)
def test_each_version_of_a_set_stays_what_it_was(
    members: list[ContainerId], gone: list[ContainerId]
) -> None:
    versions: list[tuple[Any, Any]] = [(Names(members), frozenset(members))]
    for name in gone:
        shared, plain = versions[-1]
        versions.append((shared.without(name), plain - {name}))
    for shared, plain in versions:
        assert shared == plain
        assert plain == shared
        assert hash(shared) == hash(plain)
        assert len(shared) == len(plain)
        assert set(shared) == plain
        assert bool(shared) == bool(plain)
        assert all((name in shared) == (name in plain) for name in map(ContainerId, "abcdefgh"))
        assert shared - frozenset(NAMED) == plain - frozenset(NAMED)
        assert frozenset(NAMED) | shared == plain | frozenset(NAMED)
        assert frozenset(NAMED) & shared == plain & frozenset(NAMED)


@given(NAMES, NAMES)
def test_two_versions_made_from_one_do_not_share_what_they_changed(
    members: list[ContainerId], order: list[ContainerId]
) -> None:
    base: Any = Names(members)
    one, two = base, base
    for name in order:
        one = one.without(name)
    for name in reversed(order[: len(order) // 2]):
        two = two.without(name)
    assert base == frozenset(members)
    assert one == frozenset(members) - frozenset(order)
    assert two == frozenset(members) - frozenset(order[: len(order) // 2])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), max_size=300))
def test_each_version_of_the_deletions_stays_what_it_was(changes: list[tuple[str, int]]) -> None:
    versions: list[tuple[Deletions, dict[ContainerId, DeletedContainer]]] = [(Deletions(), {})]
    for name, after in changes:
        shared, plain = versions[-1]
        entry = gone(name, after=after)
        versions.append((shared.with_entry(entry), {**plain, entry.container_id: entry}))
    for shared, plain in versions:
        assert shared == tuple(plain.values())
        assert hash(shared) == hash(tuple(plain.values()))
        assert len(shared) == len(plain)
        assert [shared.get(ContainerId(name)) for name in "abcdef"] == [
            plain.get(ContainerId(name)) for name in "abcdef"
        ]
        assert shared[:2] == tuple(plain.values())[:2]


def test_two_versions_of_the_deletions_made_from_one_are_independent() -> None:
    base = Deletions().with_entry(gone("a"))
    one, two = base.with_entry(gone("b")), base.with_entry(gone("c"))
    assert one == (gone("a"), gone("b"))
    assert two == (gone("a"), gone("c"))
    assert base == (gone("a"),)
    assert base != [gone("a")]


def test_deletions_that_replace_each_other_do_not_fill_the_memory() -> None:
    deletions = Deletions()
    for after in range(100_000):
        deletions = deletions.with_entry(gone("a", after=after))
    assert deletions == (gone("a", after=99_999),)
    assert len(deletions._log) < 1000


def test_few_containers_are_in_the_small_kinds_and_many_in_the_large_ones() -> None:
    few, many = places(*"abc"), places(*map(str, range(MANY)))
    assert type(containers_of(few)) is tuple
    assert type(containers_of(many)) is Containers
    assert containers_of(many) == many
    assert type(names_of(c.container_id for c in few)) is frozenset
    assert type(names_of(c.container_id for c in many)) is Names


def test_a_container_is_found_by_its_id_in_either_kind() -> None:
    for containers in (places(*"abc"), places("b", *map(str, range(MANY)))):
        known = containers_of((*containers, place("x", "channel")))
        assert type_of(ContainerId("x"), known) == "channel"
        assert type_of(ContainerId("b"), known) == "group"


def test_entries_are_added_and_replaced_in_either_kind() -> None:
    deleted = with_entry((), gone("a"))
    deleted = with_entry(with_entry(deleted, gone("b")), gone("a", after=1))
    assert deleted == (gone("a", after=1), gone("b"))
    for number in range(MANY):
        deleted = with_entry(deleted, gone(str(number)))
    assert type(deleted) is Deletions
    deleted = with_entry(deleted, gone("b", after=2))
    assert entry_of(deleted, ContainerId("b")) == gone("b", after=2)
    assert entry_of(deleted, ContainerId("z")) is None
    assert len(deleted) == MANY + 2
    assert without(frozenset(NAMED), NAMED[0]) == {NAMED[1]}
