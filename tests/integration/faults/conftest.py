"""Each test here breaks something, so each has a broker and a service of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from support.answers import caller
from support.brokers import EITHER, Broker, running_broker
from support.platform import Names
from support.processes import Process, running


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def port() -> int:
    """A port that the broker can have, now and when it is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def bootstrap(port: int) -> str:
    return f"127.0.0.1:{port}"


@pytest.fixture
def broker(port: int) -> Iterator[Process]:
    with running("broker", broker_port=port, log_format="json") as process:
        process.wait_for_event("ready")
        yield process


@pytest.fixture(scope="session", params=EITHER)
def either(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """For tests that do the broker no harm: both brokers, each started once."""
    with running_broker(request.param) as broker:
        yield broker


@pytest.fixture
def fetch_max_wait() -> float:
    return 0.01


@pytest.fixture
def service_settings(names: Names) -> dict[str, object]:
    """Settings of a service without a word about the broker."""
    return {
        "kafka_request_timeout": 5,
        "http_port": 0,
        "admin_port": 0,
        "timeout": 3,
        "log_format": "json",
        **names.settings(),
    }


@pytest.fixture
def settings(
    bootstrap: str, fetch_max_wait: float, service_settings: dict[str, object]
) -> dict[str, object]:
    return {
        "kafka_bootstrap_servers": bootstrap,
        "kafka_fetch_max_wait": fetch_max_wait,
        **service_settings,
    }


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with caller() as session:
        yield session
