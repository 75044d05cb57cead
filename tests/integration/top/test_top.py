"""`takedown top`, driven as a person drives it, over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from rich.text import Text
from support.fakes import ITEM, item_id, places
from support.watched import Watched, watched
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

import operations.top.app
import operations.top.screens
from operations.top.app import Top
from operations.top.client import Client
from operations.top.tables import ActorTable, RecentTable

EVIL = "\x1b]0;owned\x07[bold red]x[/]\u202etxt\n"
EVIL_SHOWN = r"\x1b]0;owned\x07[bold red]x[/]\u202etxt\n"


@dataclass
class Viewer:
    """A person at a terminal."""

    own: Watched
    app: Top
    pilot: Pilot[None]

    async def until(self, condition: Callable[[], bool], *, within: float = 15.0) -> None:
        try:
            async with asyncio.timeout(within):
                while not condition():
                    await self.pilot.pause(0.05)
        except TimeoutError:
            raise AssertionError(f"it did not come to that; there is:\n{self.text()}") from None

    def rows(self) -> list[list[str]]:
        table = self.app.screen.query_one(ActorTable)
        return [_plain(table.get_row_at(at)) for at in range(table.row_count)]

    def said(self, name: str) -> str:
        return str(self.app.screen.query_one(f"#{name}", Static).render())

    def text(self) -> str:
        """All that is on the screen."""
        return "\n".join(
            [str(each.render()) for each in self.app.screen.query(Static)]
            + [
                "  ".join(_plain(table.get_row_at(at)))
                for table in self.app.screen.query(DataTable)
                for at in range(table.row_count)
            ]
        )


def _plain(row: list[Any]) -> list[str]:
    return [cell.plain if isinstance(cell, Text) else str(cell) for cell in row]


@asynccontextmanager
async def viewing(size: tuple[int, int] = (210, 40)) -> AsyncIterator[Viewer]:
    async with watched() as own, Client(own.url) as client:
        app = Top(client)
        async with app.run_test(size=size) as pilot:
            viewer = Viewer(own, app, pilot)
            await viewer.until(lambda: bool(viewer.rows()))
            yield viewer


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations.top.app, "REFRESH", 0.05)
    monkeypatch.setattr(operations.top.app, "RETRY", 0.1)


async def test_a_takedown_appears_moves_and_is_gone() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        asked = office.ask(seconds=60)
        await viewer.until(
            lambda: any(row[1] == "Active" and "0/2" in row[5] for row in viewer.rows())
        )
        assert "in flight 1 / 300" in viewer.said("header")

        office.delete("a")
        await viewer.until(lambda: any("1/2" in row[5] for row in viewer.rows()))
        office.delete("b")
        await asked

        await viewer.until(lambda: all(row[1] != "Active" for row in viewer.rows()))
        await viewer.pilot.press("2")
        await viewer.until(lambda: "Deleted" in viewer.text() and ITEM in viewer.text())


async def test_its_age_goes_on_while_nothing_is_told() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        asked = office.ask(seconds=60)
        await viewer.until(lambda: any(row[1] == "Active" for row in viewer.rows()))

        await viewer.until(
            # Above a second it is said in seconds; before, in milliseconds.
            lambda: any(row[1] == "Active" and not row[2].endswith("ms") for row in viewer.rows())
        )

        office.delete("a", "b")
        await asked


async def test_enter_shows_the_timeline_and_escape_comes_back() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        asked = office.ask(seconds=60)
        await viewer.until(lambda: viewer.rows()[0][1] == "Active")

        await viewer.pilot.press("enter")
        await viewer.until(lambda: "0 of 2 deleted" in viewer.text())
        assert "in flight" in viewer.text()
        await viewer.pilot.press("slash", "s", "1")  # which are of the tables
        office.delete("a")
        await viewer.until(lambda: "1 of 2 deleted" in viewer.text())

        office.delete("b")
        await asked
        await viewer.until(lambda: "200 Deleted" in viewer.text())
        await viewer.pilot.press("escape")
        await viewer.until(lambda: bool(viewer.app.screen.query(ActorTable)))
        assert "sorted by age ↓" in viewer.said("said")


async def test_enter_on_an_actor_without_a_takedown_shows_what_it_says_of_itself() -> None:
    async with viewing() as viewer:
        table = viewer.app.screen.query_one(ActorTable)
        names = [row[0].strip() for row in viewer.rows()]
        table.move_cursor(row=names.index("KafkaPublisher"))

        await viewer.pilot.press("enter")

        await viewer.until(lambda: "KafkaPublisher publisher" in viewer.text())
        await viewer.until(lambda: "working" in viewer.text())


async def test_pause_holds_the_picture_and_lets_it_go_again() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        await viewer.pilot.press("p")
        await viewer.until(lambda: "PAUSED" in viewer.said("title"))
        before = viewer.rows()

        asked = office.ask(seconds=60)
        await viewer.pilot.pause(1.0)
        assert viewer.rows() == before
        await viewer.pilot.press("p")

        await viewer.until(lambda: any(row[1] == "Active" for row in viewer.rows()))
        office.delete("a", "b")
        await asked


async def test_a_filter_is_asked_of_the_service_and_taken_away_again() -> None:
    async with viewing() as viewer:
        everybody = len(viewer.rows())

        await viewer.pilot.press("slash", *"kafkap", "enter")
        await viewer.until(lambda: [row[0].strip() for row in viewer.rows()] == ["KafkaPublisher"])
        assert "filter kafkap" in viewer.said("said")

        await viewer.pilot.press("escape")
        await viewer.until(lambda: len(viewer.rows()) == everybody)


async def test_a_filter_that_means_nothing_says_so_and_changes_nothing() -> None:
    async with viewing() as viewer:
        everybody = len(viewer.rows())
        await viewer.pilot.press("slash", *"xyz[/]", "enter")
        await viewer.pilot.pause(0.3)
        assert viewer.app.screen.query_one("#filter", Input).has_class("open")
        await viewer.pilot.press("escape")
        await viewer.pilot.pause(0.3)
        assert not viewer.app.screen.query_one("#filter", Input).has_class("open")
        assert len(viewer.rows()) == everybody


async def test_the_order_is_asked_of_the_service() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        asked = []
        for number, seconds in enumerate((50, 40, 60)):
            office.catalogue.items[item_id(number)] = places("a")
            asked.append(office.ask(item_id(number), seconds=seconds))

        def order() -> list[str]:
            return [row[7][-1] for row in viewer.rows() if row[1] == "Active"]

        await viewer.pilot.press("s")
        await viewer.until(lambda: order() == ["1", "0", "2"])
        assert "sorted by deadline ↑" in viewer.said("said")
        await viewer.pilot.press("r")
        await viewer.until(lambda: order() == ["2", "0", "1"])

        for number in range(3):
            office.delete("a", item=item_id(number))
        await asyncio.gather(*asked)


async def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        office.catalogue.items[item_id(1)] = places("a")
        asked = office.ask(seconds=60)
        await viewer.until(lambda: viewer.rows()[0][1] == "Active")
        table = viewer.app.screen.query_one(ActorTable)
        names = [row[0].strip() for row in viewer.rows()]
        table.move_cursor(row=names.index("Coordinator"))
        await viewer.pilot.pause()

        second = office.ask(item_id(1), seconds=60)
        await viewer.until(lambda: viewer.rows()[1][1] == "Active")

        assert viewer.rows()[table.cursor_row][0].strip() == "Coordinator"
        office.delete("a", "b")
        office.delete("a", item=item_id(1))
        await asyncio.gather(asked, second)


async def test_hostile_text_is_shown_as_text() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        office.catalogue.items[ITEM] = places(EVIL)
        viewer.own.look.deletions.last_error = EVIL
        office.missing = EVIL
        await viewer.until(lambda: "NOT READY" in viewer.said("header"))
        assert EVIL_SHOWN in viewer.said("header")
        office.missing = None
        asked = office.ask(seconds=60)
        await viewer.until(lambda: any(EVIL_SHOWN[:20] in row[6] for row in viewer.rows()))

        await viewer.pilot.press("3")
        await viewer.until(lambda: EVIL_SHOWN in viewer.said("kafka-text"))
        await viewer.pilot.press("1", "enter")
        await viewer.until(lambda: EVIL_SHOWN[:30] in viewer.text())

        office.delete(EVIL)
        await asked


async def test_when_the_service_goes_away_it_says_since_when_and_comes_back() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        waiting = office.ask(seconds=60)
        await viewer.until(lambda: any(row[1] == "Active" for row in viewer.rows()))
        await viewer.own.close()
        await viewer.until(lambda: "stale since 03:04:" in viewer.said("title"))
        before = viewer.said("header"), viewer.rows()
        await viewer.pilot.pause(1.5)
        assert (viewer.said("header"), viewer.rows()) == before  # its clocks stand still

        await viewer.own.open()
        await viewer.until(lambda: "stale" not in viewer.said("title"))

        office.delete("a", "b")
        await waiting
        await viewer.until(lambda: all(row[1] != "Active" for row in viewer.rows()))


async def test_a_narrow_terminal_has_fewer_columns() -> None:
    async with viewing(size=(80, 24)) as viewer:
        narrow = len(viewer.rows()[0])
        await viewer.pilot.resize_terminal(220, 40)
        await viewer.until(lambda: len(viewer.rows()[0]) > narrow)
        await viewer.pilot.resize_terminal(40, 10)
        await viewer.until(lambda: len(viewer.rows()[0]) < narrow)


async def test_more_actors_than_it_shows_are_counted() -> None:
    async with viewing() as viewer:
        office = viewer.own.look.office
        asked = []
        for number in range(150):
            office.catalogue.items[item_id(number)] = places("a")
            asked.append(office.ask(item_id(number), seconds=60))

        await viewer.until(lambda: "the first 100 of 154" in viewer.said("said"))
        assert len(viewer.rows()) == 100

        for number in range(150):
            office.delete("a", item=item_id(number))
        await asyncio.gather(*asked)


async def test_every_tab_and_the_help_can_be_seen() -> None:
    async with viewing() as viewer:
        await viewer.pilot.press("3")
        await viewer.until(lambda: "item_deleted  reading" in viewer.said("kafka-text"))
        viewer.own.look.observatory.losses.skipped("item_deleted", 4, 77, "no JSON [b]")
        await viewer.pilot.press("4")
        await viewer.until(
            lambda: "item_deleted[4] @ 77  no JSON [b]" in viewer.said("losses-text")
        )
        await viewer.pilot.press("2")
        await viewer.until(lambda: viewer.app.screen.query_one(RecentTable).has_focus)
        await viewer.pilot.press("question_mark")
        await viewer.until(lambda: "p or Space" in viewer.text())
        await viewer.pilot.press("q")
        await viewer.until(lambda: len(viewer.app.screen_stack) == 1)
        await viewer.pilot.press("q")
        await viewer.until(lambda: not viewer.app.is_running)
