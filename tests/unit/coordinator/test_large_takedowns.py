"""Takedowns of items in very many containers: how many of them are in flight together."""

from __future__ import annotations

import pytest
from support.fakes import ITEM, T0, item_id, places
from support.office import Office, office
from support.settling import settle

from actors.item_censor.large_takedowns import LARGE, LargeTakedowns
from domain.messages import ContainersFound, Deleted, Failed, ItemId, TimedOut, Unavailable

NAMES = [f"c{number}" for number in range(LARGE + 1)]
ROOM = 2 * len(NAMES)


def with_large_items(own: Office, count: int) -> list[ItemId]:
    items = [item_id(number) for number in range(count)]
    own.catalogue.items |= dict.fromkeys(items, places(*NAMES))
    return items


async def test_one_more_than_there_is_room_for_is_refused_and_nothing_of_it_is_published() -> None:
    async with office(large=LargeTakedowns(ROOM)) as own:
        *items, last = with_large_items(own, 3)
        answers = [own.ask(item) for item in items]
        await own.settle()
        refused = await own.ask(last)
        assert isinstance(refused, Unavailable)
        assert (refused.reason, refused.retry_after) == ("overloaded", 1)
        assert f"the maximum of both is {ROOM}" in refused.detail
        assert [p.takedown.item_id for p in own.publisher.publications] == items
        own.delete(*NAMES, item=items[0])
        assert isinstance(await answers[0], Deleted)
        again = own.ask(last)
        await own.settle()
        for item in (items[1], last):
            own.delete(*NAMES, item=item)
        assert {type(await answer) for answer in (answers[1], again)} == {Deleted}


async def test_small_takedowns_begin_however_many_large_ones_are_in_flight() -> None:
    async with office(large=LargeTakedowns(1)) as own:
        (large,) = with_large_items(own, 1)
        first = own.ask(large)
        await own.settle()
        small = own.ask(ITEM)
        await own.settle()
        own.delete("a", "b")
        assert isinstance(await small, Deleted)
        own.delete(*NAMES, item=large)
        assert isinstance(await first, Deleted)


async def test_one_that_is_alone_has_room_whatever_its_size() -> None:
    async with office(large=LargeTakedowns(1)) as own:
        (large,) = with_large_items(own, 1)
        answer = own.ask(large)
        await own.settle()
        own.delete(*NAMES, item=large)
        assert isinstance(await answer, Deleted)


@pytest.mark.parametrize("ends", ["deadline", "crash"])
async def test_however_one_ends_there_is_room_for_the_next(ends: str) -> None:
    async with office(large=LargeTakedowns(1)) as own:
        first, second = with_large_items(own, 2)
        answer = own.ask(first, seconds=2)
        await own.settle()
        if ends == "crash":
            await own.crash()
            assert isinstance(await answer, Failed)
        else:
            assert isinstance(await answer, TimedOut)
        await settle()
        answer = own.ask(second)
        await own.settle()
        own.delete(*NAMES, item=second)
        assert isinstance(await answer, Deleted)


async def test_what_is_found_after_the_deadline_takes_no_room() -> None:
    async with office(large=LargeTakedowns(1)) as own:
        (large,) = with_large_items(own, 1)
        own.catalogue.silent = True
        assert isinstance(await own.ask(large, seconds=1), Unavailable)
        ((takedown, tell),) = own.catalogue.searches
        tell(ContainersFound(takedown.takedown_id, places(*NAMES), T0))
        await settle()
        assert own.large.containers == 0
