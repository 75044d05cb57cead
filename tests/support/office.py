"""A coordinator with real censors and a real bus, and fakes for all that is outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actors.fsm.transitions import TransitionFeed
from actors.item_censor.actor import ItemCensor
from actors.item_censor.large_takedowns import LargeTakedowns
from actors.runtime.actor import Supervisor, count_alive
from actors.runtime.future import LoopFuture
from actors.runtime.ref import LoopActorRef
from bus.event_bus import EventBus
from coordinator.coordinator import Coordinator, CoordinatorStatistics
from coordinator.restart_policy import OneForOne
from domain.messages import Drain, ItemId, TakeDown
from support.fakes import ITEM, FakeCatalogue, FakePublisher, deletion, places, takedown_now
from support.settling import settle

GRACE = 0.25


class Office:
    """Everything that a takedown needs, and what a test wants to know of it."""

    def __init__(
        self,
        *,
        pool_max: int = 10,
        supervised: bool = True,
        wait: float = 0.0,
        large: LargeTakedowns | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.catalogue = FakeCatalogue({ITEM: places("a", "b")})
        self.publisher = FakePublisher()
        self.bus = EventBus()
        self.large = LargeTakedowns() if large is None else large
        self.feed = TransitionFeed()
        self.missing: str | None = None
        self.may_pass = True
        self.why_not_ready_raises: Exception | None = None
        self.start_raises: Exception | None = None
        self.censors: list[LoopActorRef[ItemCensor]] = []
        self.failures: list[tuple[str, bool]] = []
        self.ref = Coordinator.start(
            start_censor=self._start_censor,
            pool_max=pool_max,
            why_not_ready=self._why_not_ready,
            may_pass=lambda: self.may_pass,
            wait=wait,
            supervisor=OneForOne(now=loop.time, on_failure=self._failed) if supervised else None,
        )
        actor = self.ref.actor()
        assert actor is not None
        self.coordinator: Coordinator = actor

    def _why_not_ready(self) -> str | None:
        if self.why_not_ready_raises is not None:
            raise self.why_not_ready_raises
        return self.missing

    def _start_censor(
        self, *, coordinator: LoopActorRef[Any], supervisor: Supervisor
    ) -> LoopActorRef[Any]:
        if self.start_raises is not None:
            raise self.start_raises
        censor = ItemCensor.start(
            catalogue=self.catalogue,
            publisher=self.publisher,
            bus=self.bus,
            coordinator=coordinator,
            feed=self.feed,
            large=self.large,
            supervisor=supervisor,
        )
        self.censors.append(censor)
        return censor

    def _failed(self, _ref: LoopActorRef[Any], error: BaseException, alive: bool) -> None:
        self.failures.append((str(error), alive))

    # ------------------------------------------------------------------- what a test does

    def ask(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> LoopFuture[Any]:
        """Ask as the public API does."""
        message = TakeDown(takedown_now(item, seconds=seconds))
        answer: LoopFuture[Any] = self.ref.ask(message, timeout=seconds + GRACE)
        return answer

    def drain(self, *, timeout: float = 60.0) -> LoopFuture[Any]:
        answer: LoopFuture[Any] = self.ref.ask(Drain(), timeout=timeout)
        return answer

    def delete(self, *names: str, item: ItemId = ITEM) -> None:
        for name in names:
            self.bus.publish(deletion(name, item))

    def carrier(self) -> LoopActorRef[ItemCensor]:
        """The one censor that carries a takedown."""
        (busy,) = [c for c in self.censors if c.is_alive() and _actor(c).state.value != "Idle"]
        return busy

    async def crash(self, censor: LoopActorRef[ItemCensor] | None = None) -> None:
        """Send a censor something that it does not take."""
        (censor or self.carrier()).tell("what is this?")
        await settle()

    # ----------------------------------------------------------------- what a test sees

    @property
    def now(self) -> CoordinatorStatistics:
        return self.coordinator.statistics()

    def timers(self) -> int:
        return sum(len(_actor(censor).timers) for censor in self.censors if censor.is_alive())

    async def settle(self) -> None:
        """Wait until every actor has handled its messages."""
        await settle()

    def assert_quiet(self) -> None:
        """I5: everything is back where it was."""
        held = self.bus.statistics()
        assert (held.keys, held.subscribers, held.subscriptions) == (0, 0, 0)
        assert self.timers() == 0
        assert self.large.containers == 0
        living = [censor for censor in self.censors if censor.is_alive()]
        assert (self.now.in_flight, self.now.idle) == (0, len(living))
        assert len(self.feed) == len(living)
        assert count_alive() == len(living) + self.ref.is_alive()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def _actor(censor: LoopActorRef[ItemCensor]) -> ItemCensor:
    actor = censor.actor()
    assert actor is not None
    return actor


@asynccontextmanager
async def office(**options: Any) -> AsyncIterator[Office]:
    """An office that is quiet in the end, and then closed."""
    own = Office(**options)
    await settle()
    yield own
    await own.settle()
    own.assert_quiet()
    if own.ref.is_alive():
        await own.ref.stop()
    await own.settle()
    own.assert_quiet()
    assert count_alive() == 0
