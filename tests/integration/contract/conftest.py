"""Two brokers for the whole run, and one service process for each module on each of them.

Every test here that needs a broker runs on the embedded one and on Apache Kafka. pytest puts the
tests in the order of the brokers, so that each broker is started once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from support.answers import caller
from support.brokers import EITHER, Broker, running_broker
from support.platform import Names, Platform, platform
from support.processes import Process, running


@pytest.fixture(scope="session", params=EITHER)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with running_broker(request.param) as broker:
        yield broker


@pytest.fixture(scope="session")
def bootstrap(broker: Broker) -> str:
    return broker.address


@pytest.fixture(scope="module")
def names() -> Names:
    return Names()


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Settings of the module's service: a deadline of 3 s, so that a 504 does not take long."""
    return {"timeout": 3}


@pytest.fixture(scope="module")
def service(broker: Broker, names: Names, settings: dict[str, object]) -> Iterator[Process]:
    """`takedown serve`."""
    with running(
        "serve",
        kafka_bootstrap_servers=broker.address,
        kafka_fetch_max_wait=broker.fetch_max_wait,
        http_port=0,
        admin_port=0,
        log_format="json",
        **names.settings(),
        **settings,
    ) as process:
        process.wait_for_event("ready")
        yield process
        assert process.stop() == 0


@pytest.fixture
def api(service: Process) -> str:
    address: str = service.wait_for_event("ready")["http"]
    return address


@pytest.fixture
def admin(service: Process) -> str:
    address: str = service.wait_for_event("ready")["admin"]
    return address


@pytest.fixture
async def items(service: Process, bootstrap: str, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(bootstrap, names) as side:
        yield side


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with caller() as session:
        yield session
