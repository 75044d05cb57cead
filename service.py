"""The composition root: the service, the commands that start it, and the program.

`Service` builds every part in order and stops them in reverse: this is the only place that knows
which broker, clock and catalogue are real. No other module of the product imports this one: the
command line (`app/cli.py`) gets the commands as a table. Importing this module does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.fsm.transitions import TransitionFeed
from actors.item_censor.actor import ItemCensor, machine_of
from actors.item_censor.large_takedowns import LargeTakedowns
from app import cli
from app.catalogue_folder import acquire, folder_of, with_folder
from app.commands import DEMO, ITEMS, KAFKA, SERVICE, Command
from app.items_service import faults_of, start_items
from app.kafka import connect, needs_of, topics_used
from app.lifecycle import Failed, cancel, fail
from app.logs import echo
from app.open_files import admin_connections
from app.tracing import tracing_of, version
from app.workers.ipc import OperatorsDoorOpened
from app.workers.service import supervise
from app.workers.worker import join
from bus.event_bus import EventBus
from bus.kafka.codec import decode_item_deleted
from bus.kafka.first_contact import FirstContact
from bus.kafka.publisher import KafkaPublisher
from bus.kafka.reader import Start, TopicReader
from bus.kafka.safeguards import Safeguards
from bus.kafka.topic_settings import TopicChecks
from bus.kafka.topics import Topics
from catalogue.http.catalogue import HttpCatalogue
from catalogue.http.client import ItemsClient
from catalogue.store.lmdb_store import LmdbStore
from catalogue.view import CatalogueView
from coordinator.coordinator import Coordinator
from coordinator.readiness import Readiness
from coordinator.restart_policy import OneForOne
from demo.invitation import invitation
from demo.items_service.sample import DEMO_FAULTS
from demo.traffic import LOAD_FAULTS, Traffic
from domain.messages import Drain, ItemInDoubt, ItemListed
from operations.admin.api import OperatorsDoor
from operations.admin.static import Pages
from operations.metrics.collectors import Parts
from operations.metrics.metrics import Metrics
from operations.observation.clock import Clock
from operations.observation.live_updates import Broadcast
from operations.observation.views import Observatory, Sources
from operations.transition_log import log_transition
from web.api import CallersDoor
from web.headers import take_traceparent
from web.server import Door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from actors.fsm.machine import Machine
    from actors.item_censor.actor import Catalogue, Publisher
    from actors.runtime.actor import LoopActorRef, Supervisor
    from app.lifecycle import Lifecycle
    from app.settings import Settings
    from app.workers.ipc import Link
    from app.workers.worker import WorkerOptions
    from bus.kafka.connection import Connection
    from bus.kafka.reader import Record
    from bus.kafka.topic_settings import TopicSettings
    from catalogue.doubts import ItemDoubt
    from catalogue.store.store import Store
    from coordinator.readiness import Health
    from domain.messages import Container, ItemId, Outcome, TakeDown

logger = logging.getLogger("takedown")

_READY_POLL = 0.05


class Service:
    """One instance of the service.

    Args:
        settings: every setting.
        connection: how Kafka is reached.
        lifecycle: is told what was started, and stops it in reverse.
        utc_now: the wall clock, for labels.
        worker: for one worker among several at the callers' port.
        store: where the catalogue is kept, instead of in the folder of the settings.
        reserve_port: bind the callers' port at the start; not on a loop without real sockets.
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
        self._reserve_port = reserve_port
        self._worker = worker
        self._lifecycle = lifecycle
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[str] = self._loop.create_future()
        self._hurried, self._stopping = asyncio.Event(), False

        self.safeguards = Safeguards()
        self.topics = Topics(connection, topics_used(settings), create=settings.creates_topics)
        self.topic_checks = TopicChecks(
            connection,
            published=None if settings.catalogue_url else settings.topic_item_published,
            events=(settings.topic_item_reported, settings.topic_item_deleted),
            safeguards=self.safeguards,
            deadline=settings.timeout,
            may_expire=settings.catalogue_may_expire,
            on_read=self._on_settings,
        )
        prepare = self._prepare
        self.tracing = tracing_of(settings, utc_now)
        if self.tracing is not None:  # the first: so it is the last to be stopped
            lifecycle.started("export what is left of traces", self.tracing.stop, within=5)
        self.feed = TransitionFeed()
        self.bus, self.large = EventBus(), LargeTakedowns()
        self.publisher = KafkaPublisher(
            connection=connection,
            topic=settings.topic_item_reported,
            prepare=prepare,
            wait_for_kafka=settings.wait_for_kafka,
            read_settings=self.topic_checks.read_again,
            utc_now=utc_now,
        )
        self.deletions = TopicReader(
            connection=connection,
            topic=settings.topic_item_deleted,
            start=Start.END,
            handle=self._on_deletion if self.tracing is None else self._on_traced_deletion,
            prepare=prepare,
            on_skip=self._on_skip,
            safeguards=self.safeguards,
            consumer_factory=connection.clients.consumer,
        )
        self.view: CatalogueView | None = None
        self._files: LmdbStore | None = None
        self.items: TopicReader | None = None
        self.over_http: HttpCatalogue | None = None
        self.catalogue: Catalogue
        if settings.catalogue_url:
            self.catalogue = self.over_http = HttpCatalogue(
                ItemsClient(settings.catalogue_url),
                attempt_timeout=settings.catalogue_url_timeout,
                utc_now=utc_now,
            )
        else:
            if store is None:
                store = self._files = LmdbStore(folder_of(settings), settings.topic_item_published)
            follow = settings.follow_changes
            self.catalogue = self.view = CatalogueView(
                store,
                topic=settings.topic_item_published,
                on_change=self._on_change if follow else None,
                on_doubt=self._on_doubt if follow else None,
                on_gap=self._on_gap if follow else None,
                on_rebuilt=self._on_rebuilt if follow else None,
                waits_for_evidence=not follow,
                may_be_empty=settings.allows_empty_catalogue,
                utc_now=utc_now,
                delete_retention=self.topic_checks.delete_retention,
                safeguards=self.safeguards,
                wait_for_kafka=settings.wait_for_kafka,
                why_no_room=self.large.why_no_room,
            )
            self.items = TopicReader(
                connection=connection,
                topic=settings.topic_item_published,
                start=Start.BEGINNING,
                handle=self.view.apply,
                prepare=self._prepare_catalogue,
                rewind=self.view.rewind,
                resume=self.view.resume,
                advance=self.view.advance,
                distrust=self.view.distrust,
                on_skip=self._on_skip,
                on_unreadable=self.view.unreadable,
                safeguards=self.safeguards,
                consumer_factory=connection.clients.consumer,
            )
            self.view.attach(self.items)
        self.contact = FirstContact(
            connection,
            needs_of(settings),
            connected=self._is_connected,
            last_errors=self._last_errors,
        )
        self.readiness = Readiness(self.safeguards.list)
        for name, check, plain in (
            ("kafka consumer", self._check_consumer, "deletions cannot be read now"),
            ("catalogue", self._check_catalogue, "it is not known now where each item is"),
            ("kafka producer", self._check_producer, "requests cannot be published now"),
        ):
            self.readiness.add(name, check, plain)
        if not settings.catalogue_url:
            plain = "it is not certain now that no list is missing"
            self.readiness.add("topic settings", self.topic_checks.why_not_ready, plain)
        self.coordinator: Coordinator | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        readers = tuple(filter(None, (self.deletions, self.items)))
        self.observatory = Observatory(
            Sources(
                feed=self.feed,
                machines=(self._machine(),),
                coordinator=lambda: self.coordinator,
                bus=self.bus,
                readers=readers,
                publisher=self.publisher,
                catalogue=self._catalogue_statistics,
                doubts=self._doubts,
                readiness=self.readiness,
                callers_door=lambda: (self.callers_door.address, self.callers_door.connections),
                operators_door=lambda: (self.admin_door.address, self.admin_door.connections),
                viewers=lambda: (self.broadcast.viewers, self.broadcast.viewers_cut),
                tasks=lambda: {name: not task.done() for name, task in self._tasks.items()},
            ),
            Clock(self._loop.time, utc_now, effort=time.perf_counter),
        )
        self.broadcast = Broadcast(self.observatory)
        self.metrics = Metrics(
            Parts(
                readiness=self.readiness,
                coordinator=lambda: self.coordinator.statistics() if self.coordinator else None,
                bus=self.bus,
                readers=readers,
                publisher=self.publisher,
                catalogue=self.view,
                over_http=self.over_http,
                feed=self.feed,
                connections=lambda: self.callers_door.connections,
                observatory=self.observatory,
                broadcast=self.broadcast,
            ).collect
        )
        self.admin_door = Door(
            OperatorsDoor(
                health=self._health,
                metrics=self.metrics,
                observatory=self.observatory,
                broadcast=self.broadcast,
                version=version(),
                pages=Pages(),
            ).application(),
            host=settings.admin_host,
            port=settings.admin_port,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=admin_connections(settings.http_max_connections),
            keepalive=settings.http_keepalive,
        )
        traced = self.tracing
        callers = CallersDoor(
            ask=self._ask,
            timeout=settings.timeout,
            observe=self.metrics.answered,
            utc_now=utc_now,
            traceparent=take_traceparent if traced is None else traced.requests.traceparent,
        )
        self._publish_by: Publisher = (
            self.publisher if traced is None else traced.publisher(self.publisher)
        )
        self.callers_door = Door(
            callers.handle if traced is None else traced.requests.around(callers.handle),
            host=settings.http_host,
            port=settings.http_port,
            setting="TAKEDOWN_HTTP_PORT",
            max_connections=settings.http_max_connections,
            reuse_port=worker is not None,
            keepalive=settings.http_keepalive,
        )

    # ----------------------------------------------------------------------- start, stop

    async def start(self) -> None:
        """Start every part. Does not wait for Kafka: the callers' port opens once it is ready.

        Raises:
            SettingsError: a door's address cannot be listened on.
        """
        try:
            await self._start()
        except BaseException:  # also when the start is given up: tasks that end have not failed
            self._stopping = True
            raise

    async def _start(self) -> None:
        started = self._lifecycle.started
        if logging.getLogger("takedown.actors").isEnabledFor(logging.DEBUG):
            self.feed.subscribe(log_transition)
        if self.tracing is not None:
            self.feed.subscribe(self.tracing.processing)
        await self.admin_door.open()
        started("close the admin API", self.admin_door.close, within=5)
        self.observatory.begin()
        self._run("looking on", self._look_on(), within=2)
        self._run("checking the topics' settings", self.topic_checks.run(), within=2)
        self._run("diagnosing Kafka", self.contact.run(), within=2)
        self._run("the producer", self.publisher.run(), within=8)
        started("flush the producer", self._flush, within=5)
        if self._files is not None:
            await acquire(self._files)
        if self.view is not None:
            started("close the catalogue", self.view.close, within=8)
            self._run("keeping the catalogue", self.view.run(), within=2)
            self._run("reading item_published", self._read_items(self.view), within=8)
        self._run("reading item_deleted", self.deletions.run(), within=8)
        for catalogue in (self.view, self.over_http):
            if catalogue is not None:
                started("end searches in the catalogue", catalogue.stop, within=2)
        if self.over_http is not None:  # it ends before its connections are closed
            self._run("watching the Items service", self.over_http.run(), within=1)
        coordinator = Coordinator.start(
            start_censor=self._start_censor,
            pool_max=self._settings.pool_max,
            why_not_ready=self.readiness.why_not_plainly,
            may_pass=self._is_kafka_away,
            wait=self._settings.wait_for_kafka,
            supervisor=OneForOne(now=self._loop.time, on_failure=self._on_coordinator_failure),
        )
        # Kept for its statistics; everything else goes by its ref.
        self.coordinator = coordinator.actor()
        # The actors are stopped before the door is closed: that answers what is still in flight.
        started("close the public API", self.callers_door.close, within=5)
        started("stop the actors", self._stop_actors, within=5)
        # Bound now, so that a port that cannot be had stops the start. It is opened when the
        # service is ready for the first time: until then, connections are refused.
        if self._reserve_port:
            await self.callers_door.reserve()
        logger.info(
            self._event("listening"),
            extra={"http": self.callers_door.address, "admin": self.admin_door.address},
        )
        self._run("announcing readiness", self._announce(), within=1)
        bound = self._settings.timeout + 2
        started("take nothing new and finish what is in flight", self._drain, within=bound)
        started("accept no more connections", self.callers_door.stop_listening, within=5)
        grace = self._settings.shutdown_grace
        started("be not ready while requests are still served", self._grace, within=grace + 2)

    async def _open_callers_door(self) -> None:
        await self.callers_door.open()
        if self._worker is not None:
            self._worker.on_open()

    def _event(self, name: str) -> str:
        """`ready` and `listening` are said of the whole service, once."""
        return name if self._worker is None else f"worker {name}"

    async def _read_items(self, view: CatalogueView) -> None:
        assert self.items is not None
        await view.start()
        await self.items.run()

    def _run(self, name: str, work: Coroutine[Any, Any, None], *, within: float) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._on_task_done)
        self._lifecycle.started(f"stop {name}", functools.partial(cancel, task), within=within)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        self._fail(f"the task for {task.get_name()} has ended: {error!r}")

    def _fail(self, reason: str) -> None:
        fail(self.failed, reason)

    def hurry(self) -> None:
        """Do not wait for takedowns in flight any longer."""
        self._hurried.set()

    async def _grace(self) -> None:
        """Give load balancers time to notice that this instance is going."""
        self._stopping = True
        self.readiness.drain()
        self.callers_door.drain()
        if self.callers_door.is_open and not self.failed.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.shutdown_grace):
                    await self._hurried.wait()

    async def _drain(self) -> None:
        self.readiness.refuse()
        if self.coordinator is None or not self.coordinator.actor_ref.is_alive():
            return
        bound = self._settings.timeout + 1
        drained = asyncio.ensure_future(
            _awaited(self.coordinator.actor_ref.ask(Drain(), block=False, timeout=bound))
        )
        hurried = asyncio.ensure_future(self._hurried.wait())
        try:
            await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when this step itself takes too long, as after a pause
            for waiting in (drained, hurried):
                waiting.cancel()
            await asyncio.gather(drained, hurried, return_exceptions=True)

    async def _flush(self) -> None:
        if not await self.publisher.flush(timeout=3):
            logger.warning("Some delete requests were not acknowledged before the shutdown")

    async def _stop_actors(self) -> None:
        if self.coordinator is not None:
            await self.coordinator.actor_ref.stop(block=False)
        # Each censor leaves the feed when it has stopped.
        while len(self.feed):  # noqa: ASYNC110 - a turn of the loop or two, bounded from outside
            await asyncio.sleep(0)

    # ---------------------------------------------------------------------------- wiring

    async def _prepare(self) -> None:
        """Whenever a part finds Kafka (again): the topics must exist, and their settings be right.

        Raises:
            KafkaUnavailable: see `Topics.ensure`.
        """
        await self.topics.ensure()
        self.topic_checks.check_soon()

    async def _prepare_catalogue(self) -> None:
        """The same for the catalogue's topic, whose retention decides what may be read on from."""
        await self._prepare()
        await self.topic_checks.until_known()

    def _on_settings(self, topic: str, settings: TopicSettings) -> None:
        if topic == self._settings.topic_item_reported:
            self.publisher.topic_settings(settings)

    def _on_deletion(self, record: Record) -> None:
        event = decode_item_deleted(record.value)
        if not self.bus.publish(event):
            self.observatory.journal.unmatched(event)

    def _on_traced_deletion(self, record: Record) -> None:
        assert self.tracing is not None
        event = decode_item_deleted(record.value)
        if self.bus.publish(event):
            self.tracing.processing.read(event, record)
        else:
            self.tracing.processing.unmatched(event, record)
            self.observatory.journal.unmatched(event)

    def _on_skip(self, topic: str, partition: int, offset: int, reason: str) -> None:
        self.observatory.losses.skipped(topic, partition, offset, reason)

    async def _look_on(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.observatory.run(), name="watch")
            tasks.create_task(self.broadcast.run(), name="broadcast")

    def _catalogue_statistics(self) -> object:
        catalogue = self.view or self.over_http
        return None if catalogue is None else catalogue.statistics()

    def _doubts(self, limit: int) -> tuple[str, int, tuple[ItemDoubt, ...]]:
        """The topic, how many of its items are in doubt, and the newest of them."""
        total, newest = (0, ()) if self.view is None else self.view.doubts(limit)
        return self._settings.topic_item_published, total, newest

    @property
    def _follows_changes(self) -> bool:
        """Only the topic tells of newer lists."""
        return self._settings.follow_changes and self.items is not None

    def _machine(self) -> Machine[Any, Any]:
        """The table of the censors."""
        return machine_of(
            follow_changes=self._follows_changes,
            clock_tolerance=timedelta(seconds=self._settings.clock_tolerance),
            containers_max=self._settings.containers_max,
        )

    def _on_change(
        self, item_id: ItemId, containers: tuple[Container, ...], listed_at: datetime
    ) -> None:
        self.bus.publish(ItemListed(item_id, containers, listed_at))

    def _on_doubt(self, item_id: ItemId, doubted_at: datetime) -> None:
        self.bus.publish(ItemInDoubt(item_id, doubted_at))

    def _on_gap(self) -> None:
        for item_id in self.bus.followed():
            if self.view is not None and (doubt := self.view.doubt(item_id)) is not None:
                self._on_doubt(item_id, doubt.doubted_at)

    def _on_rebuilt(self) -> None:
        # An item that is not there now is not gone by that: nobody has said so.
        for item_id in self.bus.followed():
            found = self.view.known(item_id) if self.view is not None else None
            if found is not None:
                self._on_change(item_id, found.containers, found.listed_at)
            elif self.view is not None and (doubt := self.view.doubt(item_id)) is not None:
                self._on_doubt(item_id, doubt.doubted_at)

    def _start_censor(
        self, *, coordinator: LoopActorRef[Any], supervisor: Supervisor
    ) -> LoopActorRef[Any]:
        return ItemCensor.start(
            catalogue=self.catalogue,
            publisher=self._publish_by,
            bus=self.bus,
            coordinator=coordinator,
            feed=self.feed,
            follow_changes=self._follows_changes,
            clock_tolerance=timedelta(seconds=self._settings.clock_tolerance),
            containers_max=self._settings.containers_max,
            on_stale=self.observatory.stale_deletions.note,
            large=self.large,
            supervisor=supervisor,
        )

    def _ask(self, message: TakeDown, *, timeout: float) -> Awaitable[Outcome]:
        assert self.coordinator is not None
        answer: Awaitable[Outcome] = self.coordinator.actor_ref.ask(
            message, block=False, timeout=timeout
        )
        return answer

    def _on_coordinator_failure(
        self, _ref: LoopActorRef[Any], error: BaseException, alive: bool
    ) -> None:
        logger.critical("The coordinator failed: %r", error)
        if not alive:
            self._fail(f"the coordinator failed too often: {error!r}")

    # ------------------------------------------------------------------------- readiness

    def _health(self) -> Health:
        """What `/readyz` shows: who sees that we are ready must also be able to connect."""
        health = self.readiness.health()
        if health.ready and not self.callers_door.is_open:
            checks = {**health.checks, "running": "the callers' port is not open yet"}
            return replace(health, checks=checks)
        return health

    def _is_kafka_away(self) -> bool:
        """Whether what is not ready is the way to Kafka and nothing else, so that it may pass."""
        if not self._settings.catalogue_url and self.topic_checks.why_not_ready() is not None:
            return False
        catalogue = self.over_http or self.view
        return catalogue is not None and catalogue.why_not_ready() is None

    def _check_consumer(self) -> str | None:
        if self.deletions.positioned:
            return self.deletions.why_late()
        error = self.deletions.last_error or "the positions are not known yet"
        return self.contact.explain(self._settings.topic_item_deleted, error)

    def _check_catalogue(self) -> str | None:
        if self.over_http is not None:
            return self.over_http.why_not_ready()
        assert self.view is not None
        assert self.items is not None
        if (problem := self.view.why_not_ready()) is not None:
            return problem
        if self.items.caught_up:
            return None
        if (why := self.items.why_behind()) is not None:
            return f"not caught up: {why}"
        error = self.items.last_error or "not caught up with item_published yet"
        return self.contact.explain(self._settings.topic_item_published, error)

    def _check_producer(self) -> str | None:
        topic = self._settings.topic_item_reported
        if self.publisher.working:
            return self.contact.refused(topic)
        return self.contact.explain(topic, self.publisher.last_error or "not connected yet")

    def _is_connected(self) -> bool:
        readers = (self.deletions, self.items)
        return self.publisher.working and all(each is None or each.positioned for each in readers)

    def _last_errors(self) -> tuple[str, ...]:
        readers = (each for each in (self.deletions, self.items) if each is not None)
        return (self.publisher.last_error, *(each.last_error for each in readers))

    async def _announce(self) -> None:
        """Log `ready` once, and each loss and return of readiness."""
        announced = False
        was: str | None = ""
        after = self._worker.open_after if self._worker is not None else None
        latest = math.inf if after is None else self._loop.time() + after
        while True:
            problem = self.readiness.why_not()
            due = problem is None or self._loop.time() >= latest
            if due and not self.callers_door.is_open and not self._stopping:
                await self._open_callers_door()
            if problem is None and not announced:
                announced = True
                logger.info(
                    self._event("ready"),
                    extra={"http": self.callers_door.address, "admin": self.admin_door.address},
                )
            elif problem is None and was is not None:
                logger.info("Ready again")
            elif problem is not None and problem != was:
                logger.warning("Not ready: %s", problem)
            was = problem
            await asyncio.sleep(_READY_POLL)


async def _awaited(answer: Any) -> Any:
    return await answer


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
    link.report(OperatorsDoorOpened(service.admin_door.address))
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
    while not (service.callers_door.is_open or failed.done()):  # noqa: ASYNC110 - once
        await asyncio.sleep(0.02)
    public, admin = service.callers_door.address, service.admin_door.address
    echo(invitation(public=public, admin=admin, items=items))
    if settings.load and not failed.done():
        traffic = Traffic(door=public, items=items, rate=settings.load)
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
