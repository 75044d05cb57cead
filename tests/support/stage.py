"""One censor with everything around it: a real bus, a virtual clock, and fakes for Kafka."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from actors.fsm.transitions import TransitionFeed
from actors.item_censor.actor import ItemCensor
from actors.item_censor.states import CLOCK_TOLERANCE, ReportStaleDeletion
from actors.runtime.ref import LoopActorRef
from bus.event_bus import EventBus
from domain.messages import Begin, Takedown
from support.fakes import (
    ITEM,
    FakeCatalogue,
    FakePublisher,
    FakeReply,
    deletion,
    listed,
    places,
    recorder,
    takedown_now,
)


class Restarting:
    """A supervisor that always restarts."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def may_restart(self, _urn: str) -> bool:
        return True

    def child_failed(self, _ref: LoopActorRef[Any], error: BaseException, *, alive: bool) -> None:
        self.errors.append(error)


class Stage:
    """One censor and everything around it."""

    def __init__(
        self,
        *names: str,
        supervised: bool = False,
        follow_changes: bool = True,
        clock_tolerance: timedelta = CLOCK_TOLERANCE,
    ) -> None:
        self.catalogue = FakeCatalogue({ITEM: places(*names)} if names else {})
        self.publisher = FakePublisher()
        self.bus = EventBus()
        self.feed = TransitionFeed()
        self.stale: list[ReportStaleDeletion] = []
        self.supervisor = Restarting()
        self.coordinator, self.told = recorder()
        self.ref = ItemCensor.start(
            catalogue=self.catalogue,
            publisher=self.publisher,
            bus=self.bus,
            coordinator=self.coordinator,
            feed=self.feed,
            follow_changes=follow_changes,
            clock_tolerance=clock_tolerance,
            on_stale=self.stale.append,
            supervisor=self.supervisor if supervised else None,
        )
        actor = self.ref.actor()
        assert actor is not None
        self.actor: ItemCensor = actor

    def begin(self, *, seconds: float = 10.0) -> tuple[Takedown, FakeReply]:
        mine, reply = takedown_now(seconds=seconds), FakeReply()
        self.ref.tell(Begin(mine, reply))
        return mine, reply

    def delete(self, *names: str, after: float = 0.0) -> None:
        """Have deletions read that are dated so many seconds after `T0`."""
        for name in names:
            self.bus.publish(deletion(name, after=after))

    def list_anew(self, *names: str, after: float = 0.0) -> None:
        """Have the catalogue read a newer list, made so many seconds after `T0`."""
        self.catalogue.items[ITEM] = places(*names)
        self.bus.publish(listed(*names, after=after))

    def clean(self) -> bool:
        """Whether nothing of any takedown is left."""
        held = self.bus.statistics()
        return (held.keys, held.subscribers, len(self.actor.timers)) == (0, 0, 0)

    async def close(self) -> None:
        await asyncio.gather(self.ref.stop(), self.coordinator.stop())
        assert self.clean()
        assert len(self.feed) == 0
