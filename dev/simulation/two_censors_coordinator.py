"""The real coordinator inside the model of two censors, with the model's references and replies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coordinator.coordinator import Coordinator
from coordinator.pool import CensorPool, InFlight
from coordinator.waiting import WaitingRoom
from dev.simulation.search import Wrong
from dev.simulation.two_censors_world import Stop

if TYPE_CHECKING:
    from dev.simulation.two_censors import TwoCensors
    from dev.simulation.two_censors_world import World
    from domain.messages import Outcome


class Ref:
    """A reference to one censor of the current world."""

    def __init__(self, model: TwoCensors, number: int) -> None:
        self._model = model
        self.number = number
        self.actor_urn = str(number)

    def try_tell(self, message: Any) -> bool:
        censor = self._model.now[self.number]
        if not censor.alive:
            return False
        self._model.now[self.number] = censor._replace(mailbox=(*censor.mailbox, message))
        return True

    def is_alive(self) -> bool:
        return self._model.now[self.number].alive

    def tell_stop(self) -> None:
        self.try_tell(Stop())


class Reply:
    """Receives the answer to one takedown."""

    def __init__(self, model: TwoCensors, number: int) -> None:
        self._model = model
        self._number = number

    def done(self) -> bool:
        return bool(self._model.answers[self._number])

    def set(self, value: Outcome | None = None) -> None:
        if self.done():
            raise Wrong(f"I1: a second answer, {value}")
        self._model.answers[self._number] = type(value).__name__


class Drained:
    """Counts the answers to requests to drain."""

    def __init__(self, model: TwoCensors) -> None:
        self._model = model

    def set(self, _value: None = None) -> None:
        self._model.drained += 1


class ModelCoordinator(Coordinator):
    """The real coordinator without an event loop; its state is set before each message."""

    def __init__(self, model: TwoCensors) -> None:
        self._model = model

    def put(self, world: World) -> None:
        model = self._model
        self._pool = CensorPool(start=model.start_censor, maximum=model.bounds.pool)
        for number in world.idle:
            self._pool.put_back(model.refs[number])  # type: ignore[arg-type]
        for number, takedown in world.busy:
            ref: Any = model.refs[number]
            entry = InFlight(ref, model.takedowns[takedown], model.replies[takedown])
            self._pool._busy[ref.actor_urn] = entry
        self._draining = world.draining
        self._drained = [model.drain_reply] * world.drains  # type: ignore[list-item]
        self._why_not_ready = lambda: None
        self._room = WaitingRoom(0.0)  # it is ready: no request waits
        self._look = None
        self._accepted = self._restarts = self._replaced = 0
        self._rejected = Counter()
        self._outcomes = Counter()
        self.deferred: Any = None

    def defer_reply(self) -> Any:
        return self.deferred

    def censors(self) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
        """Numbers of the idle censors, and of the busy ones with their takedowns."""
        busy = self._pool._busy
        return (
            tuple(int(urn) for urn in self._pool._idle),
            tuple((int(urn), int(e.takedown.takedown_id)) for urn, e in busy.items()),
        )

    def is_drained(self) -> int:
        return len(self._drained)

    @property
    def is_draining(self) -> bool:
        return self._draining
