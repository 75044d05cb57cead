"""The coordinator: takes a censor from the pool for each takedown, and gets it back.

The asker's reply goes with the takedown to the censor, which answers it itself. The coordinator
answers only where no censor does: when nothing may begin (503), and when the censor that had the
takedown failed (500, at once). It never answers twice.

While Kafka is away for a moment, takedowns wait before they begin (`waiting`). As many may wait as
could begin, so that whoever waited finds a censor.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from actors.runtime.actor import LoopActor, Supervisor
from coordinator.pool import CensorPool
from coordinator.restart_policy import OneForOne
from coordinator.waiting import Waiting, WaitingRoom
from domain.messages import (
    Begin,
    CensorFailed,
    CensorFinished,
    Drain,
    Failed,
    Flush,
    LookAgain,
    Outcome,
    Reply,
    TakeDown,
    Unavailable,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from actors.runtime.future import LoopFuture
    from actors.runtime.ref import LoopActorRef
    from coordinator.pool import InFlight
    from domain.messages import Takedown, TakedownId

logger = logging.getLogger("takedown.coordinator")


_LOOK = 0.02
"""Seconds between two looks at whether takedowns that wait may begin."""

_AT_ONCE = 100
"""Of those that waited, so many begin before others on the loop have their turn."""


def _never() -> bool:
    return False


class StartCensor(Protocol):
    """Starts a censor that belongs to a coordinator."""

    def __call__(
        self, *, coordinator: LoopActorRef[Any], supervisor: Supervisor
    ) -> LoopActorRef[Any]:
        """Start it."""


@dataclass(frozen=True, slots=True)
class CoordinatorStatistics:
    """What the coordinator holds and has done.

    Attributes:
        in_flight: takedowns that are carried by a censor.
        idle: censors in the pool.
        waiting: takedowns that wait for Kafka and have not begun.
        maximum: takedowns that may be in flight.
        draining: nothing new is taken.
        accepted: takedowns that were given to a censor.
        rejected: takedowns that were not, by reason.
        outcomes: how those that were given to a censor ended, by the outcome's name.
        restarts: censors that failed and were restarted.
        replaced: censors that failed once too often and were given up.
    """

    in_flight: int
    idle: int
    waiting: int
    maximum: int
    draining: bool
    accepted: int
    rejected: Mapping[str, int]
    outcomes: Mapping[str, int]
    restarts: int
    replaced: int


class Coordinator(LoopActor):
    """The parent of all censors.

    Its own part of a takedown is small, and all others wait for it: so it may handle many messages
    in one turn of the loop, about 10 ms.

    Args:
        start_censor: starts one.
        pool_max: how many takedowns may be in flight.
        why_not_ready: says in words what is missing, or None when takedowns may begin.
        may_pass: whether what is missing now may be there in a moment; asked only if it is missing.
        wait: seconds for which a takedown waits for that, after it was accepted.
        supervisor: decides about the coordinator itself.
        restarts: how many restarts a censor may have ...
        within: ... in this many seconds.
    """

    throughput: ClassVar[int] = 512

    def __init__(
        self,
        *,
        start_censor: StartCensor,
        pool_max: int,
        why_not_ready: Callable[[], str | None],
        may_pass: Callable[[], bool] = _never,
        wait: float = 0.0,
        supervisor: Supervisor | None = None,
        restarts: int = 3,
        within: float = 15.0,
    ) -> None:
        super().__init__(supervisor=supervisor)
        self._start_censor = start_censor
        self._why_not_ready = why_not_ready
        self._may_pass = may_pass
        self._room = WaitingRoom(wait)
        self._look: asyncio.TimerHandle | None = None
        self._supervision = OneForOne(
            now=self.loop.time, on_failure=self._tell_failure, restarts=restarts, within=within
        )
        self._pool = CensorPool(start=self._start_child, maximum=pool_max)
        self._drained: list[LoopFuture[Any]] = []
        self._draining = False
        self._accepted = 0
        self._rejected: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._restarts = 0
        self._replaced = 0

    def _start_child(self) -> LoopActorRef[Any]:
        return self._start_censor(coordinator=self._actor_ref, supervisor=self._supervision)

    def _tell_failure(self, ref: LoopActorRef[Any], error: BaseException, alive: bool) -> None:
        if not alive:  # one that was restarted says so itself, and what it carried
            self._actor_ref.try_tell(CensorFailed(ref.actor_urn, repr(error), alive=False))

    # -------------------------------------------------------------------------- messages

    def on_receive(self, message: Any) -> Any:
        """Handle one message; see `messages` for what each means."""
        match message:
            case TakeDown(takedown):
                self._begin(takedown, self.defer_reply())
            case CensorFinished(urn, takedown_id, outcome):
                self._finished(urn, takedown_id, outcome)
            case CensorFailed(urn, error, alive=True, takedown_id=takedown_id):
                self._restarted(urn, error, takedown_id)
            case CensorFailed(urn, error, alive=False):
                self._died(urn, error)
            case LookAgain():
                self._look = None
                self._look_again()
            case Drain():
                self._draining = True
                self._look_again()
                self._drained.append(self.defer_reply())
                self._answer_if_drained()
            case _:
                super().on_receive(message)

    def _begin(self, takedown: Takedown, reply: Reply) -> None:
        refusal = self._why_refuse()
        if refusal is None:
            # What waits for Kafka comes first: it was promised a censor.
            free = not self._room or self._has_room
            while free and (censor := self._pool.take(takedown, reply)) is not None:
                if censor.try_tell(Begin(takedown, reply)):
                    self._accepted += 1
                    return
                self._pool.remove(censor.actor_urn)  # dead; the news of it is in our mailbox
            refusal = Unavailable(
                "overloaded", f"{self._pool.maximum} takedowns are in flight, which is the maximum"
            )
        elif self._may_wait(refusal) and self._room.add(Waiting(takedown, reply), self.loop.time()):
            self._look_later(_LOOK)
            return
        self._refuse(refusal, reply)

    def _refuse(self, refusal: Unavailable, reply: Reply) -> None:
        self._rejected[refusal.reason] += 1
        reply.set(refusal)

    def _may_wait(self, refusal: Unavailable) -> bool:
        return refusal.reason == "not-ready" and self._has_room and self._may_pass()

    @property
    def _has_room(self) -> bool:
        return len(self._room) + self._pool.in_flight < self._pool.maximum

    def _look_later(self, seconds: float) -> None:
        if self._look is None:
            self._look = self.loop.call_later(seconds, self._actor_ref.try_tell, LookAgain())

    def _look_again(self) -> None:
        """Begin what waited, or answer whoever has waited for as long as possible."""
        refusal = self._why_refuse()
        if refusal is None:
            for _ in range(_AT_ONCE):
                waiting = self._room.take()
                if waiting is None:
                    return
                try:
                    self._begin(waiting.takedown, waiting.reply)
                except BaseException:
                    if not waiting.reply.done():
                        waiting.reply.set(Failed())
                    raise
            self._look_later(0)
            return
        over = self._draining or not self._may_pass()
        for waiting in self._room.expired(math.inf if over else self.loop.time()):
            self._refuse(refusal, waiting.reply)
        if self._room:
            self._look_later(_LOOK)

    def _why_refuse(self) -> Unavailable | None:
        if self._draining:
            return Unavailable("shutting-down", "This instance is shutting down")
        missing = self._why_not_ready()
        if missing is not None:
            return Unavailable("not-ready", missing)
        return None

    def _finished(self, urn: str, takedown_id: str, outcome: Outcome) -> None:
        entry = self._pool.find(urn)
        if entry is None or entry.takedown.takedown_id != takedown_id:
            return  # from before a restart of the coordinator
        self._pool.finish(urn)
        self._outcomes[type(outcome).__name__] += 1
        if entry.censor.try_tell(Flush()):
            self._pool.put_back(entry.censor)
        self._answer_if_drained()

    def _restarted(self, urn: str, error: str, takedown_id: TakedownId | None) -> None:
        self._restarts += 1
        entry = self._pool.find(urn)
        if entry is not None and entry.takedown.takedown_id == takedown_id:
            self._pool.finish(urn)
            self._answer_failed(entry, error, restarted=True)
            self._pool.put_back(entry.censor)
            self._answer_if_drained()

    def _died(self, urn: str, error: str) -> None:
        self._replaced += 1
        entry = self._pool.finish(urn)
        self._pool.remove(urn)
        if entry is not None:
            self._answer_failed(entry, error, restarted=False)
            self._answer_if_drained()

    def _answer_failed(self, entry: InFlight, error: str, *, restarted: bool) -> None:
        logger.error(
            "A censor failed: %s",
            error,
            extra={
                "takedownId": entry.takedown.takedown_id,
                "itemId": entry.takedown.item_id,
                "restarted": restarted,
            },
        )
        self._outcomes[Failed.__name__] += 1
        if not entry.reply.done():  # it may have failed after it had answered
            entry.reply.set(Failed())

    def _answer_if_drained(self) -> None:
        if self._draining and not self._pool.in_flight:
            while self._drained:
                self._drained.pop().set(None)

    # ------------------------------------------------------------------------------ life

    def on_restart(self, error: BaseException) -> None:
        """Answer what was in flight and begin with an empty pool."""
        self._abandon()

    def on_stop(self) -> None:
        """Stop every censor."""
        self._abandon()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Answer what was in flight and stop every censor."""
        self._abandon()

    def _abandon(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        for waiting in self._room.expired(math.inf):
            if not waiting.reply.done():
                self._refuse(Unavailable("not-ready", "The coordinator has stopped"), waiting.reply)
        in_flight, censors = self._pool.clear()
        for entry in in_flight:
            if not entry.reply.done():
                self._outcomes[Failed.__name__] += 1
                entry.reply.set(Failed())
        # In the order of their starts: pykka's registry is a list, and finds the first at once.
        for censor in censors:
            if censor.is_alive():
                censor.tell_stop()
        self._answer_if_drained()

    def statistics(self) -> CoordinatorStatistics:
        """What it holds and has done."""
        return CoordinatorStatistics(
            in_flight=self._pool.in_flight,
            idle=self._pool.idle,
            waiting=len(self._room),
            maximum=self._pool.maximum,
            draining=self._draining,
            accepted=self._accepted,
            rejected=dict(self._rejected),
            outcomes=dict(self._outcomes),
            restarts=self._restarts,
            replaced=self._replaced,
        )
