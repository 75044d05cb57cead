from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import stamina

from bus.kafka.embedded_broker import EmbeddedBroker

from .items_helpers import PATIENCE, Kafka, connection_to, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from demo.items_service.app import ItemsService


@pytest.fixture(autouse=True)
def _quick_retries() -> Iterator[None]:
    # Stamina also prints each retry; the service's own log is enough here.
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(hooks)


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def kafka(broker: EmbeddedBroker) -> AsyncIterator[Kafka]:
    kafka = Kafka(connection_to(broker))
    await kafka.open()
    yield kafka
    await kafka.close()


@pytest.fixture
async def service(kafka: Kafka) -> AsyncIterator[ItemsService]:
    async with running(kafka.connection) as service:
        async with asyncio.timeout(PATIENCE):
            await service.wait_ready()
        yield service
