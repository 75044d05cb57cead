"""The live actors: who there is, in which state, waiting for what.

With tens of thousands in flight, one look at all of them would hold the loop up. So a survey goes
through them in turns of the loop, keeps a glance at each, and makes whole rows only of those that
are on the page.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from actors.fsm.actor import MachineActor
from actors.item_censor.states import ItemsToBeDeleted, ItemToBeLocated
from operations.observation.formatting import cut
from operations.observation.paging import encode_cursor
from operations.observation.schemas.actors import Actor, ActorPage, LastTransition
from operations.observation.schemas.fields import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.fsm.actor import LogEntry
    from actors.fsm.transitions import Observable, TransitionFeed
    from domain.messages import Takedown
    from operations.observation.clock import Clock
    from operations.observation.history import Journal
    from operations.observation.schemas.fields import Kind, WaitingFor

TURN = 500
"""Actors that are looked at before others on the loop have their turn."""

_MOST_PLACES = 20
_MANY = 500
_URN = "urn:uuid:"

SortKey = tuple[bool, Any, str]
"""Whether there is no value, the value (turned round if the largest is first), and the id."""


class Part(Struct, frozen=True):
    """A part of the service that is shown among the actors."""

    id: str
    kind: Kind
    state: str
    facts: object
    mailbox_depth: int = 0
    handled: int = 0
    restarts: int = 0


class Glance(Struct, frozen=True):
    """As much of an actor as filters and orders need."""

    id: str
    kind: Kind
    state: str
    subject: Any
    takedown: Takedown | None
    outstanding: int | None
    mailbox: int
    restarts: int


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


class Survey(Struct):
    """One look at all actors.

    Attributes:
        glances: one for each.
        states: censors by state.
        waiting: takedowns in flight by what they wait for.
        oldest: when the oldest takedown in flight was accepted; the loop's time.
        nearest: the nearest deadline of all in flight.
        spent: seconds that it took the loop.
    """

    glances: list[Glance]
    states: Counter[str]
    waiting: Counter[str]
    oldest: float | None = None
    nearest: float | None = None
    spent: float = 0.0


class Live:
    """Looks at the live actors.

    Args:
        feed: knows the machines.
        journal: knows what they carry, and since when.
        clock: the loop's, and labels.
        parts: gives the parts that are shown beside the actors of the feed.
        stuck: the ids of those that are stuck.
    """

    def __init__(
        self,
        *,
        feed: TransitionFeed,
        journal: Journal,
        clock: Clock,
        parts: Callable[[], Iterable[Part]],
        stuck: Callable[[], frozenset[str]],
    ) -> None:
        self._feed = feed
        self._journal = journal
        self._clock = clock
        self._parts = parts
        self._stuck = stuck

    # ------------------------------------------------------------------------ survey

    async def survey(self) -> Survey:
        """Look at all, in turns of the loop."""
        now = self._clock.effort
        survey = Survey([_glance_at_part(part) for part in self._parts()], Counter(), Counter())
        machines = self._feed.machines()
        for first in range(0, len(machines), TURN):
            began = now()
            for machine in machines[first : first + TURN]:
                _take_in(survey, machine)
            survey.spent += now() - began
            await asyncio.sleep(0)
        return survey

    # -------------------------------------------------------------------------- page

    async def page(self, query: Query, survey: Survey) -> ActorPage:
        """The rows that `query` asks for."""
        now = self._clock.effort
        wanted = self._filter(query)
        total = 0
        best: list[tuple[SortKey, Glance]] = []
        for first in range(0, len(survey.glances), TURN):
            began = now()
            some = [g for g in survey.glances[first : first + TURN] if wanted(g)]
            total += len(some)
            keyed = [(self._key(query, glance), glance) for glance in some]
            if query.after is not None:
                keyed = [(key, glance) for key, glance in keyed if key > query.after]
            # One more than asked for shows whether there is a next page.
            most = query.offset + query.limit + 1
            best = heapq.nsmallest(most, [*best, *keyed], key=_first)
            survey.spent += now() - began
            await asyncio.sleep(0)
        best = best[query.offset :]
        shown = best[: query.limit]
        following = encode_cursor(_order(query), shown[-1][0]) if len(best) > query.limit else None
        rows = []
        for _, glance in shown:
            rows.append(self.row(glance))
            if (glance.outstanding or 0) > _MANY:
                await asyncio.sleep(0)  # its row took long
        return ActorPage(total=total, actors=tuple(rows), next=following)

    def _filter(self, query: Query) -> Callable[[Glance], bool]:
        accepted_by = None if query.older_than is None else self._clock.now() - query.older_than
        of_takedown = bool(query.id or query.item or query.takedown or accepted_by is not None)
        stuck = self._stuck() if query.stuck is not None else frozenset()

        def wanted(glance: Glance) -> bool:
            if query.kinds and glance.kind not in query.kinds:
                return False
            if query.states and glance.state not in query.states:
                return False
            if query.stuck is not None and (glance.id in stuck) is not query.stuck:
                return False
            if not of_takedown:
                return True
            takedown = glance.takedown
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

    def _key(self, query: Query, glance: Glance) -> SortKey:
        value = self._value(query.sort, glance)
        if value is None:
            return (True, 0, glance.id)
        if query.descending:
            value = [-each for each in value] if isinstance(value, list) else -value
        return (False, value, glance.id)

    def _value(self, sort: str, glance: Glance) -> Any:
        """What to sort by; ages as their beginnings, which do not change from page to page."""
        if sort == "since":
            since = self._since(glance.subject)
            return None if since is None else -since
        return _VALUES[sort](glance)

    # --------------------------------------------------------------------------- rows

    def find(self, actor_id: str) -> Glance | None:
        """A live actor by its id, with or without `urn:uuid:`."""
        plain = actor_id.removeprefix(_URN)
        machine = self._feed.machine(_URN + plain)
        if machine is not None:
            return _glance(machine)
        for part in self._parts():
            if part.id == plain:
                return _glance_at_part(part)
        return None

    def row(self, glance: Glance) -> Actor:
        """The whole row, as the actor is now."""
        subject = glance.subject
        if isinstance(subject, Part):
            return self._row_of_part(subject)
        glance = _glance(subject)
        now = self._clock.now()
        takedown = glance.takedown
        data = subject.data
        active = data if isinstance(data, ItemsToBeDeleted) else None
        since = self._since(subject)
        total = None if active is None else len(active.containers)
        return Actor(
            id=glance.id,
            kind=glance.kind,
            state=glance.state,
            since=None if since is None else self._clock.label(since),
            in_state_seconds=None if since is None else now - since,
            takedown_id=None if takedown is None else takedown.takedown_id,
            item_id=None if takedown is None else takedown.item_id,
            accepted_at=None if takedown is None else self._clock.label(takedown.accepted_at),
            age_seconds=None if takedown is None else now - takedown.accepted_at,
            deadline_at=None if takedown is None else self._clock.label(takedown.deadline),
            deadline_left_seconds=None if takedown is None else takedown.deadline - now,
            containers_total=total,
            containers_done=None if total is None else total - (glance.outstanding or 0),
            outstanding_count=glance.outstanding,
            outstanding=() if active is None else _places(active),
            acknowledged=None if active is None else not (active.publishing or active.due),
            waiting_for=waiting_for(data),
            mailbox_depth=glance.mailbox,
            handled=subject.handled,
            restarts=glance.restarts,
            last_transition=self.transition(subject, subject.log[-1]) if subject.log else None,
            stuck=glance.id in self._stuck(),
        )

    def _row_of_part(self, part: Part) -> Actor:
        return Actor(
            id=part.id,
            kind=part.kind,
            state=part.state,
            since=None,
            in_state_seconds=None,
            takedown_id=None,
            item_id=None,
            accepted_at=None,
            age_seconds=None,
            deadline_at=None,
            deadline_left_seconds=None,
            containers_total=None,
            containers_done=None,
            outstanding_count=None,
            outstanding=(),
            acknowledged=None,
            waiting_for=(),
            mailbox_depth=part.mailbox_depth,
            handled=part.handled,
            restarts=part.restarts,
            last_transition=None,
            stuck=part.id in self._stuck(),
        )

    def transition(self, subject: MachineActor[Any], entry: LogEntry) -> LastTransition:
        """One entry of an actor's own log."""
        names = {state.name: state.value for state in subject.machine.states}
        return LastTransition(
            at=self._clock.label(entry.at),
            ago_seconds=self._clock.now() - entry.at,
            event=entry.event,
            source=names[entry.source],
            target=names[entry.target],
        )

    def _since(self, subject: Any) -> float | None:
        """When it entered its state, if that is known."""
        if isinstance(subject, Part):
            return None
        record = self._journal.carried_by(subject.actor_urn)
        if record is not None:
            return record.since
        for entry in reversed(subject.log):
            if entry.source != entry.target:
                at: float = entry.at
                return at
        return None


def id_of(urn: str) -> str:
    """An actor's id, of its URN."""
    return urn.removeprefix(_URN)


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


def _take_in(survey: Survey, machine: Observable) -> None:
    glance = _glance(machine)
    survey.glances.append(glance)
    survey.states[glance.state] += 1
    takedown = glance.takedown
    if takedown is None:
        return
    for what in waiting_for(machine.data):
        survey.waiting[what] += 1
    if survey.oldest is None or takedown.accepted_at < survey.oldest:
        survey.oldest = takedown.accepted_at
    if survey.nearest is None or takedown.deadline < survey.nearest:
        survey.nearest = takedown.deadline


def _glance(machine: Observable) -> Glance:
    data = machine.data
    actor = machine if isinstance(machine, MachineActor) else None
    return Glance(
        id_of(machine.actor_urn),
        "ItemCensor",
        machine.state.value,
        machine,
        getattr(data, "takedown", None),
        len(data.outstanding) if isinstance(data, ItemsToBeDeleted) else None,
        0 if actor is None else len(actor.actor_inbox),
        0 if actor is None else actor.restarts,
    )


def _glance_at_part(part: Part) -> Glance:
    return Glance(
        part.id, part.kind, part.state, part, None, None, part.mailbox_depth, part.restarts
    )


def _places(data: ItemsToBeDeleted) -> tuple[Place, ...]:
    places = []
    for container in data.containers:
        if container.container_id in data.outstanding:
            places.append(
                Place(
                    container_id=cut(container.container_id),
                    container_type=cut(container.container_type),
                )
            )
            if len(places) == _MOST_PLACES:
                break
    return tuple(places)


_VALUES: dict[str, Callable[[Glance], Any]] = {
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


def _first(pair: tuple[SortKey, Glance]) -> SortKey:
    return pair[0]
