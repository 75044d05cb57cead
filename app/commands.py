"""What a command of `takedown` consists of, and the commands that need no `Service`.

Those that need it are in `service.py`, which passes them to `app.cli.main`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.items_service import faults_of, start_items
from app.lifecycle import Failed, Lifecycle, cancel, fail
from app.setting_table import SETTINGS
from bus.kafka.embedded_broker import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.process import Start
    from app.settings import Settings

logger = logging.getLogger("takedown")

KAFKA = tuple(
    name
    for name in SETTINGS
    if name.startswith(("kafka_", "topic_", "topics_")) or name == "embedded_broker"
)
SERVICE = ("http_host", "http_port", "http_max_connections", "http_keepalive", "admin_host",
           "admin_port", "timeout", "shutdown_grace", "pool_max", "containers_max",
           "wait_for_kafka", "follow_changes", "clock_tolerance", "workers", "catalogue_folder",
           "catalogue_may_be_empty", "catalogue_may_expire", "catalogue_url",
           "catalogue_url_timeout", "traces")  # fmt: skip
ITEMS = tuple(name for name in SETTINGS if name.startswith("items_"))
DEMO = ("load",)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the command line.

    Attributes:
        name: on the command line.
        start: starts it; its docstring is the command's help.
        settings: the names of the settings that are flags of this command; those of the log are
            flags of every command.
        defaults: by name, instead of the settings' own defaults.
    """

    name: str
    start: Start
    settings: tuple[str, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)


async def items(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """The reference Items service alone."""
    settings.require_broker()
    address = await start_items(settings, lifecycle, failed, faults_of(settings))
    logger.info("ready", extra={"http": address})
    return _nothing_in_flight


async def broker(settings: Settings, lifecycle: Lifecycle, failed: Failed) -> Callable[[], None]:
    """The embedded broker alone, in the foreground."""
    embedded = EmbeddedBroker(port=settings.broker_port)
    await embedded.start()
    lifecycle.started("stop the embedded broker", embedded.stop, within=8)
    watch = asyncio.create_task(embedded.wait())

    def on_end(task: asyncio.Task[int]) -> None:
        if not task.cancelled():
            fail(failed, f"the embedded broker has ended with status {task.result()}")

    watch.add_done_callback(on_end)
    lifecycle.started("stop watching the broker", functools.partial(cancel, watch), within=1)
    logger.info("ready", extra={"kafka": embedded.address})
    return _nothing_in_flight


def _nothing_in_flight() -> None:
    """A second signal changes nothing: these commands wait for nothing in flight."""


STANDALONE = (
    Command("items-service", items, (*KAFKA, *ITEMS)),
    Command("broker", broker, ("broker_port",)),
)
"""The commands of this module."""
