from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.brokers import Broker, running_broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with running_broker("embedded") as broker:
        yield broker
