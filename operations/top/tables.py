"""Tables that change under the cursor without taking it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.widgets import DataTable

from operations.top.columns import RECENT, columns, recent_row

if TYPE_CHECKING:
    from rich.text import Text

    from operations.observation.schemas.takedowns import FinishedTakedown
    from operations.top.columns import Column
    from operations.top.world import Row


class KeptTable(DataTable["Text"]):
    """A table whose rows have names; the cursor stays on the row that it was moved to.

    On the first row it stays at the top, whatever comes there.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, **options)
        self._names: list[str] = []

    @property
    def chosen(self) -> str | None:
        """The name of the row under the cursor."""
        return self._names[self.cursor_row] if self.cursor_row < len(self._names) else None

    def _fill(self, names: list[str], rows: list[tuple[Text, ...]]) -> None:
        """Show these rows, all anew."""
        chosen, at = self.chosen, self.cursor_row
        with self.app.batch_update():
            self.clear()
            for name, row in zip(names, rows, strict=True):
                self.add_row(*row, key=name)
            self._names = names
            if chosen is not None and at and names:
                place = names.index(chosen) if chosen in names else min(at, len(names) - 1)
                self.move_cursor(row=place, scroll=False, animate=False)


class ActorTable(KeptTable):
    """The actors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._columns: tuple[Column, ...] = ()
        self._shown: dict[str, Row] = {}

    def show(self, rows: list[Row], now: float, width: int) -> None:
        """Show them as they are at this moment of our own clock."""
        names = [row.actor.id for row in rows]
        wanted = columns(width)
        if wanted != self._columns or names != self._names:
            if wanted != self._columns:
                self.clear(columns=True)
                self._names = []
                for column in wanted:
                    self.add_column(column.name, width=column.width, key=column.name)
                self._columns = wanted
            cells = [tuple(c.cell(row.actor, now - row.at) for c in wanted) for row in rows]
            self._fill(names, cells)
        else:
            for row in rows:
                self._bring_up_to_date(row, now)
        self._shown = {row.actor.id: row for row in rows}

    def _bring_up_to_date(self, row: Row, now: float) -> None:
        same = self._shown.get(row.actor.id) is row
        for column in self._columns:
            if column.moves or not same:
                cell = column.cell(row.actor, now - row.at)
                if cell != self.get_cell(row.actor.id, column.name):
                    self.update_cell(row.actor.id, column.name, cell)


class RecentTable(KeptTable):
    """Takedowns that have their answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._last: list[FinishedTakedown] = []

    def on_mount(self) -> None:
        """Make the columns."""
        for name in RECENT:
            self.add_column(name, key=name)

    def show(self, takedowns: list[FinishedTakedown]) -> None:
        """Show them."""
        if takedowns != self._last:
            self._last = list(takedowns)
            self._fill([each.takedown_id for each in takedowns], [*map(recent_row, takedowns)])
