"""The composition root and the command line.

`Service` builds every part in order and stops them in reverse: this is the only place that knows
which broker, clock and catalogue are real. `main` is the program; its commands are in
`commands.py`. Importing this module does nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.feed import TransitionFeed
from actors.item_censor import ItemCensor
from bus.codec import decode_item_deleted
from bus.connection import Connection
from bus.embedded import FETCH_MAX_WAIT, EmbeddedBroker
from bus.event_bus import EventBus
from bus.publisher import KafkaPublisher
from bus.reader import Start, TopicReader
from bus.security import Security, TokenFile, UnusableFile, tls_context
from bus.topics import Topic, Topics
from catalogue.view import InMemoryCatalogue
from coordinator.coordinator import Coordinator
from coordinator.supervision import OneForOne
from errors import SettingsError
from health import Readiness
from items_service.app import ItemsService, ItemsServiceSettings
from lifecycle import Lifecycle, cancel
from messages import Drain
from transition_log import log_transition
from web.callers import CallersDoor
from web.collect import Parts
from web.door import Door
from web.metrics import Metrics
from web.operators import OperatorsDoor

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actors.runtime import LoopActorRef, Supervisor
    from bus.reader import Record
    from config import Settings
    from items_service.faults import Faults
    from messages import Outcome, TakeDown

logger = logging.getLogger("takedown")

_READY_POLL = 0.05
_ADMIN_CONNECTIONS = 256


def topics_of(settings: Settings) -> tuple[Topic, ...]:
    """The three topics, as they are created when they are missing."""
    make = functools.partial(
        Topic, partitions=settings.topic_partitions, replication=settings.topic_replication
    )
    return (
        make(settings.topic_item_reported),
        make(settings.topic_item_deleted),
        make(settings.topic_item_published, config={"cleanup.policy": "compact"}),
    )


class Service:
    """One instance of the service.

    Args:
        settings: every setting.
        connection: how Kafka is reached.
        lifecycle: is told what was started, and stops it in reverse.
    """

    def __init__(self, settings: Settings, connection: Connection, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[str] = self._loop.create_future()
        self._hurried = asyncio.Event()
        self._stopping = False

        prepare = Topics(connection, topics_of(settings)).ensure
        self.feed = TransitionFeed()
        self.bus = EventBus()
        self.catalogue = InMemoryCatalogue()
        self.publisher = KafkaPublisher(
            connection=connection, topic=settings.topic_item_reported, prepare=prepare
        )
        self.deletions = TopicReader(
            connection=connection,
            topic=settings.topic_item_deleted,
            start=Start.END,
            handle=self._on_deletion,
            prepare=prepare,
        )
        self.items = TopicReader(
            connection=connection,
            topic=settings.topic_item_published,
            start=Start.BEGINNING,
            handle=self.catalogue.apply,
            prepare=prepare,
            rewind=self.catalogue.rewind,
        )
        self.catalogue.attach(self.items)
        self.readiness = Readiness()
        self.readiness.add("kafka consumer", self._check_consumer)
        self.readiness.add("catalogue", self._check_catalogue)
        self.readiness.add("kafka producer", self._check_producer)
        self.coordinator: Coordinator | None = None
        self.metrics = Metrics(
            Parts(
                readiness=self.readiness,
                coordinator=lambda: self.coordinator.statistics() if self.coordinator else None,
                bus=self.bus,
                readers=(self.deletions, self.items),
                publisher=self.publisher,
                catalogue=self.catalogue,
                feed=self.feed,
                connections=lambda: self.callers_door.connections,
            ).collect
        )
        self.admin_door = Door(
            OperatorsDoor(health=self.readiness.health, metrics=self.metrics).application(),
            host=settings.admin_host,
            port=settings.admin_port,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=_ADMIN_CONNECTIONS,
        )
        self.callers_door = Door(
            CallersDoor(
                ask=self._ask, timeout=settings.timeout, observe=self.metrics.answered
            ).application(),
            host=settings.http_host,
            port=settings.http_port,
            setting="TAKEDOWN_HTTP_PORT",
            max_connections=settings.http_max_connections,
        )

    # ----------------------------------------------------------------------- start, stop

    async def start(self) -> None:
        """Start every part. Does not wait for Kafka: the doors say that it is not ready yet.

        Raises:
            SettingsError: a door's address cannot be listened on.
        """
        started = self._lifecycle.started
        if logging.getLogger("takedown.actors").isEnabledFor(logging.DEBUG):
            self.feed.subscribe(log_transition)
        await self.admin_door.open()
        started("close the operators' door", self.admin_door.close, within=5)
        self._run("the producer", self.publisher.run(), within=8)
        started("flush the producer", self._flush, within=5)
        self._run("reading item_published", self.items.run(), within=8)
        self._run("reading item_deleted", self.deletions.run(), within=8)
        started("end searches in the catalogue", self.catalogue.stop, within=2)
        coordinator = Coordinator.start(
            start_censor=self._start_censor,
            pool_max=self._settings.pool_max,
            why_not_ready=self.readiness.why_not,
            supervisor=OneForOne(now=self._loop.time, on_failure=self._on_coordinator_failure),
        )
        # Kept for its statistics; everything else goes by its ref.
        self.coordinator = coordinator.actor()
        # The actors are stopped before the door is closed: that answers what is still in flight.
        started("close the callers' door", self.callers_door.close, within=5)
        started("stop the actors", self._stop_actors, within=5)
        await self.callers_door.open()
        logger.info(
            "listening",
            extra={"http": self.callers_door.address, "admin": self.admin_door.address},
        )
        self._run("announcing readiness", self._announce(), within=1)
        bound = self._settings.timeout + 2
        started("take nothing new and finish what is in flight", self._drain, within=bound)

    def _run(self, name: str, work: Coroutine[Any, Any, None], *, within: float) -> None:
        task = self._loop.create_task(work, name=name)
        task.add_done_callback(self._on_task_done)
        self._lifecycle.started(f"stop {name}", functools.partial(cancel, task), within=within)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        self._fail(f"the task for {task.get_name()} has ended: {error!r}")

    def _fail(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_result(reason)

    def hurry(self) -> None:
        """Do not wait for takedowns in flight any longer."""
        self._hurried.set()

    async def _drain(self) -> None:
        self._stopping = True
        self.readiness.drain()
        if self.coordinator is None or not self.coordinator.actor_ref.is_alive():
            return
        bound = self._settings.timeout + 1
        drained = asyncio.ensure_future(
            _awaited(self.coordinator.actor_ref.ask(Drain(), block=False, timeout=bound))
        )
        hurried = asyncio.ensure_future(self._hurried.wait())
        await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
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

    def _on_deletion(self, record: Record) -> None:
        self.bus.publish(decode_item_deleted(record.value))

    def _start_censor(
        self, *, coordinator: LoopActorRef[Any], supervisor: Supervisor
    ) -> LoopActorRef[Any]:
        return ItemCensor.start(
            catalogue=self.catalogue,
            publisher=self.publisher,
            bus=self.bus,
            coordinator=coordinator,
            feed=self.feed,
            supervisor=supervisor,
        )

    async def _ask(self, message: TakeDown, *, timeout: float) -> Outcome:
        assert self.coordinator is not None
        outcome: Outcome = await self.coordinator.actor_ref.ask(
            message, block=False, timeout=timeout
        )
        return outcome

    def _on_coordinator_failure(
        self, _ref: LoopActorRef[Any], error: BaseException, alive: bool
    ) -> None:
        logger.critical("The coordinator failed: %r", error)
        if not alive:
            self._fail(f"the coordinator failed too often: {error!r}")

    # ------------------------------------------------------------------------- readiness

    def _check_consumer(self) -> str | None:
        if self.deletions.positioned:
            return None
        return self.deletions.last_error or "the positions are not known yet"

    def _check_catalogue(self) -> str | None:
        if self.items.caught_up:
            return None
        return self.items.last_error or "not caught up with item_published yet"

    def _check_producer(self) -> str | None:
        if self.publisher.working:
            return None
        return self.publisher.last_error or "not connected yet"

    async def _announce(self) -> None:
        """Log `ready` once, and each loss and return of readiness."""
        announced = False
        was: str | None = ""
        while True:
            problem = self.readiness.why_not()
            if problem is None and not announced:
                announced = True
                logger.info(
                    "ready",
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


def security_of(settings: Settings) -> Security:
    """What is shown to Kafka and demanded of it, by the settings.

    Raises:
        SettingsError: a file that they name cannot be used.
    """
    protocol = settings.kafka_security_protocol
    try:
        tls = None
        if protocol.endswith("SSL"):
            tls = tls_context(
                ca=settings.kafka_ssl_ca,
                certificate=settings.kafka_ssl_certificate,
                key=settings.kafka_ssl_key,
                key_password=settings.kafka_ssl_key_password,
            )
        tokens = None
        if settings.kafka_oauth_token_file:
            tokens = TokenFile(Path(settings.kafka_oauth_token_file))
            tokens.check()
    except UnusableFile as error:
        prefix = "OAUTH" if error.which == "token_file" else "SSL"
        name = f"TAKEDOWN_KAFKA_{prefix}_{error.which.upper()}"
        raise SettingsError(f"{name} {error}") from None
    if protocol == "SASL_PLAINTEXT" and settings.kafka_sasl_mechanism in {"PLAIN", "OAUTHBEARER"}:
        logger.warning("Kafka gets our %s login in the clear", settings.kafka_sasl_mechanism)
    return Security(
        protocol=protocol,
        tls=tls,
        mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password,
        tokens=tokens,
    )


async def connect(settings: Settings, lifecycle: Lifecycle) -> Connection:
    """A connection by the settings; starts the embedded broker if they name no server.

    Raises:
        BrokerStartError: the embedded broker does not start here.
        SettingsError: Kafka cannot be reached as securely as they say.
    """
    if settings.kafka_bootstrap_servers:
        return Connection(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            request_timeout=settings.kafka_request_timeout,
            fetch_max_wait=settings.kafka_fetch_max_wait,
            security=security_of(settings),
        )
    if settings.kafka_security_protocol != "PLAINTEXT":
        raise SettingsError(
            "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS must be set: the embedded broker does not speak "
            f"{settings.kafka_security_protocol}, which TAKEDOWN_KAFKA_SECURITY_PROTOCOL names"
        )
    logger.info("TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS is empty: starting the embedded broker")
    broker = EmbeddedBroker()
    await broker.start()
    lifecycle.started("stop the embedded broker", broker.stop, within=8)
    return Connection(
        bootstrap_servers=broker.address,
        request_timeout=settings.kafka_request_timeout,
        fetch_max_wait=FETCH_MAX_WAIT,
    )


def items_service(settings: Settings, connection: Connection, faults: Faults) -> ItemsService:
    """The reference Items service by the settings, not started yet."""
    return ItemsService(
        ItemsServiceSettings(
            connection=connection,
            topic_item_reported=settings.topic_item_reported,
            topic_item_deleted=settings.topic_item_deleted,
            topic_item_published=settings.topic_item_published,
            topics=topics_of(settings),
            database=settings.items_database,
            http_host=settings.items_http_host,
            http_port=settings.items_http_port,
            sample=settings.items_sample,
            faults=faults,
        )
    )


def main() -> None:
    """Run the command line."""
    from commands import run  # noqa: PLC0415 - the commands build on what is above

    run()


if __name__ == "__main__":
    main()
