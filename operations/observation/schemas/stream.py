"""The stream: whole views first, then how they change."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from operations.observation.schemas.actors import Actor, ActorPage
from operations.observation.schemas.fields import At, Count, Cursor, Shape
from operations.observation.schemas.history import History
from operations.observation.schemas.incidents import Losses
from operations.observation.schemas.machines import MachineView
from operations.observation.schemas.overview import Overview
from operations.observation.schemas.statistics import Statistics
from operations.observation.schemas.takedowns import FinishedPage, FinishedTakedown, Timeline


class ActorChanges(Shape, frozen=True):
    """How a page of actors has changed: merge `changed` by id, then show those in `order`."""

    total: Count
    order: Annotated[tuple[str, ...], Meta(description="The ids of the whole page, in order.")]
    changed: Annotated[tuple[Actor, ...], Meta(description="New ones, and those that changed.")]
    next: Cursor | None


class FinishedChanges(Shape, frozen=True):
    """How the recent takedowns have changed, in the same manner; by takedownId."""

    total: Count
    order: tuple[str, ...]
    changed: tuple[FinishedTakedown, ...]
    next: Cursor | None


class Views(Shape, frozen=True, omit_defaults=True, kw_only=True):
    """The views that were asked for, whole."""

    overview: Overview | None = None
    actors: ActorPage | None = None
    machines: tuple[MachineView, ...] | None = None
    statistics: Statistics | None = None
    recent: FinishedPage | None = None
    takedown: Annotated[Timeline | None, Meta(description="Null: not known any more.")] = None
    history: History | None = None
    losses: Losses | None = None


class ChangedViews(Shape, frozen=True, omit_defaults=True, kw_only=True):
    """The views that have changed: lists by their changes, others whole."""

    overview: Overview | None = None
    actors: ActorChanges | None = None
    machines: tuple[MachineView, ...] | None = None
    statistics: Statistics | None = None
    recent: FinishedChanges | None = None
    takedown: Timeline | None = None
    history: History | None = None
    losses: Losses | None = None


class Snapshot(Shape, frozen=True):
    """The data of the stream's event `snapshot`."""

    at: At
    views: Views


class Change(Shape, frozen=True):
    """The data of the stream's event `change`."""

    at: At
    views: ChangedViews
