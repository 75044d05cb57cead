"""Finished takedowns, filtered and by pages, the last one first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.observation.paging import encode_cursor
from operations.observation.schemas.takedowns import FinishedPage
from operations.observation.timeline import finished_row

if TYPE_CHECKING:
    from operations.observation.clock import Clock
    from operations.observation.history import Journal

RECENT = "recent"
"""The only order of finished takedowns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentQuery:
    """Which finished takedowns, and how many; `before` is the number of the last row so far."""

    outcomes: frozenset[str] = frozenset()
    id: str = ""
    item: str = ""
    takedown: str = ""
    limit: int = 50
    before: int | None = None


def recent_page(journal: Journal, query: RecentQuery, clock: Clock) -> FinishedPage:
    """The page of finished takedowns that `query` asks for."""
    records = [
        record
        for record in journal.finished()
        if (not query.outcomes or record.outcome in query.outcomes)
        and (
            record.takedown.item_id.startswith(query.id)
            or record.takedown.takedown_id.startswith(query.id)
        )
        and record.takedown.item_id.startswith(query.item)
        and record.takedown.takedown_id.startswith(query.takedown)
    ]
    left = [r for r in records if query.before is None or r.number < query.before]
    shown = left[: query.limit]
    following = None
    if len(left) > query.limit:
        following = encode_cursor(RECENT, (False, shown[-1].number, ""))
    return FinishedPage(
        total=len(records),
        takedowns=tuple(finished_row(record, clock) for record in shown),
        next=following,
    )
