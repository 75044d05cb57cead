"""The reference Items service in one piece: builds its parts, starts and stops them in order."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from demo.items_service.context import SessionContext, Tally
from demo.items_service.database import Database
from demo.items_service.faults import FaultInjector, Faults
from demo.items_service.http import Api
from demo.items_service.link import LONGEST_REQUEST, Link
from demo.items_service.offsets import Positions
from demo.items_service.outbox import Outbox
from demo.items_service.sample import sample_items
from demo.items_service.store import ItemStore
from domain.errors import SettingsError

if TYPE_CHECKING:
    from bus.kafka.connection import Connection
    from bus.kafka.topics import Topic

logger = logging.getLogger("takedown.items_service")

STOP_TIMEOUT = LONGEST_REQUEST + 2.0
"""Seconds that letting go of Kafka may take; each step of it has its own, shorter limit."""


@dataclass(frozen=True, slots=True)
class ItemsServiceSettings:
    """What the reference Items service is told.

    Attributes:
        connection: where Kafka is.
        topic_item_reported: the topic that it reads.
        topic_item_deleted: the topic that tells of deletions.
        topic_item_published: the topic with each item's complete list.
        topics: must exist, at the start and whenever Kafka comes back.
        topics_create: whether those that are missing are created.
        database: path of the SQLite file, or ":memory:".
        http_host: where its HTTP API listens.
        http_port: the same; 0 takes any free port.
        sample: whether an empty database is filled with the sample.
        faults: what goes wrong, to begin with.
    """

    connection: Connection
    topic_item_reported: str = "item_reported"
    topic_item_deleted: str = "item_deleted"
    topic_item_published: str = "item_published"
    topics: tuple[Topic, ...] = ()
    topics_create: bool = True
    database: str = ":memory:"
    http_host: str = "127.0.0.1"
    http_port: int = 0
    sample: bool = False
    faults: Faults = field(default_factory=Faults)


class ItemsService:
    """The reference Items service. It can be started once.

    Args:
        settings: what it is told.
    """

    def __init__(self, settings: ItemsServiceSettings) -> None:
        self._settings = settings
        self._database = Database(settings.database)
        self._outbox = Outbox(self._database)
        positions = Positions(self._database, self._outbox)
        self._store = ItemStore(self._database, self._outbox, positions)
        self._injector = FaultInjector(settings.faults)
        self._tally = Tally()
        self._link = Link(
            SessionContext(
                connection=settings.connection,
                topic_reported=settings.topic_item_reported,
                topic_deleted=settings.topic_item_deleted,
                topic_published=settings.topic_item_published,
                topics=settings.topics,
                topics_create=settings.topics_create,
                store=self._store,
                outbox=self._outbox,
                positions=positions,
                injector=self._injector,
                tally=self._tally,
            )
        )
        api = Api(store=self._store, outbox=self._outbox, link=self._link, injector=self._injector)
        self._runner = web.AppRunner(
            api.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        self._linked: asyncio.Task[None] | None = None

    @property
    def http_address(self) -> str:
        """`http://host:port` of its HTTP API, once it has started."""
        if not self._runner.addresses:
            raise RuntimeError("the Items service has not started")
        host, port, *_ = self._runner.addresses[0]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def faults(self) -> Faults:
        """What goes wrong at present; may be assigned while it runs."""
        return self._injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._injector.faults = faults

    def statistics(self) -> Tally:
        """What it has done so far; a copy."""
        return replace(self._tally)

    async def start(self) -> None:
        """Open the database and the HTTP API, and begin to look for Kafka, without waiting for it.

        Raises:
            SettingsError: the database cannot be opened, or the address cannot be had.
        """
        settings = self._settings
        try:
            await self._database.open()
            if settings.sample and await self._store.is_empty():
                items = [(item.item_id, item.containers) for item in sample_items()]
                await self._store.publish_all(items, datetime.now(UTC))
            await self._runner.setup()
            try:
                await web.TCPSite(self._runner, settings.http_host, settings.http_port).start()
            except OSError as error:
                raise SettingsError(
                    f"the Items service cannot listen on"
                    f" {settings.http_host}:{settings.http_port}: {error}"
                ) from error
        except BaseException:
            await self.stop()
            raise
        self._linked = asyncio.create_task(self._link.run(), name="items-service-kafka")
        logger.info("Items service listens on %s", self.http_address)

    async def wait_ready(self) -> None:
        """Wait until Kafka is found and has everything that was in the outbox until now.

        It waits as long as Kafka takes: bound it.
        """
        await self._link.connected.wait()
        async with self._database.transaction() as connection:
            entry_id = await self._outbox.last_id(connection)
        await self._outbox.until_settled_up_to(entry_id)

    async def wait_failed(self) -> None:
        """Wait until it fails for good, or is stopped; Kafka's failures are not for good.

        Raises:
            Exception: what it failed from: the database, or a defect.
        """
        if self._linked is None:
            raise RuntimeError("the Items service has not started")
        await asyncio.wait({self._linked})
        if not self._linked.cancelled():
            self._linked.result()

    async def stop(self) -> None:
        """Stop everything, within a few seconds. It may be stopped already, or never started."""
        await self._runner.cleanup()
        if self._linked is not None and not self._linked.done():
            self._linked.cancel()
            _, late = await asyncio.wait({self._linked}, timeout=STOP_TIMEOUT)
            if late:
                logger.error("The link to Kafka did not end within %g s", STOP_TIMEOUT)
        if self._linked is not None and self._linked.done() and not self._linked.cancelled():
            # A failure was told of by `wait_failed`; here it must not be reported once more.
            self._linked.exception()
        await self._database.close()
