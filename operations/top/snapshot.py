"""One picture as plain text, for scripts, pipes and bug reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.observation.schemas.actors import ActorPage
from operations.observation.schemas.incidents import Losses
from operations.observation.schemas.overview import Overview
from operations.observation.schemas.statistics import Statistics
from operations.observation.schemas.takedowns import FinishedPage
from operations.top.client import Client
from operations.top.columns import RECENT, columns, recent_row
from operations.top.panels import header, kafka, losses
from operations.top.query import Wanted
from operations.top.words import count, shown
from operations.top.world import Row, World

if TYPE_CHECKING:
    from rich.text import Text

_WIDTH = 140
_RECENT = 10


async def snapshot(url: str, worker: int | None) -> str:
    """What there is to see now.

    Raises:
        Unreachable: there is no answer.
    """
    async with Client(url, worker) as client:
        world = World(overview=await client.get("/overview", Overview))
        page = await client.get("/actors", ActorPage, Wanted().parameters())
        world.rows, world.total = [Row(actor, 0.0) for actor in page.actors], page.total
        world.statistics = await client.get("/statistics", Statistics)
        recent = await client.get("/takedowns/recent", FinishedPage, {"limit": str(_RECENT)})
        world.recent = list(recent.takedowns)
        world.losses = await client.get("/losses", Losses)
        which = "" if client.worker is None else f", worker {client.worker} of {client.workers}"
    parts = [f"takedown at {shown(url)}{which}", header(world).plain]
    parts += ["", f"ACTORS ({count(len(world.rows))} of {count(world.total)})"]
    shown_columns = columns(_WIDTH)
    parts.append("  ".join(column.name.ljust(column.width) for column in shown_columns).rstrip())
    for row in world.rows:
        cells = [(column.cell(row.actor, 0.0), column.width) for column in shown_columns]
        parts.append(_line(cells))
    parts += ["", "LAST ANSWERS"]
    parts.append("  ".join(f"{name:<13}" for name in RECENT).rstrip())
    parts += [_line([(cell, 13) for cell in recent_row(each)]) for each in world.recent]
    parts += ["", kafka(world.statistics).plain, "", losses(world).plain]
    lines = [line.rstrip() for part in parts for line in part.split("\n")]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: list[tuple[Text, int]]) -> str:
    return "  ".join(cell.plain.ljust(width) for cell, width in cells).rstrip()
