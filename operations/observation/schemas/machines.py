"""State machines: their tables, their pictures, and where their actors are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from operations.observation.schemas.fields import Count, Rate, Seconds, Shape


class MachineState(Shape, frozen=True):
    """One state of a machine."""

    name: Annotated[str, Meta(examples=["Active"])]
    initial: bool
    final: bool
    timeout_seconds: Seconds | None
    live: Annotated[Count, Meta(description="Actors in this state now.")]


class RowTarget(Shape, frozen=True):
    """Where a row may lead."""

    state: str
    condition: Annotated[str, Meta(description="Empty: always.")]


class MachineRow(Shape, frozen=True):
    """One row of a machine's table."""

    state: str
    event: str
    targets: tuple[RowTarget, ...]
    effects: tuple[str, ...]
    ignored: Annotated[str | None, Meta(description="Why the event is ignored here, if it is.")]


class Arrow(Shape, frozen=True):
    """One arrow of a machine's picture, with what has passed along it since the start."""

    source: str
    event: str
    target: str
    ignored: bool
    count: Count
    per_second: Rate


class MachineView(Shape, frozen=True):
    """One machine: its table, its picture, and where its actors are."""

    name: Annotated[str, Meta(examples=["ItemCensor"])]
    states: tuple[MachineState, ...]
    rows: tuple[MachineRow, ...]
    arrows: tuple[Arrow, ...]
    diagram: Annotated[str, Meta(description="Mermaid.")]


class MachineSummary(Shape, frozen=True):
    """One machine in the list."""

    name: str
    actors: Count
    states: Annotated[dict[str, int], Meta(description="Actors in each state now.")]


class Machines(Shape, frozen=True):
    """Every machine."""

    machines: tuple[MachineSummary, ...]
