"""The coordinator and its censors: how they are started, asked, drained and stopped."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from actors.item_censor.actor import ItemCensor, machine_of
from actors.item_censor.large_takedowns import LargeTakedowns
from app.lifecycle import Failed, fail
from coordinator.coordinator import Coordinator
from coordinator.restart_policy import OneForOne
from domain.messages import Drain

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actors.fsm.machine import Machine
    from actors.fsm.transitions import TransitionFeed
    from actors.item_censor.actor import Catalogue, Publisher
    from actors.runtime.actor import Supervisor
    from actors.runtime.ref import LoopActorRef
    from app.composition.readiness import Checks
    from app.settings import Settings
    from bus.event_bus import EventBus
    from domain.messages import Outcome, TakeDown
    from operations.observation.stale_deletions import StaleDeletions

logger = logging.getLogger("takedown")


class Actors:
    """The actors of one service.

    Args:
        settings: every setting.
        failed: set when the coordinator has failed too often.
        bus: delivers deletions and lists to the censors.
        feed: receives the censors' transitions.

    Attributes:
        large: the memory that is left for takedowns with many containers.
        coordinator: once it is started.
    """

    def __init__(
        self, settings: Settings, failed: Failed, *, bus: EventBus, feed: TransitionFeed
    ) -> None:
        self._settings = settings
        self._failed = failed
        self._bus = bus
        self._feed = feed
        # Only the topic reports newer lists.
        self._follows_changes = settings.follow_changes and not settings.catalogue_url
        self.large = LargeTakedowns()
        self.coordinator: Coordinator | None = None

    def machine(self) -> Machine[Any, Any]:
        """The table of the censors."""
        return machine_of(
            follow_changes=self._follows_changes,
            clock_tolerance=timedelta(seconds=self._settings.clock_tolerance),
            containers_max=self._settings.containers_max,
        )

    def start(
        self,
        *,
        catalogue: Catalogue,
        publisher: Publisher,
        checks: Checks,
        stale_deletions: StaleDeletions,
    ) -> None:
        """Start the coordinator, which starts the censors.

        Args:
            catalogue: what the censors ask.
            publisher: what they publish requests with.
            checks: whether takedowns may begin.
            stale_deletions: notes the deletions that confirm nothing.
        """

        def start_censor(
            *, coordinator: LoopActorRef[Any], supervisor: Supervisor
        ) -> LoopActorRef[Any]:
            return ItemCensor.start(
                catalogue=catalogue,
                publisher=publisher,
                bus=self._bus,
                coordinator=coordinator,
                feed=self._feed,
                follow_changes=self._follows_changes,
                clock_tolerance=timedelta(seconds=self._settings.clock_tolerance),
                containers_max=self._settings.containers_max,
                on_stale=stale_deletions.note,
                large=self.large,
                supervisor=supervisor,
            )

        coordinator = Coordinator.start(
            start_censor=start_censor,
            pool_max=self._settings.pool_max,
            why_not_ready=checks.readiness.why_not_plainly,
            may_pass=checks.may_pass,
            wait=self._settings.wait_for_kafka,
            supervisor=OneForOne(now=asyncio.get_running_loop().time, on_failure=self._on_failure),
        )
        # The actor itself, for its statistics; everything else goes through its ref.
        self.coordinator = coordinator.actor()

    def ask(self, message: TakeDown, *, timeout: float) -> Awaitable[Outcome]:
        """Ask the coordinator; see `web.api.Ask`."""
        assert self.coordinator is not None
        answer: Awaitable[Outcome] = self.coordinator.actor_ref.ask(
            message, block=False, timeout=timeout
        )
        return answer

    async def drain(self, hurried: asyncio.Event) -> None:
        """Begin no more takedowns, and wait for those in flight, or until `hurried` is set."""
        if self.coordinator is None or not self.coordinator.actor_ref.is_alive():
            return
        bound = self._settings.timeout + 1
        drained = asyncio.ensure_future(
            _awaited(self.coordinator.actor_ref.ask(Drain(), block=False, timeout=bound))
        )
        hurrying = asyncio.ensure_future(hurried.wait())
        try:
            await asyncio.wait([drained, hurrying], return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when this step itself takes too long, as after a pause
            for waiting in (drained, hurrying):
                waiting.cancel()
            await asyncio.gather(drained, hurrying, return_exceptions=True)

    async def stop(self) -> None:
        """Stop the coordinator and every censor."""
        if self.coordinator is not None:
            await self.coordinator.actor_ref.stop(block=False)
        # Each censor leaves the feed when it has stopped.
        while len(self._feed):  # noqa: ASYNC110 - an iteration or two, bounded from outside
            await asyncio.sleep(0)

    def _on_failure(self, _ref: LoopActorRef[Any], error: BaseException, alive: bool) -> None:
        logger.critical("The coordinator failed: %r", error)
        if not alive:
            fail(self._failed, f"the coordinator failed too often: {error!r}")


async def _awaited(answer: Any) -> Any:
    return await answer
