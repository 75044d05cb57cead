"""One embedded broker for all tests here: what viewers do has nothing to do with the broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.brokers import Broker, running_broker
from support.platform import Names


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with running_broker("embedded") as broker:
        yield broker


@pytest.fixture
def names() -> Names:
    return Names()
