"""The live actors, filtered, sorted and by pages.

With tens of thousands in flight, reading all of them at once would hold the event loop up. So a
snapshot reads them in several iterations, and only the actors on the page become complete rows.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from operations.observation.paging import encode_cursor
from operations.observation.schemas.actors import ActorPage
from operations.observation.summaries import (
    TURN,
    ActorsSnapshot,
    ActorSummary,
    add,
    id_of,
    summary_of,
    summary_of_part,
    urn_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.fsm.transitions import TransitionFeed
    from operations.observation.actor_rows import ActorRows
    from operations.observation.clock import Clock
    from operations.observation.summaries import Part

_MANY = 500

SortKey = tuple[bool, Any, str]
"""Whether there is no value, the value (negated if the largest comes first), and the id."""


class Query(Struct, frozen=True):
    """Which actors, in which order, and how many.

    Attributes:
        kinds: only these; empty: all.
        states: only these; empty: all.
        id: how the itemId or the takedownId begins; empty: any or none.
        item: how the itemId begins; empty: any or none.
        takedown: how the takedownId begins; empty: any or none.
        older_than: takedowns accepted at least so many seconds ago; None: any or none.
        stuck: only those that are or are not; None: both.
        sort: by what.
        descending: the largest first.
        limit: how many.
        offset: how many to skip.
        after: the key of the last row of the page before.
    """

    kinds: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    id: str = ""
    item: str = ""
    takedown: str = ""
    older_than: float | None = None
    stuck: bool | None = None
    sort: str = "age"
    descending: bool = True
    limit: int = 50
    offset: int = 0
    after: SortKey | None = None


class Live:
    """Reads the live actors.

    Args:
        feed: has the machines.
        rows: builds rows.
        clock: the loop's.
        parts: the parts of the service that are shown beside the actors.
        stuck: the ids of the actors that are stuck.
    """

    def __init__(
        self,
        *,
        feed: TransitionFeed,
        rows: ActorRows,
        clock: Clock,
        parts: Callable[[], Iterable[Part]],
        stuck: Callable[[], frozenset[str]],
    ) -> None:
        self._feed = feed
        self._rows = rows
        self._clock = clock
        self._parts = parts
        self._stuck = stuck

    async def snapshot(self) -> ActorsSnapshot:
        """Read all actors, in several iterations of the event loop."""
        now = self._clock.effort
        parts = [summary_of_part(part) for part in self._parts()]
        snapshot = ActorsSnapshot(parts, Counter(), Counter())
        machines = self._feed.machines()
        for first in range(0, len(machines), TURN):
            began = now()
            for machine in machines[first : first + TURN]:
                add(snapshot, machine)
            snapshot.spent += now() - began
            await asyncio.sleep(0)
        return snapshot

    async def page(self, query: Query, snapshot: ActorsSnapshot) -> ActorPage:
        """The rows that `query` asks for."""
        now = self._clock.effort
        wanted = self._filter(query)
        total = 0
        best: list[tuple[SortKey, ActorSummary]] = []
        for first in range(0, len(snapshot.summaries), TURN):
            began = now()
            some = [g for g in snapshot.summaries[first : first + TURN] if wanted(g)]
            total += len(some)
            keyed = [(self._key(query, summary), summary) for summary in some]
            if query.after is not None:
                keyed = [(key, summary) for key, summary in keyed if key > query.after]
            # One more than asked for shows whether there is a next page.
            most = query.offset + query.limit + 1
            best = heapq.nsmallest(most, [*best, *keyed], key=_first)
            snapshot.spent += now() - began
            await asyncio.sleep(0)
        best = best[query.offset :]
        shown = best[: query.limit]
        following = encode_cursor(_order(query), shown[-1][0]) if len(best) > query.limit else None
        rows = []
        for _, summary in shown:
            rows.append(self._rows.row(summary))
            if (summary.outstanding or 0) > _MANY:
                await asyncio.sleep(0)  # its row took long
        return ActorPage(total=total, actors=tuple(rows), next=following)

    def _filter(self, query: Query) -> Callable[[ActorSummary], bool]:
        accepted_by = None if query.older_than is None else self._clock.now() - query.older_than
        of_takedown = bool(query.id or query.item or query.takedown or accepted_by is not None)
        stuck = self._stuck() if query.stuck is not None else frozenset()

        def wanted(summary: ActorSummary) -> bool:
            if query.kinds and summary.kind not in query.kinds:
                return False
            if query.states and summary.state not in query.states:
                return False
            if query.stuck is not None and (summary.id in stuck) is not query.stuck:
                return False
            if not of_takedown:
                return True
            takedown = summary.takedown
            return (
                takedown is not None
                and (
                    takedown.item_id.startswith(query.id)
                    or takedown.takedown_id.startswith(query.id)
                )
                and takedown.item_id.startswith(query.item)
                and takedown.takedown_id.startswith(query.takedown)
                and (accepted_by is None or takedown.accepted_at <= accepted_by)
            )

        return wanted

    def _key(self, query: Query, summary: ActorSummary) -> SortKey:
        value = self._value(query.sort, summary)
        if value is None:
            return (True, 0, summary.id)
        if query.descending:
            value = [-each for each in value] if isinstance(value, list) else -value
        return (False, value, summary.id)

    def _value(self, sort: str, summary: ActorSummary) -> Any:
        """What to sort by; ages by their beginnings, which stay the same from page to page."""
        if sort == "since":
            since = self._rows.since(summary.subject)
            return None if since is None else -since
        return _VALUES[sort](summary)

    def find(self, actor_id: str) -> ActorSummary | None:
        """A live actor by its id, with or without `urn:uuid:`."""
        machine = self._feed.machine(urn_of(actor_id))
        if machine is not None:
            return summary_of(machine)
        for part in self._parts():
            if part.id == id_of(actor_id):
                return summary_of_part(part)
        return None


_VALUES: dict[str, Callable[[ActorSummary], Any]] = {
    "age": lambda g: None if g.takedown is None else -g.takedown.accepted_at,
    "deadline": lambda g: None if g.takedown is None else g.takedown.deadline,
    "state": lambda g: [*map(ord, g.state), 0],
    "outstanding": lambda g: g.outstanding,
    "mailbox": lambda g: g.mailbox,
    "restarts": lambda g: g.restarts,
}


def order_of(sort: str, *, descending: bool) -> str:
    """The name of an order, as the parameter `sort` has it."""
    return ("-" if descending else "") + sort


def _order(query: Query) -> str:
    return order_of(query.sort, descending=query.descending)


def _first(pair: tuple[SortKey, ActorSummary]) -> SortKey:
    return pair[0]
