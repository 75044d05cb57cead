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
from dev.simulation.search import Wrong
from domain.messages import (
    Begin,
    CatalogueCaughtUp,
    CatalogueUnavailable,
    Container,
    ContainerId,
    ContainersFound,
    Deleted,
    Flush,
    ItemDeleted,
    ItemId,
    ItemInDoubt,
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.fsm.machine import Machine

_T0 = datetime(2026, 1, 1, tzinfo=UTC)
_ITEM = ItemId("00000000-0000-4000-8000-000000000001")
_LATER = timedelta(seconds=10)
"""Between two lists: more than clocks may differ."""

_FRESH = _T0 + timedelta(days=1)
_DATES = {
    _FRESH: "",
    _T0: " of the time of the first list",
    _T0 - timedelta(days=1): " of long ago",
}
"""When a deletion may be dated: after all lists, between the first and the others, before all."""

Names = frozenset[ContainerId]


class _Sent(NamedTuple):
    """The requests of one publication; `handed_over`: something of it may be in Kafka."""

    takedown_id: TakedownId
    acknowledged: tuple[Container, ...]
    failed: tuple[Container, ...]
    open: tuple[Container, ...]
    handed_over: bool

    def told(self) -> PublishFailed:
        """What is told of it after a failure."""
        return PublishFailed(
            self.takedown_id, "", self.handed_over, self.acknowledged, self.failed, self.open
        )


class World(NamedTuple):
    """Everything that the future depends on.

    The first six are the actor's. `evidence`: takedowns for which the catalogue will still show
    that it has caught up. `publication`: the containers whose requests are on their way.
    `reached`: a record of this takedown may be in Kafka. `heard`: containers whose deletion was
    handled for this takedown and counts; `early`: those of them whose deletion is older than any
    list but the first. `newest`: the newest list that was handled for it; `ever`: all containers
    of all of them; `again`: all containers of those after the first. `proven`, `doubted`: whether
    there is evidence that the list is the newest, and whether the newest can be read. The others
    count what may still happen.
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
    evidence: tuple[TakedownId, ...]
    publication: _Sent | None
    reached: bool
    heard: Names
    early: Names
    newest: Names
    ever: Names
    again: Names
    proven: bool
    doubted: bool
    number: int
    answered: bool
    free: bool
    deletions: tuple[int, ...]
    lists: int
    doubts: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen.

    Attributes:
        containers: how many there are.
        takedowns: one after the other, on this one censor.
        deletions: how often each container's deletion is read.
        lists: newer lists that are read.
        unproven: the catalogue tells what it knows before there is evidence.
        doubts: how often the item comes into doubt.
        replays: deletions may be dated before every list, or before every list but the first.
        crashes: how often the actor fails.
        mailbox: messages that wait.
    """

    containers: int = 2
    takedowns: int = 2
    deletions: int = 1
    lists: int = 1
    unproven: bool = False
    doubts: int = 0
    replays: bool = False
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
                if self._bounds.unproven:
                    later = asked._replace(evidence=(*asked.evidence, search))
                    known = replace(found, proven=False)
                    yield f"the catalogue knows {_names(places)}", _put(later, known)
            yield "the catalogue knows no such item", _put(asked, ItemUnknown(search))
            yield "the catalogue cannot tell", _put(asked, CatalogueUnavailable(search, ""))
        for takedown_id in world.evidence:
            rest = tuple(t for t in world.evidence if t != takedown_id)
            shown = world._replace(evidence=rest)
            yield "the catalogue has caught up", _put(shown, CatalogueCaughtUp(takedown_id))
        if world.doubts and world.follows:
            less = world._replace(doubts=world.doubts - 1)
            yield "a list cannot be read", _put(less, ItemInDoubt(_ITEM, _T0))
        if world.lists and world.follows:
            at = _T0 + _LATER * (1 + self._bounds.lists - world.lists)
            for places in self._lists:
                listed = ItemListed(_ITEM, places, at)
                less = world._replace(lists=world.lists - 1)
                yield f"a list is read: {_names(places)}", _put(less, listed)

    def _kafka(self, world: World) -> Iterator[tuple[str, World]]:
        for number, place in enumerate(self._places):
            left = world.deletions[number]
            if left and place.container_id in world.subscribed:
                counts = (*world.deletions[:number], left - 1, *world.deletions[number + 1 :])
                less = world._replace(deletions=counts)
                for date, words in _DATES.items() if self._bounds.replays else ((_FRESH, ""),):
                    deleted = ItemDeleted(_ITEM, place.container_id, "group", date)
                    yield f"item_deleted {place.container_id}{words} is read", _put(less, deleted)
        sent = world.publication
        if sent is None:
            return
        if not sent.handed_over:
            reached = world._replace(publication=sent._replace(handed_over=True), reached=True)
            yield "requests are handed over", reached
            failed = sent._replace(failed=sent.open, open=())
            yield "nothing could be handed over", _tell(world, failed)
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
                    yield words, _tell(world, now)

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
        if type(event) is not ItemDeleted or event.deleted_at < _T0:
            return world
        name = frozenset((event.container_id,))
        if event.deleted_at > _T0:
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
                sent = _Sent(takedown.takedown_id, (), (), places, handed_over=False)
                return world._replace(publication=sent)
            case StopPublishing():
                return world._replace(publication=None)
            case UnsubscribeAll():
                return world._replace(subscribed=frozenset(), follows=False)
            case ReportStaleDeletion() | GiveWay():
                return world
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
                if not world.proven or world.doubted:
                    raise Wrong("I2: 200 without evidence that the list is the newest")
                by = {c.container_id for c in containers if c.confirmed_by == "deletion"}
                if by != world.heard & world.ever:
                    raise Wrong(
                        f"I4: confirmed by deletions: {sorted(by)}, not {sorted(world.heard)}"
                    )
            case NotFound():
                if world.ever or world.reached:
                    raise Wrong("I6: 404 for an item that was found")
                if not world.proven or world.doubted:
                    raise Wrong("I6: 404 without evidence")
            case Unavailable():
                if world.reached:
                    raise Wrong("I3: 503, and a request was handed over")
            case TimedOut(deleted, outstanding) | Refused(deleted=deleted, outstanding=outstanding):
                named = {c.container_id for c in deleted}
                left = {c.container_id for c in outstanding}
                truly = (world.ever - world.newest) | (world.heard & world.ever)
                if named != truly or left != world.ever - truly:
                    raise Wrong(f"I4: {sorted(named)} and {sorted(left)}, truly {sorted(truly)}")
                self._check_words(world, outcome)

    @staticmethod
    def _check_words(world: World, outcome: TimedOut | Refused) -> None:
        """I4: what a 504 says of the evidence, and a 502 of each request."""
        if isinstance(outcome, TimedOut):
            if (outcome.proven, outcome.doubted) != (world.proven, world.doubted):
                raise Wrong(f"I4: the evidence is said to be {outcome}")
            return
        three = (*outcome.published, *outcome.unpublished, *outcome.unacknowledged)
        if sorted(c.container_id for c in three) != sorted(world.ever):
            raise Wrong(f"I4: {outcome} does not name each container once")

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


def _tell(world: World, sent: _Sent) -> World:
    """Some more requests are settled, and the censor is told."""
    now = world._replace(publication=sent if sent.open else None)
    if not sent.failed:
        return _put(now, RequestsPublished(sent.takedown_id))
    return _put(now, sent.told())


def _names(places: tuple[Container, ...]) -> str:
    return ",".join(c.container_id for c in places) or "nothing"


def _name(message: Any) -> str:
    return type(message).__name__
