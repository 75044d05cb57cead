"""What comes before the tables when it is asked for: one takedown or actor, and the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from operations.top.client import Unreachable
from operations.top.words import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType

KEYS = """\
 Views       1 actors   2 outcomes   3 Kafka   4 losses        Tab goes on
 Choose      ↑ ↓ PgUp PgDn Home End                            Enter shows the takedown or actor
 Order       s the next one      r the other way round
 Filter      /  and then {filter}
             Esc takes it away
 Pause       p or Space: nothing moves until it is pressed again
 Worker      w the next one, of a service with workers
 Quit        q

 The bar shows how much of a takedown's time is gone; it turns yellow in the last quarter.
 Red with a ! is stuck: past its deadline without an answer, or a mailbox that nobody empties.
"""


class _Page(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,enter", "app.pop_screen", "Back"),
    ]

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll():
            yield Static(Text("..."), id="page")
        yield Footer()

    def show(self, text: Text) -> None:
        """Show this."""
        self.query_one("#page", Static).update(text)


class Help(_Page):
    """The keys.

    Args:
        text: what there is to say.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def on_mount(self) -> None:
        """Say it."""
        self.show(Text(self._text))


class Detail(_Page):
    """Something that is looked at again and again.

    Args:
        look: looks.
        every: seconds between two looks.
    """

    def __init__(self, look: Callable[[], Awaitable[Text]], every: float = 1.0) -> None:
        super().__init__()
        self._look = look
        self._every = every
        self._seen: Text | None = None

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(self._every, self._again)
        self._again()

    def _again(self) -> None:
        self.run_worker(self._refresh(), exclusive=True, group="look")

    async def _refresh(self) -> None:
        try:
            text = self._seen = await self._look()
        except Unreachable as error:
            text = Text(f"{shown(str(error))}\n\n", "bold red")
            if self._seen is not None:
                text.append("As it was last seen:\n\n").append_text(self._seen)
        self.show(text)
