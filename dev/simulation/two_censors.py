"""A model of the coordinator with two censors: the real coordinator, pool and machine.

The coordinator's own code handles each message; only its mailbox, its references to censors and the
askers' replies are this model's. The censors run the real machine for one item in one container,
with a mailbox, a timer and a subscription each. Any of them may fail at any message, be restarted
or be given up; the coordinator, too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from actors.fsm.machine import CancelTimer, IllegalTransition, StartTimer
from actors.fsm.timers import TimerFired
from actors.item_censor.machine import ITEM_CENSOR
from actors.item_censor.states import (
    Answer,
    FindContainers,
    Release,
    State,
    SubscribeToDeletions,
    UnsubscribeAll,
)
from dev.simulation.search import Wrong
from dev.simulation.two_censors_coordinator import Drained, ModelCoordinator, Ref, Reply
from dev.simulation.two_censors_world import Bounds, Censor, Stop, World, put, with_censor
from domain.messages import (
    Begin,
    CatalogueCaughtUp,
    CensorFailed,
    CensorFinished,
    Container,
    ContainerId,
    ContainersFound,
    DeadlinePassed,
    Drain,
    ItemDeleted,
    ItemId,
    ItemUnknown,
    TakeDown,
    Takedown,
    TakedownId,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_T0 = datetime(2026, 1, 1, tzinfo=UTC)
_ITEM = ItemId("00000000-0000-4000-8000-000000000001")
_PLACE = Container(ContainerId("a"), "group")
_MOST_STEPS = 200


class TwoCensors:
    """The model.

    Args:
        bounds: how much may happen.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        most = bounds.pool + bounds.censor_failures + bounds.pool * bounds.coordinator_failures
        self.refs = [Ref(self, number) for number in range(most + 1)]
        self.takedowns = [
            Takedown(TakedownId(str(n)), _ITEM, 0.0, 1.0, _T0, _T0, "-")
            for n in range(bounds.takedowns)
        ]
        self.replies = [Reply(self, number) for number in range(bounds.takedowns)]
        self._asks = [TakeDown(takedown) for takedown in self.takedowns]
        self.drain_reply = Drained(self)
        self._coordinator = ModelCoordinator(self)
        self.now: list[Censor] = []
        self.answers: list[str] = []
        self.inbox: list[Any] = []
        self.drained = 0

    def start(self) -> World:
        """Nothing was asked, and no censor started."""
        bounds = self.bounds
        return World(
            (), (), (), False, 0, (), (), 0, bounds.deletions, bounds.censor_failures,
            bounds.coordinator_failures,
        )  # fmt: skip

    # --------------------------------------------------------------------- work in progress

    def start_censor(self) -> Any:
        """A new censor, for the pool."""
        initial = ITEM_CENSOR.initial
        censor = Censor(True, initial.state, initial.data, (), None, False, None, None, None, 0)
        self.now.append(censor)
        return self.refs[len(self.now) - 1]

    def _take_up(self, world: World) -> None:
        self.now = list(world.censors)
        self.answers = list(world.answers)
        self.inbox = list(world.inbox)
        self.drained = world.drained

    def _put_down(self, world: World, **more: Any) -> World:
        return world._replace(
            censors=tuple(self.now),
            answers=tuple(self.answers),
            inbox=tuple(self.inbox),
            drained=self.drained,
            **more,
        )

    # --------------------------------------------------------------------------- may happen

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """An actor handles its next message or fails at it; or the world does something."""
        bounds = self.bounds
        if world.inbox:
            name = type(world.inbox[0]).__name__
            yield f"the coordinator handles {name}", self._coordinate(world)
            if world.coordinator_failures:
                for point in ("before", "after"):
                    failed = self._fail_coordinator(world, point)
                    yield f"the coordinator fails {point} {name}", failed
        for number, censor in enumerate(world.censors):
            yield from self._of_censor(world, number, censor)
        if len(world.inbox) < bounds.mailbox:
            asked = len(world.answers)
            if asked < bounds.takedowns:
                yield (
                    "a request arrives",
                    world._replace(
                        inbox=(*world.inbox, self._asks[asked]), answers=(*world.answers, "")
                    ),
                )
            if bounds.drains and not world.draining and Drain() not in world.inbox:
                yield "a request to drain arrives", world._replace(inbox=(*world.inbox, Drain()))
        if world.deletions and any(c.subscribed for c in world.censors):
            deleted = ItemDeleted(_ITEM, _PLACE.container_id, "group", _T0)
            censors = tuple(put(c, deleted) if c.subscribed else c for c in world.censors)
            less = world._replace(censors=censors, deletions=world.deletions - 1)
            yield "item_deleted is read", less

    def _of_censor(self, world: World, number: int, censor: Censor) -> Iterator[tuple[str, World]]:
        who = f"censor {number}"
        if not censor.alive:
            return
        if censor.mailbox:
            name = type(censor.mailbox[0]).__name__
            yield f"{who} handles {name}", self._handle(world, number)
            if world.censor_failures and not isinstance(censor.mailbox[0], Stop):
                for lives in (True, False):
                    what = "is restarted" if lives else "dies"
                    failed = self._fail_censor(world, number, lives=lives)
                    yield f"{who} fails at {name} and {what}", failed
        if censor.timer is not None and not censor.timer[1]:
            due = censor._replace(timer=(censor.timer[0], True))
            fired = TimerFired("deadline", censor.timer[0])
            yield f"the deadline of {who} is here", with_censor(world, number, put(due, fired))
        if censor.search is not None and len(censor.mailbox) < self.bounds.mailbox:
            told = censor._replace(search=None)
            found = ContainersFound(censor.search, (_PLACE,), _T0)
            yield f"the catalogue tells {who}", with_censor(world, number, put(told, found))
            if self.bounds.unproven:
                known = put(told, replace(found, proven=False))._replace(evidence=censor.search)
                yield f"the catalogue tells {who} what it knows", with_censor(world, number, known)
            unknown = put(told, ItemUnknown(censor.search))
            yield f"the catalogue does not know, {who}", with_censor(world, number, unknown)
        if censor.evidence is not None and len(censor.mailbox) < self.bounds.mailbox:
            shown = put(censor._replace(evidence=None), CatalogueCaughtUp(censor.evidence))
            yield f"the catalogue has caught up for {who}", with_censor(world, number, shown)

    # --------------------------------------------------------------------- the coordinator

    def _coordinate(self, world: World, *, abandon: bool = False) -> World:
        message = world.inbox[0]
        self._take_up(world)
        del self.inbox[0]
        coordinator = self._coordinator
        coordinator.put(world)
        if isinstance(message, TakeDown):
            coordinator.deferred = self.replies[int(message.takedown.takedown_id)]
        elif isinstance(message, Drain):
            coordinator.deferred = self.drain_reply
        coordinator.on_receive(message)
        if abandon:
            self._abandon(message)
        return self._end(world)

    def _fail_coordinator(self, world: World, point: str) -> World:
        less = world._replace(coordinator_failures=world.coordinator_failures - 1)
        if point == "after":
            return self._coordinate(less, abandon=True)
        self._take_up(less)
        message = self.inbox.pop(0)
        self._coordinator.put(less)
        self._abandon(message)
        return self._end(less)

    def _abandon(self, message: Any) -> None:
        if isinstance(message, TakeDown):  # the caller gets the error
            number = int(message.takedown.takedown_id)
            self.answers[number] = self.answers[number] or "Error"
        elif isinstance(message, Drain):
            self.drained += not self._coordinator.is_drained()
        self._coordinator.on_restart(RuntimeError())

    def _end(self, world: World) -> World:
        idle, busy = self._coordinator.censors()
        return self._put_down(
            world,
            idle=idle,
            busy=busy,
            draining=self._coordinator.is_draining,
            drains=self._coordinator.is_drained(),
        )

    # --------------------------------------------------------------------------- a censor

    def _handle(self, world: World, number: int) -> World:
        self._take_up(world)
        censor = self.now[number]
        message, censor = censor.mailbox[0], censor._replace(mailbox=censor.mailbox[1:])
        self.now[number] = censor
        if isinstance(message, Stop):
            self._terminate(number)
            self.now[number] = self.now[number]._replace(alive=False, mailbox=())
            return self._put_down(world)
        if censor.timer is not None and censor.timer[1]:
            self._fire(number)
        if isinstance(message, TimerFired):
            timer = self.now[number].timer
            if timer is not None and timer[0] == message.generation:
                self._fire(number)
        else:
            self._transition(number, message)
        return self._put_down(world)

    def _fire(self, number: int) -> None:
        censor = self.now[number]
        takedown = censor.data.takedown  # type: ignore[union-attr]
        self.now[number] = censor._replace(timer=None)
        self._transition(number, DeadlinePassed(takedown.takedown_id))

    def _transition(self, number: int, event: Any) -> None:
        censor = self.now[number]
        if isinstance(event, Begin) and censor.state is State.IDLE:
            censor = censor._replace(carried=int(event.takedown.takedown_id))
        try:
            step = ITEM_CENSOR.transition(censor.state, censor.data, event)
        except IllegalTransition as error:
            raise Wrong(str(error)) from error
        self.now[number] = censor._replace(state=step.state, data=step.data)
        for effect in step.effects:
            self._perform(number, effect)

    def _perform(self, number: int, effect: Any) -> None:
        censor = self.now[number]
        match effect:
            case StartTimer():
                generation = censor.generation + 1
                censor = censor._replace(timer=(generation, False), generation=generation)
            case CancelTimer():
                censor = censor._replace(timer=None)
            case FindContainers(takedown):
                censor = censor._replace(search=takedown.takedown_id)
            case SubscribeToDeletions():
                censor = censor._replace(subscribed=True)
            case UnsubscribeAll():
                censor = censor._replace(subscribed=False)
            case Answer(outcome):
                assert censor.carried is not None
                reply = self.replies[censor.carried]
                if not reply.done():
                    reply.set(outcome)
            case Release(takedown, outcome):
                censor = censor._replace(carried=None)
                urn = str(number)
                self.inbox.append(CensorFinished(urn, takedown.takedown_id, outcome))
        self.now[number] = censor

    def _terminate(self, number: int) -> None:
        censor = self.now[number]
        self.now[number] = censor._replace(timer=None)
        assert ITEM_CENSOR.on_termination is not None
        for effect in ITEM_CENSOR.on_termination(censor.state, censor.data):
            self._perform(number, effect)

    def _fail_censor(self, world: World, number: int, *, lives: bool) -> World:
        world = world._replace(censor_failures=world.censor_failures - 1)
        self._take_up(world)
        failing, carried = self.now[number].mailbox[0], self.now[number].carried
        self._terminate(number)
        censor, initial, urn = self.now[number], ITEM_CENSOR.initial, str(number)
        if lives:
            if carried is None and isinstance(failing, Begin):
                carried = int(failing.takedown.takedown_id)
            lost = None if carried is None else self.takedowns[carried].takedown_id
            self.inbox.append(CensorFailed(urn, "", alive=True, takedown_id=lost))
            mailbox = censor.mailbox[1:]
        else:
            self.inbox.append(CensorFailed(urn, "", alive=False))
            mailbox = ()
        self.now[number] = censor._replace(
            alive=lives, state=initial.state, data=initial.data, mailbox=mailbox, carried=None
        )
        return self._put_down(world)

    # ---------------------------------------------------------------------------- checks

    def check(self, world: World) -> None:
        """No more in flight than allowed; and if nothing else happens, all comes to rest."""
        if len(world.busy) > self.bounds.pool:
            raise Wrong(f"{len(world.busy)} are in flight, of {self.bounds.pool}")
        if len({takedown for _, takedown in world.busy}) != len(world.busy):
            raise Wrong(f"one takedown, two censors: {world.busy}")
        for _ in range(_MOST_STEPS):
            following = self._calm_step(world)
            if following is None:
                return self._check_rest(world)
            world = following
        raise Wrong("it does not come to rest")

    def _calm_step(self, world: World) -> World | None:
        if world.inbox:
            return self._coordinate(world)
        for number, censor in enumerate(world.censors):
            if censor.alive and censor.mailbox:
                return self._handle(world, number)
        for number, censor in enumerate(world.censors):
            if censor.alive and censor.timer is not None:
                due = censor._replace(timer=(censor.timer[0], True))
                fired = TimerFired("deadline", censor.timer[0])
                return with_censor(world, number, put(due, fired))
        return None

    @staticmethod
    def _check_rest(world: World) -> None:
        if not all(world.answers):
            raise Wrong(f"I1: at rest, and not everybody was answered: {world.answers}")
        if world.busy or world.drains:
            raise Wrong(f"I5: at rest, and in flight: {world.busy}, draining: {world.drains}")
        living = {n for n, censor in enumerate(world.censors) if censor.alive}
        if living != set(world.idle):
            raise Wrong(f"I5: living are {living}, in the pool are {world.idle}")
        if any(censor.subscribed or censor.timer for censor in world.censors):
            raise Wrong(f"I5: at rest, and a censor holds on to something: {world.censors}")
