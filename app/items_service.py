"""The reference Items service by the settings: how it is built and started."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from app.kafka import connect, topics_of
from app.lifecycle import Failed, Lifecycle, cancel, fail
from demo.items_service.app import ItemsService, ItemsServiceSettings
from demo.items_service.faults import Faults
from domain.errors import SettingsError

if TYPE_CHECKING:
    from app.settings import Settings
    from bus.kafka.connection import Connection


async def start_items(
    settings: Settings, lifecycle: Lifecycle, failed: Failed, faults: Faults
) -> str:
    """Start it; returns its address, `http://host:port`.

    Raises:
        BrokerStartError: the embedded broker does not start.
        SettingsError: a setting cannot be used.
    """
    connection = await connect(settings, lifecycle)
    program = _items_service(settings, connection, faults)
    await program.start()
    lifecycle.started("stop the Items service", program.stop, within=15)
    watch = asyncio.create_task(program.wait_failed())

    def on_end(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            fail(failed, f"the Items service failed: {task.exception()!r}")

    watch.add_done_callback(on_end)
    lifecycle.started("stop watching the Items service", functools.partial(cancel, watch), within=1)
    address: str = program.http_address
    return address


def faults_of(settings: Settings) -> Faults:
    """The faults that the settings ask for.

    Raises:
        SettingsError: they cannot be understood.
    """
    try:
        return Faults.parse(settings.items_faults)
    except ValueError as error:
        raise SettingsError(f"TAKEDOWN_ITEMS_FAULTS: {error}") from None


def _items_service(settings: Settings, connection: Connection, faults: Faults) -> ItemsService:
    return ItemsService(
        ItemsServiceSettings(
            connection=connection,
            topic_item_reported=settings.topic_item_reported,
            topic_item_deleted=settings.topic_item_deleted,
            topic_item_published=settings.topic_item_published,
            topics=topics_of(settings),
            topics_create=settings.creates_topics,
            database=settings.items_database,
            http_host=settings.items_http_host,
            http_port=settings.items_http_port,
            sample=settings.items_sample,
            faults=faults,
        )
    )
