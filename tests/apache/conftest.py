"""A real Apache Kafka broker for the whole run, and a table of what the tests measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from support.answers import caller
from support.brokers import require_apache_kafka, running_kafka
from support.measure import MEASURED, Measure
from support.platform import Names

from dev.apache_kafka.cluster import ApacheKafka


@pytest.fixture(scope="session")
def prepared() -> None:
    require_apache_kafka()


@pytest.fixture(scope="session")
def kafka(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    """One broker for all: whoever breaks it mends it before the test ends."""
    with running_kafka(ApacheKafka()) as kafka:
        yield kafka


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with caller() as session:
        yield session


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measure:
    """Takes down a figure for `docs/reliability.md`; all are shown when the run ends."""

    def take_down_figure(name: str, value: object) -> None:
        text = f"{value:.3f} s" if isinstance(value, float) else str(value)
        request.node.user_properties.append((MEASURED, f"{name}: {text}"))

    return take_down_figure
