"""Which changes of the catalogue are reported, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.fakes import (
    ITEM,
    T0,
    FakeRecord,
    places,
)
from support.views import published, running, tombstone


async def test_each_change_is_told_when_a_search_finds_it() -> None:
    async with running() as it:
        await it.read()
        it.view.apply(published("a"))
        it.view.apply(published("a", "b"))
        it.view.apply(tombstone())
        assert it.changes == [
            (ITEM, places("a"), T0),
            (ITEM, places("a", "b"), T0),
            (ITEM, (), T0),
        ]


@pytest.mark.parametrize("timestamp", [None, -1, 0, 2**63 - 1, -(2**63)])
async def test_a_null_value_ends_an_item_whatever_its_time(timestamp: Any) -> None:
    async with running() as it:
        await it.read(published("a"))
        it.view.apply(FakeRecord(ITEM.encode(), None, timestamp))
        assert it.view.known(ITEM) is None
        item, containers, listed_at = it.changes[-1]
        assert (item, containers, listed_at.utcoffset()) == (ITEM, (), timedelta(0))


async def test_no_change_is_told_while_the_topic_is_read_for_the_first_time() -> None:
    async with running() as it:
        it.log.caught_up = False
        await it.read(published("a"))
        await it.read(published("b"))
        it.log.caught_up = True
        await it.read()
        assert it.changes == []
        await it.read(published("c"))
        assert [containers for _, containers, _ in it.changes] == [places("c")]


async def test_changes_after_a_short_interruption_are_told() -> None:
    async with running() as it:
        await it.read()
        it.log.caught_up = False  # it has connected again
        await it.read(published("a"))
        assert len(it.changes) == 1


async def test_no_change_is_told_while_all_is_read_again_and_then_it_is_said_once() -> None:
    async with running() as it:
        await it.read(published("a"))
        it.changes.clear()
        it.rebuilt = 0
        it.view.rewind()
        it.log.caught_up = False
        await it.read(published("old"))
        await it.read(published("new"))
        assert (it.changes, it.rebuilt) == ([], 0)
        it.log.caught_up = True
        await it.read()
        await it.read()
        assert (it.changes, it.rebuilt) == ([], 1)
        listed = it.view.known(ITEM)
        assert listed is not None
        assert (listed.containers, listed.listed_at) == (places("new"), T0)
        await it.read(published("c"))
        assert [containers for _, containers, _ in it.changes] == [places("c")]
