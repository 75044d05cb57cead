"""Short forms of actors, and a snapshot of all of them: enough to filter, sort and count.

A complete row of each actor would cost too much with tens of thousands in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from actors.fsm.actor import MachineActor
from actors.item_censor.states import ItemsToBeDeleted, ItemToBeLocated

if TYPE_CHECKING:
    from collections import Counter

    from actors.fsm.transitions import Observable
    from domain.messages import Takedown
    from operations.observation.schemas.fields import Kind, WaitingFor

TURN = 500
"""Actors that are read before other tasks of the event loop run."""

_URN = "urn:uuid:"


class Part(Struct, frozen=True):
    """A part of the service that is shown among the actors."""

    id: str
    kind: Kind
    state: str
    facts: object
    mailbox_depth: int = 0
    handled: int = 0
    restarts: int = 0


class ActorSummary(Struct, frozen=True):
    """The fields of an actor that filters and orders need."""

    id: str
    kind: Kind
    state: str
    subject: Any
    takedown: Takedown | None
    outstanding: int | None
    mailbox: int
    restarts: int


class ActorsSnapshot(Struct):
    """All actors, as they were read one after the other.

    Attributes:
        summaries: one for each actor.
        states: censors by state.
        waiting: takedowns in flight by what they wait for.
        oldest: when the oldest takedown in flight was accepted; the loop's time.
        nearest: the nearest deadline of all in flight.
        spent: seconds of the event loop that it took.
    """

    summaries: list[ActorSummary]
    states: Counter[str]
    waiting: Counter[str]
    oldest: float | None = None
    nearest: float | None = None
    spent: float = 0.0


def id_of(urn: str) -> str:
    """An actor's id: its URN without `urn:uuid:`."""
    return urn.removeprefix(_URN)


def urn_of(actor_id: str) -> str:
    """An actor's URN, of its id with or without `urn:uuid:`."""
    return _URN + id_of(actor_id)


def takedown_of(data: object) -> Takedown | None:
    """The takedown in a machine's data, if there is one."""
    if isinstance(data, (ItemToBeLocated, ItemsToBeDeleted)):
        return data.takedown
    return None


def waiting_for(data: object) -> tuple[WaitingFor, ...]:
    """What a censor with this data waits for."""
    if isinstance(data, ItemToBeLocated):
        return ("catalogue",)
    if isinstance(data, ItemsToBeDeleted):
        waits: list[WaitingFor] = []
        if data.publishing:
            waits.append("acknowledgement")
        if data.outstanding:
            waits.append("deletions")
        if not data.proven or data.doubted:
            waits.append("catalogue")
        return tuple(waits)
    return ()


def add(snapshot: ActorsSnapshot, machine: Observable) -> None:
    """Add this actor to the snapshot, and count it."""
    summary = summary_of(machine)
    snapshot.summaries.append(summary)
    snapshot.states[summary.state] += 1
    takedown = summary.takedown
    if takedown is None:
        return
    for what in waiting_for(machine.data):
        snapshot.waiting[what] += 1
    if snapshot.oldest is None or takedown.accepted_at < snapshot.oldest:
        snapshot.oldest = takedown.accepted_at
    if snapshot.nearest is None or takedown.deadline < snapshot.nearest:
        snapshot.nearest = takedown.deadline


def summary_of(machine: Observable) -> ActorSummary:
    """This actor's summary."""
    data = machine.data
    actor = machine if isinstance(machine, MachineActor) else None
    return ActorSummary(
        id_of(machine.actor_urn),
        "ItemCensor",
        machine.state.value,
        machine,
        takedown_of(data),
        len(data.outstanding) if isinstance(data, ItemsToBeDeleted) else None,
        0 if actor is None else len(actor.actor_inbox),
        0 if actor is None else actor.restarts,
    )


def summary_of_part(part: Part) -> ActorSummary:
    """This part's summary, among those of actors."""
    return ActorSummary(
        part.id, part.kind, part.state, part, None, None, part.mailbox_depth, part.restarts
    )
