"""The composition root: the service, the commands that start it, and the program.

`Service` builds every part in order and stops them in reverse: this is the only place that knows
which broker, clock and catalogue are real; `app/composition/` has a module for each group of
parts. No other module of the product imports this one: the command line (`app/cli.py`) gets the
commands as a table. Importing this module does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.fsm.transitions import TransitionFeed
from app import cli
from app.catalogue_folder import with_folder
from app.commands import DEMO, ITEMS, KAFKA, SERVICE, Command
from app.composition.actors import Actors
from app.composition.announcer import Announcer
from app.composition.catalogue import catalogue_of
from app.composition.events import deletions_of, publisher_of
from app.composition.observability import Observability, Observed, clock_on
from app.composition.readiness import Checks
from app.composition.servers import Servers
from app.composition.tasks import Tasks
from app.composition.topics import PreparedTopics
from app.items_service import faults_of, start_items
from app.kafka import connect
from app.lifecycle import Failed, cancel, fail
from app.logs import echo
from app.tracing import tracing_of
from app.workers.ipc import AdminApiOpened
from app.workers.service import supervise
from app.workers.worker import join
from bus.event_bus import EventBus
from demo.invitation import invitation
from demo.items_service.sample import DEMO_FAULTS
from demo.traffic import LOAD_FAULTS, Traffic
from operations.observation.history import Journal
from operations.transition_log import log_transition

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors.item_censor.large_takedowns import LargeTakedowns
    from app.lifecycle import Lifecycle
    from app.settings import Settings
    from app.workers.ipc import Link
    from app.workers.worker import WorkerOptions
    from bus.kafka.connection import Connection
    from bus.kafka.topic_settings import TopicSettings
    from catalogue.store.store import Store
    from coordinator.coordinator import Coordinator

logger = logging.getLogger("takedown")


class Service:
    """One instance of the service.

    Args:
        settings: every setting.
        connection: how Kafka is reached.
        lifecycle: where each part registers its stop; it stops them in reverse.
        utc_now: the wall clock, for labels.
        worker: for one worker among several at the callers' port.
        store: where the catalogue is stored, instead of in the folder of the settings.
        reserve_port: bind the callers' port at the start; not on a loop without real sockets.

    Attributes:
        failed: set, with the reason, when the service cannot go on.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        lifecycle: Lifecycle,
        *,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        worker: WorkerOptions | None = None,
        store: Store | None = None,
        reserve_port: bool = True,
    ) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._reserve_port = reserve_port
        self.failed: Failed = asyncio.get_running_loop().create_future()
        self._hurried = asyncio.Event()
        self._tasks = Tasks(lifecycle, self.failed)
        # The first part that registers its stop: so it is the last to be stopped.
        self.tracing = tracing_of(settings, lifecycle, utc_now)
        self.feed, self.bus = TransitionFeed(), EventBus()
        clock = clock_on(utc_now)
        journal = Journal(now=clock.now)
        self._actors = Actors(settings, self.failed, bus=self.bus, feed=self.feed)
        self._topics = topics = PreparedTopics(settings, connection, on_reported=self._on_reported)
        self.publisher = publisher_of(settings, connection, topics, utc_now)
        handle = self.tracing.deletions(self.bus.publish, journal.unmatched)
        self.deletions = deletions_of(settings, connection, topics, handle, self._on_skip)
        self._catalogue = catalogue_of(
            settings,
            connection,
            topics,
            bus=self.bus,
            large=self._actors.large,
            on_skip=self._on_skip,
            utc_now=utc_now,
            store=store,
        )
        self.view, self.items = self._catalogue.view, self._catalogue.reader
        self._checks = Checks(
            settings,
            connection,
            topics,
            deletions=self.deletions,
            catalogue=self._catalogue,
            publisher=self.publisher,
        )
        self.readiness = self._checks.readiness
        self._observability = Observability(self._observed(), journal, clock)
        self.observatory = self._observability.observatory
        self._servers = Servers(
            settings,
            self.readiness,
            self._observability,
            self.tracing,
            ask=self._actors.ask,
            utc_now=utc_now,
            shared=worker is not None,
        )
        self.public_server, self.admin_server = self._servers.public, self._servers.admin
        self._announcer = Announcer(self.readiness, self._servers, self._tasks, worker)

    def _observed(self) -> Observed:
        return Observed(
            feed=self.feed,
            bus=self.bus,
            actors=self._actors,
            deletions=self.deletions,
            publisher=self.publisher,
            catalogue=self._catalogue,
            readiness=self.readiness,
            tasks=self._tasks,
            public_server=lambda: self.public_server,
            admin_server=lambda: self.admin_server,
        )

    @property
    def coordinator(self) -> Coordinator | None:
        """The coordinator, once it is started."""
        return self._actors.coordinator

    @property
    def large(self) -> LargeTakedowns:
        """The memory that is left for takedowns with many containers."""
        return self._actors.large

    # ----------------------------------------------------------------------- start, stop

    async def start(self) -> None:
        """Start every part. Does not wait for Kafka: the callers' port opens once it is ready.

        Raises:
            SettingsError: a server's address or the catalogue's folder cannot be used.
        """
        try:
            await self._start()
        except BaseException:  # also when the start is given up: tasks that end have not failed
            self._tasks.stopping = True
            raise

    async def _start(self) -> None:
        started, run = self._lifecycle.started, self._tasks.run
        if logging.getLogger("takedown.actors").isEnabledFor(logging.DEBUG):
            self.feed.subscribe(log_transition)
        self.tracing.begin(self.feed)
        await self.admin_server.open()
        started("close the admin API", self.admin_server.close, within=5)
        self.observatory.begin()
        run("observing", self._observability.run(), within=2)
        run("checking the topics' settings", self._topics.checks.run(), within=2)
        run("diagnosing Kafka", self._checks.contact.run(), within=2)
        run("the producer", self.publisher.run(), within=8)
        started("flush the producer", self._flush, within=5)
        await self._catalogue.start_reading(self._lifecycle, self._tasks)
        run("reading item_deleted", self.deletions.run(), within=8)
        self._catalogue.start_searching(self._lifecycle, self._tasks)
        self._actors.start(
            catalogue=self._catalogue.source,
            publisher=self.tracing.publisher(self.publisher),
            checks=self._checks,
            stale_deletions=self.observatory.stale_deletions,
        )
        # The actors are stopped before the server is closed: that answers what is in flight.
        started("close the public API", self.public_server.close, within=5)
        started("stop the actors", self._actors.stop, within=5)
        # Bound now, so that a port that cannot be had stops the start. It is opened when the
        # service is ready for the first time: until then, connections are refused.
        if self._reserve_port:
            await self.public_server.reserve()
        self._announcer.log("listening")
        run("announcing readiness", self._announcer.run(), within=1)
        bound = self._settings.timeout + 2
        started("take nothing new and finish what is in flight", self._drain, within=bound)
        started("accept no more connections", self.public_server.stop_listening, within=5)
        grace = self._settings.shutdown_grace
        started("be not ready while requests are still served", self._grace, within=grace + 2)

    def hurry(self) -> None:
        """Do not wait for takedowns in flight any longer."""
        self._hurried.set()

    async def _grace(self) -> None:
        """Give load balancers time to notice that this instance stops."""
        self._tasks.stopping = True
        self.readiness.drain()
        self.public_server.drain()
        if self.public_server.is_open and not self.failed.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.shutdown_grace):
                    await self._hurried.wait()

    async def _drain(self) -> None:
        self.readiness.refuse()
        await self._actors.drain(self._hurried)

    async def _flush(self) -> None:
        if not await self.publisher.flush(timeout=3):
            logger.warning("Some delete requests were not acknowledged before the shutdown")

    # ------------------------------------------------- what refers to parts built later

    def _on_reported(self, settings: TopicSettings) -> None:
        self.publisher.topic_settings(settings)

    def _on_skip(self, topic: str, partition: int, offset: int, reason: str) -> None:
        self.observatory.losses.skipped(topic, partition, offset, reason)


async def serve(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """The service alone, against the broker it is given."""
    settings.require_broker()
    settings = with_folder(settings, lifecycle)
    if settings.workers > 1:
        return await supervise(settings, lifecycle, failed, Path(__file__))
    service = Service(settings, await connect(settings, lifecycle), lifecycle)
    await _start(service, failed)
    return service.hurry


async def worker(
    settings: Settings, lifecycle: Lifecycle, failed: Failed, *, link: Link, replaces: bool
) -> Callable[[], None]:
    """One of the processes that `serve` starts when it has workers."""
    options = join(settings, failed, link, replaces=replaces)
    service = Service(settings, await connect(settings, lifecycle), lifecycle, worker=options)
    await _start(service, failed)
    link.report(AdminApiOpened(service.admin_server.address))
    return service.hurry


async def demo(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """Embedded broker, Items service with sample items, and the service, in one go."""
    connection = await connect(settings, lifecycle)
    settings = with_folder(settings, lifecycle).with_servers(
        connection.bootstrap_servers, connection.fetch_max_wait
    )
    settings = replace(settings, items_sample=True)
    faults = LOAD_FAULTS if settings.load else DEMO_FAULTS
    if settings.items_faults:
        faults = faults_of(settings)
    items = await start_items(settings, lifecycle, failed, faults)
    service = Service(settings, connection, lifecycle)
    await _start(service, failed)
    while not (service.public_server.is_open or failed.done()):  # noqa: ASYNC110 - once
        await asyncio.sleep(0.02)
    public, admin = service.public_server.address, service.admin_server.address
    echo(invitation(public=public, admin=admin, items=items))
    if settings.load and not failed.done():
        traffic = Traffic(api=public, items=items, rate=settings.load)
        task = asyncio.create_task(_watched(traffic.run(), failed), name="traffic")
        lifecycle.started("stop the traffic", functools.partial(cancel, task), within=5)
    return service.hurry


async def _start(service: Service, failed: Failed) -> None:
    service.failed.add_done_callback(lambda future: fail(failed, future.result()))
    await service.start()


async def _watched(traffic: Coroutine[Any, Any, None], failed: Failed) -> None:
    try:
        await traffic
    except Exception as error:
        logger.exception("Defect in the traffic")
        fail(failed, f"the traffic ended: {error!r}")


COMMANDS = (
    Command("serve", serve, (*KAFKA, *SERVICE)),
    # No load balancer has to notice the end of a demo.
    Command("demo", demo, (*KAFKA, *SERVICE, *ITEMS, *DEMO), {"shutdown_grace": "0"}),
)


def main() -> None:
    """Run the command line."""
    cli.main(COMMANDS, worker)


if __name__ == "__main__":
    main()
