"""A model of one ItemCensor: its machine, timers, mailbox and bus, and all that may happen to it.

The machine is the real one. What its effects do is said here in the fewest words, as `ItemCensor`,
`NamedTimers` and `EventBus` do it: the mailbox is first in, first out; a timer that is due comes
before a message, and the loop delivers it as a message of its own, now or later; an event reaches
the mailbox if its key is subscribed to when it is read.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.censor_machine import item_censor
from actors.censor_parts import (
    Answer,
    Data,
    FindContainers,
    FollowItem,
    PublishRequests,
    Release,
    State,
    StopPublishing,
    SubscribeToDeletions,
    UnsubscribeAll,
)
from actors.fsm import CancelTimer, IllegalTransition, StartTimer
from actors.timers import TimerFired
from messages import (
    Begin,
    CatalogueUnavailable,
    Container,
    ContainerId,
    ContainersFound,
    Deleted,
    Flush,
    ItemDeleted,
    ItemId,
    ItemListed,
    ItemUnknown,
    NotFound,
    Outcome,
    PublishFailed,
    Refused,
    RequestsPublished,
    Takedown,
    TakedownId,
    TimedOut,
    Unavailable,
)
from simulation.search import Wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.fsm import Machine

_T0 = datetime(2026, 1, 1, tzinfo=UTC)
_ITEM = ItemId("00000000-0000-4000-8000-000000000001")

Names = frozenset[ContainerId]


class World(NamedTuple):
    """Everything that the future depends on.

    The first six are the actor's. `publication`: the containers whose requests are on their way,
    and whether any was handed over. `reached`: a record of this takedown may be in Kafka. `heard`:
    containers whose deletion was handled for this takedown. `newest`: the newest list that was
    handled for it; `ever`: all containers of all of them. The others count what may still happen.
    """

    state: State
    data: Data
    mailbox: tuple[Any, ...]
    subscribed: Names
    follows: bool
    timer: tuple[int, Any, bool] | None
    generation: int
    fires: tuple[int, ...]
    searches: tuple[TakedownId, ...]
    publication: tuple[TakedownId, tuple[Container, ...], bool] | None
    reached: bool
    heard: Names
    newest: Names
    ever: Names
    number: int
    answered: bool
    free: bool
    deletions: tuple[int, ...]
    lists: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen.

    Attributes:
        containers: how many there are.
        takedowns: one after the other, on this one censor.
        deletions: how often each container's deletion is read.
        lists: newer lists that are read.
        crashes: how often the actor fails.
        mailbox: messages that wait.
    """

    containers: int = 2
    takedowns: int = 2
    deletions: int = 1
    lists: int = 1
    crashes: int = 0
    mailbox: int = 2


class OneCensor:
    """The model.

    Args:
        bounds: how much may happen.
        follows: whether the machine follows the item's lists.
        machine: another one than the real one, for tests of the model.
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        follows: bool = True,
        machine: Machine[State, Data] | None = None,
    ) -> None:
        self._bounds = bounds
        self._machine = machine or item_censor(follow_changes=follows)
        names = [ContainerId("abc"[n]) for n in range(bounds.containers)]
        self._places = tuple(Container(name, "group") for name in names)
        self._lists = [
            places
            for size in range(len(self._places) + 1)
            for places in itertools.combinations(self._places, size)
        ]
        self._takedowns = tuple(
            Takedown(TakedownId(f"t{n}"), _ITEM, 0.0, 1.0, _T0, _T0, "-")
            for n in range(bounds.takedowns + 1)
        )
        # No two outcomes are alike if they name different things; the model needs no reply.
        self._begins = tuple(Begin(takedown, None) for takedown in self._takedowns)  # type: ignore[arg-type]

    def start(self) -> World:
        """An idle censor, and nothing in its mailbox."""
        initial = self._machine.initial
        bounds = self._bounds
        none: Names = frozenset()
        return World(
            initial.state, initial.data, (), none, False, None, 0, (), (), None, False, none,
            none, none, 0, True, True, (bounds.deletions,) * bounds.containers, bounds.lists,
            bounds.crashes,
        )  # fmt: skip

    # --------------------------------------------------------------------------- may happen

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """The actor handles its next message, or fails at it; or the world does something."""
        if world.mailbox:
            yield f"handles {_name(world.mailbox[0])}", self._handle(world)
            if world.crashes:
                yield f"fails at {_name(world.mailbox[0])}", self._crash(world)
        if world.timer is not None and not world.timer[2]:
            generation, event, _ = world.timer
            fires = (*world.fires, generation)
            yield (
                "the deadline is here",
                world._replace(timer=(generation, event, True), fires=fires),
            )
        if len(world.mailbox) >= self._bounds.mailbox:
            return
        yield from self._loop_and_coordinator(world)
        yield from self._catalogue(world)
        yield from self._kafka(world)

    def _loop_and_coordinator(self, world: World) -> Iterator[tuple[str, World]]:
        for generation in world.fires:
            rest = tuple(g for g in world.fires if g != generation)
            fired = TimerFired("deadline", generation)
            yield "the loop delivers the timer", _put(world._replace(fires=rest), fired)
        if world.free and world.number < self._bounds.takedowns:
            # A reused censor is flushed first.
            before = (Flush(),) if world.number else ()
            begin = self._begins[world.number]
            yield (
                "the coordinator gives a takedown",
                world._replace(
                    mailbox=(*world.mailbox, *before, begin), free=False, number=world.number + 1
                ),
            )

    def _catalogue(self, world: World) -> Iterator[tuple[str, World]]:
        for search in world.searches:  # one of a takedown that has failed goes on
            asked = world._replace(searches=tuple(s for s in world.searches if s != search))
            for places in self._lists:
                found = ContainersFound(search, places, _T0)
                yield f"the catalogue finds {_names(places)}", _put(asked, found)
            yield "the catalogue knows no such item", _put(asked, ItemUnknown(search))
            yield "the catalogue cannot tell", _put(asked, CatalogueUnavailable(search, ""))
        if world.lists and world.follows:
            at = _T0 + timedelta(seconds=1 + self._bounds.lists - world.lists)
            for places in self._lists:
                listed = ItemListed(_ITEM, places, at)
                less = world._replace(lists=world.lists - 1)
                yield f"a list is read: {_names(places)}", _put(less, listed)

    def _kafka(self, world: World) -> Iterator[tuple[str, World]]:
        for number, place in enumerate(self._places):
            left = world.deletions[number]
            if left and place.container_id in world.subscribed:
                counts = (*world.deletions[:number], left - 1, *world.deletions[number + 1 :])
                deleted = ItemDeleted(_ITEM, place.container_id, "group", _T0)
                less = world._replace(deletions=counts)
                yield f"item_deleted {place.container_id} is read", _put(less, deleted)
        if world.publication is None:
            return
        takedown_id, places, handed_over = world.publication
        settled = world._replace(publication=None)
        if not handed_over:
            reached = world._replace(publication=(takedown_id, places, True), reached=True)
            yield "requests are handed over", reached
            failed = PublishFailed(takedown_id, "", False, (), places)
            yield "nothing could be handed over", _put(settled, failed)
        else:
            yield "Kafka acknowledges", _put(settled, RequestsPublished(takedown_id))
            for cut in range(len(places)):
                failed = PublishFailed(takedown_id, "", True, places[:cut], places[cut:])
                yield f"Kafka acknowledges {cut} only", _put(settled, failed)

    # ------------------------------------------------------------------------- the actor

    def _handle(self, world: World) -> World:
        message, world = world.mailbox[0], world._replace(mailbox=world.mailbox[1:])
        if world.timer is not None and world.timer[2]:
            world = self._transition(world._replace(timer=None), world.timer[1])
        if type(message) is TimerFired:
            if world.timer is None or world.timer[0] != message.generation:
                return world
            message, world = world.timer[1], world._replace(timer=None)
        return self._transition(world, message)

    def _transition(self, world: World, event: Any) -> World:
        if type(event) is Begin:
            none: Names = frozenset()
            world = world._replace(
                answered=False, reached=False, heard=none, newest=none, ever=none
            )
        elif world.state is State.ACTIVE and type(event) is ItemDeleted:
            world = world._replace(heard=world.heard | {event.container_id})
        elif (world.state is State.ACTIVE and type(event) is ItemListed) or (
            type(event) is ContainersFound and event.takedown_id == self._current(world)
        ):
            newest = frozenset(c.container_id for c in event.containers)
            world = world._replace(newest=newest, ever=world.ever | newest)
        try:
            step = self._machine.transition(world.state, world.data, event)
        except IllegalTransition as error:
            raise Wrong(str(error)) from error
        world = world._replace(state=step.state, data=step.data)
        for effect in step.effects:
            world = self._perform(world, effect)
        return world

    def _current(self, world: World) -> TakedownId:
        return self._takedowns[world.number - 1].takedown_id

    def _perform(self, world: World, effect: Any) -> World:  # noqa: PLR0911 - one for each effect
        match effect:
            case StartTimer(_, _, event):
                generation = world.generation + 1
                return world._replace(timer=(generation, event, False), generation=generation)
            case CancelTimer():
                # One that the loop has taken up already is not called back.
                keeps = world.fires if world.timer is None else ()
                return world._replace(timer=None, fires=keeps)
            case FollowItem():
                return world._replace(follows=True)
            case FindContainers(takedown):
                return world._replace(searches=(*world.searches, takedown.takedown_id))
            case SubscribeToDeletions(_, places):
                more = frozenset(c.container_id for c in places)
                return world._replace(subscribed=world.subscribed | more)
            case PublishRequests(takedown, places):
                if world.publication is not None:
                    raise Wrong("two publications at once")
                if not {c.container_id for c in places} <= world.subscribed:
                    raise Wrong("published before it is subscribed")
                return world._replace(publication=(takedown.takedown_id, places, False))
            case StopPublishing():
                return world._replace(publication=None)
            case UnsubscribeAll():
                return world._replace(subscribed=frozenset(), follows=False)
            case Answer(outcome):
                self._check_answer(world, outcome)
                return world._replace(answered=True)
            case Release(takedown):
                if takedown.takedown_id != self._current(world):
                    raise Wrong("another takedown is released")
                # A search that is left will tell what nobody needs any more.
                return world._replace(free=True)
        raise Wrong(f"nobody knows what {effect} does")

    def _crash(self, world: World) -> World:
        """It fails before it has done anything; what it carried is answered by the coordinator."""
        failed = world.mailbox[0]
        carries = world.state is not State.IDLE or type(failed) is Begin
        world = world._replace(mailbox=world.mailbox[1:], timer=None, fires=())
        assert self._machine.on_termination is not None
        for effect in self._machine.on_termination(world.state, world.data):
            world = self._perform(world, effect)
        initial = self._machine.initial
        return world._replace(
            state=initial.state,
            data=initial.data,
            crashes=world.crashes - 1,
            answered=world.answered or carries,
            free=world.free or carries,
        )

    # ---------------------------------------------------------------------------- checks

    def _check_answer(self, world: World, outcome: Outcome) -> None:
        if world.answered:
            raise Wrong(f"I1: a second answer, {outcome}")
        match outcome:
            case Deleted(containers):
                named = {c.container_id for c in containers}
                unconfirmed = (world.ever - world.heard) & world.newest
                if unconfirmed or not named or named != world.ever:
                    raise Wrong(f"I2: {sorted(unconfirmed)} of {sorted(world.ever)}")
            case NotFound():
                if world.newest or world.reached:
                    raise Wrong("I6: 404 for an item that was found")
            case Unavailable():
                if world.reached:
                    raise Wrong("I3: 503, and a request was handed over")
            case TimedOut(deleted, outstanding) | Refused(deleted=deleted, outstanding=outstanding):
                named = {c.container_id for c in deleted}
                left = {c.container_id for c in outstanding}
                truly = (world.ever - world.newest) | (world.heard & world.ever)
                if named != truly or left != world.ever - truly:
                    raise Wrong(f"I4: {sorted(named)} and {sorted(left)}, truly {sorted(truly)}")

    def check(self, world: World) -> None:
        """I5 when it is idle; and when the time is up, the mailbox is all that it needs."""
        if world.state is State.IDLE and (
            world.subscribed or world.follows or world.timer or world.publication
        ):
            raise Wrong(f"I5: idle, and it holds on to something: {world}")
        while not world.answered or any(type(m) is Begin for m in world.mailbox):
            if world.timer is not None and not world.timer[2]:
                generation, event, _ = world.timer
                world = world._replace(timer=(generation, event, True))
            if not world.mailbox:
                if world.timer is None:
                    raise Wrong("no answer will ever come")
                world = _put(world, TimerFired("deadline", world.timer[0]))
            world = self._handle(world)


def _put(world: World, message: Any) -> World:
    return world._replace(mailbox=(*world.mailbox, message))


def _names(places: tuple[Container, ...]) -> str:
    return ",".join(c.container_id for c in places) or "nothing"


def _name(message: Any) -> str:
    return type(message).__name__
