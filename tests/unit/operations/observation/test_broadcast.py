"""What viewers get: a snapshot, then differences, whatever their pace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.fakes import ITEM, item_id, places
from support.lookout import Lookout, lookout
from support.settling import settle

from operations.observation.actors import Query
from operations.observation.live_updates import Broadcast, BroadcastEnded, Message, Viewer, Watching
from operations.observation.recent import RecentQuery

CENSORS = Watching(views=("actors",), actors=Query(kinds=frozenset({"ItemCensor"}), limit=3))


@asynccontextmanager
async def broadcasting(**options: Any) -> AsyncIterator[tuple[Lookout, Broadcast]]:
    async with lookout(**options) as look:
        broadcast = Broadcast(look.observatory)
        task = asyncio.create_task(broadcast.run())
        try:
            yield look, broadcast
        finally:
            task.cancel()
            await asyncio.wait([task])


async def told(viewer: Viewer, within: float = 5.0) -> tuple[str, dict[str, Any]]:
    message = await viewer.next(within)
    assert message is not None
    return message.kind, json.loads(message.data)["views"]


class Screen:
    """What a client shows that does as the document says."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.order: list[str] = []

    def show(self, kind: str, views: dict[str, Any]) -> None:
        view = views["actors"]
        if kind == "snapshot":
            self.rows = {row["id"]: row for row in view["actors"]}
            self.order = [row["id"] for row in view["actors"]]
        else:
            self.rows |= {row["id"]: row for row in view["changed"]}
            self.order = view["order"]
            self.rows = {name: self.rows[name] for name in self.order}

    def items(self) -> list[str]:
        return [self.rows[name]["itemId"] for name in self.order]


async def test_a_snapshot_comes_first_and_then_only_what_changed() -> None:
    async with broadcasting() as (look, broadcast):
        viewer = broadcast.join(CENSORS)
        kind, views = await told(viewer)
        assert (kind, views) == ("snapshot", {"actors": {"total": 0, "actors": [], "next": None}})
        assert await viewer.next(5) is None

        asked = look.office.ask()
        kind, views = await told(viewer)
        assert kind == "change"
        assert views["actors"]["total"] == 1
        (row,) = views["actors"]["changed"]
        assert views["actors"]["order"] == [row["id"]]
        assert row["itemId"] == ITEM
        assert await viewer.next(3) is None, "that time passes is no change"

        look.office.delete("a")
        _, views = await told(viewer)
        assert views["actors"]["changed"][0]["containersDone"] == 1
        look.office.delete("b")
        await asked
        broadcast.leave(CENSORS)


async def test_a_burst_is_coalesced_into_one_change() -> None:
    async with broadcasting() as (look, broadcast):
        viewer = broadcast.join(CENSORS)
        await told(viewer)
        for number in range(3):
            look.office.catalogue.items[item_id(number)] = places(*"abcdefgh")
        asked = [look.office.ask(item_id(number)) for number in range(3)]
        await settle()
        for name in "abcdefg":
            for number in range(3):
                look.office.delete(name, item=item_id(number))
            await settle()
        _, views = await told(viewer)
        assert [row["containersDone"] for row in views["actors"]["changed"]] == [7, 7, 7]
        assert await viewer.next(2) is None
        for number in range(3):
            look.office.delete("h", item=item_id(number))
        await asyncio.gather(*(_wait(each) for each in asked))
        broadcast.leave(CENSORS)


async def _wait(answer: Any) -> Any:
    return await answer


async def test_a_slow_viewer_sees_in_the_end_what_a_quick_one_sees() -> None:
    async with broadcasting(pool_max=20) as (look, broadcast):
        quick, slow = broadcast.join(CENSORS), broadcast.join(CENSORS)
        screens = Screen(), Screen()
        screens[0].show(*await told(quick))
        screens[1].show(*await told(slow))
        asked = []
        for number in range(9):
            look.office.catalogue.items[item_id(number)] = places("a")
            asked.append(look.office.ask(item_id(number), seconds=60))
            await asyncio.sleep(0.3)
            if number in {4, 7}:
                look.office.delete("a", item=item_id(number - 4))
                await asyncio.sleep(0.3)
            while (message := await quick.next(0.1)) is not None:
                screens[0].show(message.kind, json.loads(message.data)["views"])
        kind, views = await told(slow)
        screens[1].show(kind, views)
        assert kind == "change"
        assert screens[0].items() == screens[1].items()
        assert screens[0].rows.keys() == screens[1].rows.keys()
        for number in range(9):
            look.office.delete("a", item=item_id(number))
        await asyncio.gather(*(_wait(each) for each in asked))
        broadcast.leave(CENSORS)
        broadcast.leave(CENSORS)


async def test_one_that_is_too_far_behind_gets_everything_anew() -> None:
    async with broadcasting(pool_max=50) as (look, broadcast):
        quick, slow = broadcast.join(CENSORS), broadcast.join(CENSORS)
        await told(slow)
        asked = []
        for number in range(20):
            look.office.catalogue.items[item_id(number)] = places("a")
            asked.append(look.office.ask(item_id(number), seconds=60))
            await asyncio.sleep(0.3)
        assert (await told(slow))[0] == "snapshot"
        (channel,) = broadcast._channels.values()
        page: Any = channel._views["actors"]
        assert len(page._history) == 12
        assert sum(len(rows) for _, rows in page._history) <= 12 * 3
        for number in range(20):
            look.office.delete("a", item=item_id(number))
        await asyncio.gather(*(_wait(each) for each in asked))
        assert await quick.next(1) is not None
        broadcast.leave(CENSORS)
        broadcast.leave(CENSORS)


async def test_one_that_comes_back_goes_on_where_it_was() -> None:
    async with broadcasting() as (look, broadcast):
        viewer = broadcast.join(CENSORS)
        first = await viewer.next(1)
        assert first is not None
        broadcast.leave(CENSORS)
        await asyncio.sleep(60)
        asked = look.office.ask()
        await settle()

        again = broadcast.join(CENSORS, first.id)
        message = await again.next(1)
        assert message is not None
        assert message.kind == "change"
        assert json.loads(message.data)["views"]["actors"]["total"] == 1
        look.office.delete("a", "b")
        await asked
        broadcast.leave(CENSORS)


@pytest.mark.parametrize(
    "last",
    ["", "-", "0", "zz-1", "EPOCH-", "EPOCH-0", "EPOCH--1", "EPOCH-99", "EPOCH-²", "EPOCH-1x"],
)
async def test_an_id_that_is_none_of_ours_gets_a_snapshot(last: str) -> None:
    async with broadcasting() as (_, broadcast):
        viewer = broadcast.join(CENSORS)
        await told(viewer)
        again = broadcast.join(CENSORS, last.replace("EPOCH", broadcast.epoch))
        assert (await told(again))[0] == "snapshot"
        broadcast.leave(CENSORS)
        broadcast.leave(CENSORS)


async def test_a_viewer_is_never_shown_what_nobody_kept_up_to_date() -> None:
    async with broadcasting() as (look, broadcast):
        viewer = broadcast.join(CENSORS)
        await told(viewer)
        broadcast.leave(CENSORS)
        await asyncio.sleep(100)
        asked = look.office.ask()
        await settle()
        again = broadcast.join(CENSORS)
        _, views = await told(again)
        assert views["actors"]["total"] == 1
        look.office.delete("a", "b")
        await asked
        broadcast.leave(CENSORS)


async def test_fifty_that_watch_the_same_cost_one_look_and_one_message() -> None:
    async with broadcasting() as (look, broadcast):
        viewers = [broadcast.join(CENSORS) for _ in range(50)]
        looks = 0
        snapshot = look.observatory.snapshot

        async def counted() -> Any:
            nonlocal looks
            looks += 1
            return await snapshot()

        look.observatory.snapshot = counted  # type: ignore[method-assign]
        messages = [await viewer.next(1) for viewer in viewers]
        assert looks == 1
        assert len({id(m.data) for m in messages if isinstance(m, Message)}) == 1
        for _ in viewers:
            broadcast.leave(CENSORS)


async def test_nobody_looks_while_nobody_watches() -> None:
    async with broadcasting() as (look, broadcast):
        viewer = broadcast.join(CENSORS)
        await told(viewer)
        broadcast.leave(CENSORS)
        await asyncio.sleep(1)
        taken: list[float] = []

        async def counted() -> Any:
            taken.append(asyncio.get_running_loop().time())
            raise AssertionError

        look.observatory.snapshot = counted  # type: ignore[method-assign]
        await asyncio.sleep(60)
        assert not taken


async def test_channels_that_nobody_watches_any_more_are_forgotten() -> None:
    async with broadcasting() as (_, broadcast):
        for limit in range(1, 500):
            watching = Watching(views=("recent",), recent=RecentQuery(limit=limit))
            broadcast.join(watching)
            broadcast.leave(watching)
        assert len(broadcast._channels) == 64
        assert broadcast.viewers == 0


async def test_a_defect_while_looking_is_logged_and_the_next_round_comes() -> None:
    async with broadcasting() as (look, broadcast):
        recent = look.observatory.recent
        look.observatory.recent = None  # type: ignore[method-assign, assignment]
        watching = Watching(views=("recent",))
        viewer = broadcast.join(watching)
        assert await viewer.next(5) is None
        look.observatory.recent = recent  # type: ignore[method-assign]
        assert (await told(viewer, 30))[0] == "snapshot"
        broadcast.leave(watching)


async def test_viewers_hear_of_the_end() -> None:
    async with broadcasting() as (_, broadcast):
        viewer = broadcast.join(CENSORS)
        await told(viewer)
        waiting = asyncio.create_task(viewer.next(100))
        await asyncio.sleep(1)
    with pytest.raises(BroadcastEnded):
        await waiting
    broadcast.leave(CENSORS)
