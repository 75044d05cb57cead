"""Brokers for services that have workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.brokers import EITHER, Broker, running_broker
from support.platform import Names


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture(scope="session", params=EITHER)
def either(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with running_broker(request.param) as broker:
        yield broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with running_broker("embedded") as broker:
        yield broker
