"""What is on the viewers' screens, kept up to date for all of them together.

Theory of operation
-------------------
Viewers that watch the same thing share a *channel*. A round looks once at everything and brings
each channel up to date; then it rests, nineteen times as long as it took at least, so that
however many actors and viewers there are, viewing takes a twentieth of the loop at most.

Nothing is queued for anybody. A viewer is a number: the round that it has seen. When it is ready
for more, it gets the difference between that round and now. So a slow viewer skips what is in
between, one that comes back goes on where it was, and one that is too far behind gets everything
anew: all three are the same thing. What a channel keeps for this is which rows its pages had in
the last rounds, a few numbers for each row.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from operations.observation.actors import Query
from operations.observation.recent import RecentQuery
from operations.observation.schemas.actors import ActorPage
from operations.observation.schemas.stream import (
    ActorChanges,
    Change,
    ChangedViews,
    FinishedChanges,
    Snapshot,
    Views,
)

if TYPE_CHECKING:
    from operations.observation.schemas.actors import Actor
    from operations.observation.schemas.takedowns import FinishedPage, FinishedTakedown
    from operations.observation.summaries import ActorsSnapshot
    from operations.observation.views import Observatory

logger = logging.getLogger("takedown.watch")

INTERVAL = 0.25
"""Seconds between two rounds at least."""

_REST = 19
_PAGES_KEPT = 12
_CHANNELS_KEPT = 64

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What one viewer watches."""

    views: tuple[str, ...] = ("overview",)
    actors: Query = field(default_factory=Query)
    recent: RecentQuery = field(default_factory=RecentQuery)
    takedown_id: str = ""
    minutes: int = 15


class Message(Struct, frozen=True):
    """One event for a viewer."""

    kind: str
    id: str
    data: bytes


class _Whole:
    """A view that is sent whole when it has changed."""

    def __init__(self) -> None:
        self.value: Any = None
        self._changed = 0

    def update(self, number: int, value: Any) -> None:
        if value != self.value:
            self.value = value
            self._changed = number

    def since(self, seen: int) -> Any:
        """What has changed since then; None if nothing has."""
        return self.value if self._changed > seen else None

    def knows(self, _seen: int) -> bool:
        return True


class _Page:
    """A page of a list: of the last rounds in which it changed, which rows it had."""

    def __init__(self) -> None:
        self.value: Any = None
        self._order: tuple[str, ...] = ()
        self._total = -1
        self._history: deque[tuple[int, dict[str, int]]] = deque(maxlen=_PAGES_KEPT)

    def update(self, number: int, value: ActorPage | FinishedPage) -> None:
        rows = {name: _mark(row) for name, row in _rows(value)}
        order = tuple(rows)
        if not self._history or (
            rows != self._history[-1][1] or order != self._order or value.total != self._total
        ):
            self._history.append((number, rows))
        self.value, self._order, self._total = value, order, value.total

    def knows(self, seen: int) -> bool:
        """Whether it is known what the page was like then."""
        return bool(self._history) and seen >= self._history[0][0]

    def since(self, seen: int) -> Any:
        if seen >= self._history[-1][0]:
            return None
        before = next(rows for number, rows in reversed(self._history) if number <= seen)
        now = self._history[-1][1]
        changed = tuple(
            row for name, row in _rows(self.value) if before.get(name) != now[name]
        )  # fmt: skip
        kind: Any = ActorChanges if isinstance(self.value, ActorPage) else FinishedChanges
        return kind(total=self._total, order=self._order, changed=changed, next=self.value.next)


class Channel:
    """One thing that is watched, by any number of viewers."""

    def __init__(self, watching: Watching) -> None:
        self.watching = watching
        self.viewers = 0
        self.number = 0
        self.fresh = False
        self._views: dict[str, _Whole | _Page] = {
            name: _Page() if name in {"actors", "recent"} else _Whole() for name in watching.views
        }
        self._at = ""
        self._made: dict[int | None, tuple[str, bytes] | None] = {}

    async def update(self, number: int, observatory: Observatory, snapshot: ActorsSnapshot) -> None:
        """Look anew."""
        now = observatory.clock.effort
        values: dict[str, Any] = {}
        for name in self._views:
            if name == "actors":
                values[name] = await observatory.actors(self.watching.actors, snapshot)
                continue
            began = now()
            values[name] = _value(name, self.watching, observatory, snapshot)
            snapshot.spent += now() - began
            await asyncio.sleep(0)
        for name, value in values.items():
            self._views[name].update(number, value)
        self.number = number
        self.fresh = True
        self._at = observatory.clock.label(observatory.clock.now())
        self._made.clear()

    def since(self, seen: int | None) -> tuple[str, bytes] | None:
        """The event's name and data for one who has seen this round; None: nothing is new.

        It is made once for all who have seen the same round.
        """
        if seen not in self._made:
            self._made[seen] = self._make(seen)
        return self._made[seen]

    def _make(self, seen: int | None) -> tuple[str, bytes] | None:
        if seen is None or not all(view.knows(seen) for view in self._views.values()):
            whole = Views(**{name: view.value for name, view in self._views.items()})
            return "snapshot", _encoder.encode(Snapshot(at=self._at, views=whole))
        changed = {name: view.since(seen) for name, view in self._views.items()}
        changed = {name: value for name, value in changed.items() if value is not None}
        if not changed:
            return None
        return "change", _encoder.encode(Change(at=self._at, views=ChangedViews(**changed)))


class Viewer:
    """One viewer's place in its channel."""

    def __init__(self, broadcast: Broadcast, channel: Channel, seen: int | None) -> None:
        self._broadcast = broadcast
        self._channel = channel
        self._seen = seen

    async def next(self, within: float) -> Message | None:
        """What is new since the last time, as soon as there is something.

        Returns:
            None if there was nothing within so many seconds.

        Raises:
            BroadcastEnded: there will be nothing any more.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    news = self._broadcast.news
                    if (message := self._take()) is not None:
                        return message
                    await news.wait()
        except TimeoutError:
            return None

    def _take(self) -> Message | None:
        if self._broadcast.ended:
            raise BroadcastEnded
        channel = self._channel
        if not channel.fresh or self._seen == channel.number:
            return None
        made = channel.since(self._seen)
        self._seen = channel.number
        if made is None:
            return None
        kind, data = made
        return Message(kind, f"{self._broadcast.epoch}-{channel.number}", data)


class BroadcastEnded(Exception):
    """The service shuts down."""


class Broadcast:
    """Keeps every channel up to date, for as long as `run` runs.

    Args:
        observatory: what there is to see.
        most: viewers at the same time.
    """

    def __init__(self, observatory: Observatory, *, most: int = 64) -> None:
        self._observatory = observatory
        self._most = most
        self._channels: dict[Watching, Channel] = {}
        self._number = 0
        self._wanted = asyncio.Event()
        self.viewers = 0
        self.viewers_cut = 0
        self.ended = False
        self.news = asyncio.Event()
        self.epoch = secrets.token_hex(4)

    @property
    def full(self) -> bool:
        """Whether there are as many viewers as there may be."""
        return self.viewers >= self._most

    def join(self, watching: Watching, last_event_id: str = "") -> Viewer:
        """One more viewer, which has seen the event of this id, if any. `leave` must follow."""
        channel = self._channels.pop(watching, None) or Channel(watching)
        self._channels[watching] = channel  # at the end: the first is the one to forget
        while len(self._channels) > max(_CHANNELS_KEPT, self._most):
            idle = next((w for w, c in self._channels.items() if not c.viewers), None)
            if idle is None:
                break
            del self._channels[idle]
        if not channel.viewers:
            channel.fresh = False  # nobody has kept it up to date
        channel.viewers += 1
        self.viewers += 1
        self._wanted.set()
        return Viewer(self, channel, self._number_in(last_event_id, channel))

    def leave(self, watching: Watching, *, cut: bool = False) -> None:
        """This viewer is gone; `cut`: it was cut off."""
        self._channels[watching].viewers -= 1
        self.viewers -= 1
        self.viewers_cut += cut

    def _number_in(self, last_event_id: str, channel: Channel) -> int | None:
        epoch, _, number = last_event_id.partition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit()):
            return None
        seen = int(number[:18])
        return seen if 0 < seen <= channel.number else None

    async def run(self) -> None:
        """Go round until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                try:
                    spent = await self._round()
                except Exception:  # whoever looks on must not be what ends the service
                    logger.exception("Defect while observing")
                    spent = 1.0
                if self.viewers:
                    self._wanted.set()
                await asyncio.sleep(max(INTERVAL, spent * _REST))
        finally:
            self.ended = True
            self.news.set()

    async def _round(self) -> float:
        snapshot = await self._observatory.snapshot()
        before = snapshot.spent
        self._number += 1
        for channel in tuple(self._channels.values()):
            if channel.viewers:
                await channel.update(self._number, self._observatory, snapshot)
        news, self.news = self.news, asyncio.Event()
        news.set()
        spent = snapshot.spent
        snapshot.spent = before
        return spent


def _value(
    name: str, watching: Watching, observatory: Observatory, snapshot: ActorsSnapshot
) -> Any:
    match name:
        case "overview":
            value: Any = observatory.overview(snapshot)
        case "machines":
            value = observatory.machine_views(snapshot)
        case "statistics":
            value = observatory.statistics()
        case "recent":
            value = observatory.recent(watching.recent)
        case "takedown":
            value = observatory.takedown(watching.takedown_id)
        case "history":
            value = observatory.history(watching.minutes)
        case _:
            value = observatory.lost()
    return value


def _rows(page: ActorPage | FinishedPage) -> list[tuple[str, Actor | FinishedTakedown]]:
    if isinstance(page, ActorPage):
        return [(row.id, row) for row in page.actors]
    return [(row.takedown_id, row) for row in page.takedowns]


def _mark(row: Any) -> int:
    """Changes when the row does; what only passes with time does not count."""
    if hasattr(row, "late_events"):
        return hash((row.takedown_id, row.late_events))
    return hash(
        (
            row.state,
            row.since,
            row.takedown_id,
            row.containers_total,
            row.containers_done,
            row.acknowledged,
            row.waiting_for,
            row.mailbox_depth,
            row.handled,
            row.restarts,
            row.stuck,
        )
    )
