"""Real nginx and HAProxy in front of two instances; each test starts its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.platform import Names
from support.processes import Process, running


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def broker() -> Iterator[Process]:
    with running("broker", broker_port=0, log_format="json") as process:
        process.wait_for_event("ready")
        yield process
