"""A model of one ItemCensor: its machine, timers, mailbox and bus, and all that may happen to it.

The machine is the real one. What its effects do is said here in the fewest words, as `ItemCensor`,
`NamedTimers` and `EventBus` do it: the mailbox is first in, first out; a timer that is due comes
before a message, and the loop delivers it as a message of its own, now or later; an event reaches
the mailbox if its key is subscribed to when it is read.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from actors.fsm.machine import CancelTimer, IllegalTransition, StartTimer
from actors.fsm.timers import TimerFired
from actors.item_censor.machine import item_censor
from actors.item_censor.states import (
    Answer,
    Data,
    FindContainers,
    FollowItem,
    GiveWay,
    PublishRequests,
    Release,
    ReportStaleDeletion,
    State,
    StopPublishing,
    SubscribeToDeletions,
    UnsubscribeAll,
)
from dev.simulation.one_censor_answers import check_answer
from dev.simulation.one_censor_world import ITEM, T0, Bounds, Names, Sent, World, put, settle
from dev.simulation.search import Wrong
from domain.messages import (
    Begin,
    CatalogueCaughtUp,
    CatalogueUnavailable,
    Container,
    ContainerId,
    ContainersFound,
    Flush,
    ItemDeleted,
    ItemInDoubt,
    ItemListed,
    ItemUnknown,
    Takedown,
    TakedownId,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.fsm.machine import Machine

_LATER = timedelta(seconds=10)
"""Between two lists: more than clocks may differ."""

_FRESH = T0 + timedelta(days=1)
_DATES = {
    _FRESH: "",
    T0: " of the time of the first list",
    T0 - timedelta(days=1): " of long ago",
}
"""When a deletion may be dated: after all lists, between the first and the others, before all."""


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
            Takedown(TakedownId(f"t{n}"), ITEM, 0.0, 1.0, T0, T0, "-")
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
            initial.state, initial.data, (), none, False, None, 0, (), (), (), None, False, none,
            none, none, none, none, False, False, 0, True, True,
            (bounds.deletions,) * bounds.containers, bounds.lists, bounds.doubts, bounds.crashes,
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
            yield "the loop delivers the timer", put(world._replace(fires=rest), fired)
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
                found = ContainersFound(search, places, T0)
                yield f"the catalogue finds {_names(places)}", put(asked, found)
                if self._bounds.unproven:
                    later = asked._replace(evidence=(*asked.evidence, search))
                    known = replace(found, proven=False)
                    yield f"the catalogue knows {_names(places)}", put(later, known)
            yield "the catalogue knows no such item", put(asked, ItemUnknown(search))
            yield "the catalogue cannot tell", put(asked, CatalogueUnavailable(search, ""))
        for takedown_id in world.evidence:
            rest = tuple(t for t in world.evidence if t != takedown_id)
            shown = world._replace(evidence=rest)
            yield "the catalogue has caught up", put(shown, CatalogueCaughtUp(takedown_id))
        if world.doubts and world.follows:
            less = world._replace(doubts=world.doubts - 1)
            yield "a list cannot be read", put(less, ItemInDoubt(ITEM, T0))
        if world.lists and world.follows:
            at = T0 + _LATER * (1 + self._bounds.lists - world.lists)
            for places in self._lists:
                listed = ItemListed(ITEM, places, at)
                less = world._replace(lists=world.lists - 1)
                yield f"a list is read: {_names(places)}", put(less, listed)

    def _kafka(self, world: World) -> Iterator[tuple[str, World]]:
        for number, place in enumerate(self._places):
            left = world.deletions[number]
            if left and place.container_id in world.subscribed:
                counts = (*world.deletions[:number], left - 1, *world.deletions[number + 1 :])
                less = world._replace(deletions=counts)
                for date, words in _DATES.items() if self._bounds.replays else ((_FRESH, ""),):
                    deleted = ItemDeleted(ITEM, place.container_id, "group", date)
                    yield f"item_deleted {place.container_id}{words} is read", put(less, deleted)
        sent = world.publication
        if sent is None:
            return
        if not sent.sent:
            reached = world._replace(publication=sent._replace(sent=True), reached=True)
            yield "requests are sent", reached
            failed = sent._replace(failed=sent.open, open=())
            yield "nothing could be sent", settle(world, failed)
            return
        for some in range(len(sent.open) + 1):
            for left in range(len(sent.open) - some + 1):
                end = len(sent.open) - left
                now = sent._replace(
                    acknowledged=(*sent.acknowledged, *sent.open[:some]),
                    failed=(*sent.failed, *sent.open[some:end]),
                    open=sent.open[end:],
                )
                if now.failed != sent.failed or not left:
                    words = f"Kafka acknowledges {some}, refuses {end - some}, {left} are left"
                    yield words, settle(world, now)

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
                answered=False, reached=False, heard=none, early=none, newest=none, ever=none,
                again=none, proven=False, doubted=False,
            )  # fmt: skip
        elif getattr(event, "takedown_id", "") == self._current(world):
            world = self._note_of_catalogue(world, event)
        elif world.state is State.ACTIVE:
            world = self._note(world, event)
        try:
            step = self._machine.transition(world.state, world.data, event)
        except IllegalTransition as error:
            raise Wrong(str(error)) from error
        world = world._replace(state=step.state, data=step.data)
        for effect in step.effects:
            world = self._perform(world, effect)
        left = (world.ever - world.heard) & world.newest
        if step.state is State.ACTIVE and world.proven and not world.doubted and not left:
            raise Wrong("there is evidence, nothing is outstanding, and it waits")
        return world

    @staticmethod
    def _note_of_catalogue(world: World, event: Any) -> World:
        """What the catalogue says to the current takedown."""
        if type(event) is ContainersFound:
            newest = frozenset(c.container_id for c in event.containers)
            return world._replace(newest=newest, ever=newest, proven=event.proven)
        known = world.state is State.ACTIVE and type(event) is CatalogueCaughtUp
        return world._replace(proven=world.proven or known or type(event) is ItemUnknown)

    def _note(self, world: World, event: Any) -> World:
        """What was read while the takedown was active."""
        if type(event) is ItemInDoubt:
            return world._replace(doubted=True)
        if type(event) is ItemListed:
            newest = frozenset(c.container_id for c in event.containers)
            refuted: Names = frozenset()
            if not world.proven:
                refuted = world.early & newest
            return world._replace(
                newest=newest,
                ever=world.ever | newest,
                heard=world.heard - refuted,
                early=world.early - refuted,
                again=world.again | newest if self._bounds.replays else world.again,
                doubted=False,
            )
        if type(event) is not ItemDeleted or event.deleted_at < T0:
            return world
        name = frozenset((event.container_id,))
        if event.deleted_at > T0:
            early = world.early if world.proven and name <= world.heard else world.early - name
            return world._replace(heard=world.heard | name, early=early)
        if name & (world.again | world.heard):
            return world
        return world._replace(heard=world.heard | name, early=world.early | name)

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
                sent = Sent(takedown.takedown_id, (), (), places, sent=False)
                return world._replace(publication=sent)
            case StopPublishing():
                return world._replace(publication=None)
            case UnsubscribeAll():
                return world._replace(subscribed=frozenset(), follows=False)
            case ReportStaleDeletion() | GiveWay():
                return world
            case Answer(outcome):
                check_answer(world, outcome)
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
                world = put(world, TimerFired("deadline", world.timer[0]))
            world = self._handle(world)


def _names(places: tuple[Container, ...]) -> str:
    return ",".join(c.container_id for c in places) or "nothing"


def _name(message: Any) -> str:
    return type(message).__name__
