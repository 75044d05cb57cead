"""What is known of the service: the views of the stream, put together from its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from operations.observation.schemas.stream import Change, Snapshot

if TYPE_CHECKING:
    from operations.observation.schemas.actors import Actor
    from operations.observation.schemas.incidents import Losses
    from operations.observation.schemas.overview import Overview
    from operations.observation.schemas.statistics import Statistics
    from operations.observation.schemas.stream import ChangedViews, Views
    from operations.observation.schemas.takedowns import FinishedTakedown

_snapshot = msgspec.json.Decoder(Snapshot)
_change = msgspec.json.Decoder(Change)


class Unintelligible(Exception):
    """The server speaks another language: it is of another version, or something else."""


@dataclass(frozen=True, slots=True)
class Row:
    """One actor, and when it was said: its times are of that moment.

    Attributes:
        actor: what was said.
        at: when, by our own clock.
    """

    actor: Actor
    at: float


@dataclass(slots=True)
class World:
    """What is known.

    Attributes:
        overview: at a glance; None before the first event.
        heard: when the overview was told, by our own clock.
        at: the same, by the service's.
        rows: the actors, in their order.
        total: actors that the filter lets through.
        recent: takedowns that have their answer, the last one first.
        statistics: of every part.
        losses: dead letters and skipped records.
    """

    overview: Overview | None = None
    heard: float = 0.0
    at: str = ""
    rows: list[Row] = field(default_factory=list)
    total: int = 0
    recent: list[FinishedTakedown] = field(default_factory=list)
    statistics: Statistics | None = None
    losses: Losses | None = None

    def apply(self, kind: str, data: bytes, now: float) -> None:
        """Take in one event of the stream.

        Raises:
            Unintelligible: it is none.
        """
        try:
            if kind == "snapshot":
                snapshot = _snapshot.decode(data)
                self.at = snapshot.at
                self._take_all(snapshot.views, now)
                self._take_whole(snapshot.views, now)
            elif kind == "change":
                change = _change.decode(data)
                self.at = change.at
                self._merge(change.views, now)
                self._take_whole(change.views, now)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
            raise Unintelligible(f"what the server sends is not understood: {error}") from None

    def _take_all(self, views: Views, now: float) -> None:
        if views.actors is not None:
            self.rows = [Row(actor, now) for actor in views.actors.actors]
            self.total = views.actors.total
        if views.recent is not None:
            self.recent = list(views.recent.takedowns)

    def _merge(self, views: ChangedViews, now: float) -> None:
        if views.actors is not None:
            rows = {row.actor.id: row for row in self.rows}
            rows |= {actor.id: Row(actor, now) for actor in views.actors.changed}
            self.rows = [rows[name] for name in views.actors.order]
            self.total = views.actors.total
        if views.recent is not None:
            known = {each.takedown_id: each for each in self.recent}
            known |= {each.takedown_id: each for each in views.recent.changed}
            self.recent = [known[name] for name in views.recent.order]

    def _take_whole(self, views: Views | ChangedViews, now: float) -> None:
        if views.overview is not None:
            self.overview, self.heard = views.overview, now
        if views.statistics is not None:
            self.statistics = views.statistics
        if views.losses is not None:
            self.losses = views.losses
