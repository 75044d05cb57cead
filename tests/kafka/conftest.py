from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from apache_kafka.apache import ApacheKafka, prepare
from apache_kafka.jars import java_and_maven_missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="session")
def java_and_maven() -> None:
    missing = java_and_maven_missing()
    if missing is None:
        return
    if os.environ.get("TAKEDOWN_REQUIRE_APACHE") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def prepared(java_and_maven: None) -> None:  # noqa: ARG001 - asked for its effect
    await prepare()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kafka(prepared: None) -> AsyncIterator[ApacheKafka]:  # noqa: ARG001 - the same
    async with ApacheKafka() as kafka:
        yield kafka
