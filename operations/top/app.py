"""The live view."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from rich.text import Text
from textual.app import App
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from operations.top import detail, panels
from operations.top.client import Unreachable
from operations.top.query import HELP, BadFilter, Wanted, next_sort, parse_filter, reversed_sort
from operations.top.screens import KEYS, Detail, Help
from operations.top.tables import ActorTable, KeptTable, RecentTable
from operations.top.words import clock, count, shown
from operations.top.world import Unintelligible, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from operations.observation.schemas.actors import ActorDetail
    from operations.observation.schemas.takedowns import Timeline

REFRESH = 0.5
"""Seconds between two pictures."""

RETRY = 1.0
"""Seconds after which a server that went away is asked again."""


class Source(Protocol):
    """Where everything comes from."""

    url: str
    worker: int | None
    workers: int

    def events(self, wanted: Wanted) -> AsyncIterator[tuple[str, bytes]]:
        """The stream's events: `open`, then kind and data; raises `Unreachable` at its end."""

    def begin_anew(self) -> None:
        """The next stream begins with everything."""

    def next_worker(self) -> None:
        """Look at another worker."""

    async def takedown(self, takedown_id: str) -> Timeline:
        """One takedown."""

    async def actor(self, actor_id: str) -> ActorDetail:
        """One actor."""


class Top(App[None]):
    """Shows what `source` tells, until it is quit.

    Args:
        source: tells.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "takedown top"
    CSS = """
    #title { height: 1; background: $primary-background; text-style: bold; padding: 0 1; }
    #header { height: 5; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #said { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #filter { display: none; height: 3; }
    #filter.open { display: block; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    DataTable { height: 1fr; }
    #kafka-text, #losses-text { padding: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Quit"),
        ("slash", "filter", "Filter"),
        ("s", "sort", "Sort"),
        ("r", "reverse", "Reverse"),
        ("p,space", "pause", "Pause"),
        ("w", "worker", "Worker"),
        ("1", "tab('actors')", "Actors"),
        ("2", "tab('outcomes')", "Outcomes"),
        ("3", "tab('kafka')", "Kafka"),
        ("4", "tab('losses')", "Losses"),
        ("question_mark,h,f1", "help", "Help"),
        ("escape", "clear", ""),
    ]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._wanted = Wanted()
        self._world = World()
        self._paused_at: float | None = None
        self._frozen: World | None = None
        self._problem = ""
        self._heard = ""
        self._told = 0.0

    # ---------------------------------------------------------------------------- life

    def compose(self) -> ComposeResult:
        """Title, header, tabs, filter, and a line of keys."""
        yield Static(id="title")
        yield Static(id="header")
        yield Static(id="said")
        with TabbedContent(initial="actors"):
            with TabPane("Actors", id="actors"):
                yield ActorTable(id="actors-table")
            with TabPane("Outcomes", id="outcomes"):
                yield RecentTable(id="outcomes-table")
            with TabPane("Kafka", id="kafka"), VerticalScroll():
                yield Static(id="kafka-text")
            with TabPane("Losses", id="losses"), VerticalScroll():
                yield Static(id="losses-text")
        yield Input(placeholder=HELP, id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to listen."""
        self.query_one(ActorTable).focus()
        self.set_interval(REFRESH, self._draw)
        self._listen()
        self._draw()

    def _listen(self) -> None:
        self.run_worker(self._follow(), exclusive=True, group="stream")

    async def _follow(self) -> None:
        while True:
            try:
                async for kind, data in self._source.events(self._wanted):
                    self._world.apply(kind, data, self._now())
                    self._problem, self._heard, self._told = "", self._world.at, self._now()
                    if kind == "snapshot":
                        self._draw()
            except Unreachable as error:
                self._problem = str(error)
            except Unintelligible as error:
                self._problem = str(error)
                self._source.begin_anew()
            await asyncio.sleep(RETRY)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # ------------------------------------------------------------------------- drawing

    def on_resize(self) -> None:
        """Other columns fit."""
        self._draw()

    def _draw(self) -> None:
        if len(self.screen_stack) != 1 or not self.screen.query("#title"):
            return  # something is before it, or it is being closed
        # What is stale is as old as it was: its clocks stand still.
        world, now = self._world, self._told if self._problem else self._now()
        if self._frozen is not None and self._paused_at is not None:
            world, now = self._frozen, self._paused_at
        self.query_one("#title", Static).update(self._title(world))
        self.query_one("#header", Static).update(panels.header(world, max(0.0, now - world.heard)))
        self.query_one("#said", Static).update(self._said(world))
        match self.query_one(TabbedContent).active:
            case "actors":
                self.query_one(ActorTable).show(world.rows, now, self.size.width)
            case "outcomes":
                self.query_one(RecentTable).show(world.recent)
            case "kafka":
                self.query_one("#kafka-text", Static).update(panels.kafka(world.statistics))
            case _:
                self.query_one("#losses-text", Static).update(panels.losses(world))

    def _title(self, world: World) -> Text:
        text = Text("takedown top  ", no_wrap=True, overflow="ellipsis")
        text.append(shown(self._source.url))
        if self._source.worker is not None:
            text.append(f"  worker {self._source.worker} of {self._source.workers}")
        if self._problem:
            since = f"stale since {clock(self._heard)} UTC" if self._heard else "no answer yet"
            text.append(f"  {since}: {shown(self._problem)}", "bold white on red")
        elif self._paused_at is not None:
            text.append(f"  PAUSED at {clock(world.at)} UTC", "bold black on yellow")
        else:
            text.append(f"  {clock(world.at)[:8]} UTC")
        return text

    def _said(self, world: World) -> Text:
        order = self._wanted.sort
        way = "↓" if order.startswith("-") else "↑"
        text = Text(f"sorted by {order.removeprefix('-')} {way}", no_wrap=True, overflow="ellipsis")
        if self._wanted.text:
            text.append(f"   filter {shown(self._wanted.text)} (Esc: none)", "yellow")
        if world.total > len(world.rows):
            text.append(f"   the first {len(world.rows)} of {count(world.total)}", "yellow")
        else:
            text.append(f"   {count(world.total)} actors")
        if world.overview is not None:
            states = world.overview.states.items()
            text.append("   " + "  ".join(f"{shown(name)} {count(n)}" for name, n in states))
        return text

    # ------------------------------------------------------------------------- actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What acts on the tables does nothing while something is before them."""
        return len(self.screen_stack) == 1 or action in {"quit", "pop_screen"}

    def action_tab(self, name: str) -> None:
        """Show another tab."""
        self.query_one(TabbedContent).active = name

    def on_tabbed_content_tab_activated(self) -> None:
        """Another tab is shown: its table gets the keys."""
        self._draw()
        for table in self.query_one(TabbedContent).active_pane.query(DataTable):  # type: ignore[union-attr]
            table.focus()

    def action_pause(self) -> None:
        """Let nothing move, or let it move again."""
        if self._paused_at is None:
            self._paused_at = self._now()
            known = self._world
            self._frozen = replace(known, rows=list(known.rows), recent=list(known.recent))
        else:
            self._paused_at = self._frozen = None
        self._draw()

    def action_sort(self) -> None:
        """Take the next order."""
        self._want(replace(self._wanted, sort=next_sort(self._wanted.sort)))

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._want(replace(self._wanted, sort=reversed_sort(self._wanted.sort)))

    def action_worker(self) -> None:
        """Look at the next worker."""
        if self._source.workers > 1:
            self._source.next_worker()
            self._world = World()
            self._listen()
            self._draw()

    def _want(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._listen()
        self._draw()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help(KEYS.format(filter=HELP)))

    # -------------------------------------------------------------------------- filter

    def action_filter(self) -> None:
        """Ask for a filter."""
        box = self.query_one("#filter", Input)
        box.add_class("open")
        box.value = self._wanted.text
        box.focus()

    def action_clear(self) -> None:
        """Take the filter away."""
        if not self._close_filter() and self._wanted.text:
            self._want(replace(self._wanted, filter=(), text=""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The filter was typed."""
        try:
            found = parse_filter(event.value)
        except BadFilter as error:
            self.notify(shown(str(error)), severity="warning", markup=False)
            return
        self._close_filter()
        self._want(replace(self._wanted, filter=found, text=event.value.strip()))

    def _close_filter(self) -> bool:
        box = self.query_one("#filter", Input)
        was_open = box.has_class("open")
        box.remove_class("open")
        for table in self.query_one(TabbedContent).active_pane.query(DataTable):  # type: ignore[union-attr]
            table.focus()
        return was_open

    # -------------------------------------------------------------------------- detail

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show one takedown, or one actor that has none."""
        table = event.data_table
        name = table.chosen if isinstance(table, KeptTable) else None
        if name is None:
            return
        takedown: str | None = name
        if isinstance(table, ActorTable):
            world = self._frozen or self._world
            takedown = next((r.actor.takedown_id for r in world.rows if r.actor.id == name), None)
        if takedown is not None:
            self.push_screen(Detail(functools.partial(self._look_at_takedown, takedown)))
        else:
            self.push_screen(Detail(functools.partial(self._look_at_actor, name)))

    async def _look_at_takedown(self, takedown_id: str) -> Text:
        return detail.timeline(await self._source.takedown(takedown_id))

    async def _look_at_actor(self, actor_id: str) -> Text:
        return detail.actor(await self._source.actor(actor_id))
