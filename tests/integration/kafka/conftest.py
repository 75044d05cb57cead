from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.jars import java_and_maven_missing
from dev.apache_kafka.prepare import prepare


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run something on a loop of its own, outside of any test's.

    A fixture of more than one test cannot be a coroutine here: the suite chooses the kind of
    loop test by test, and pytest-asyncio then makes every fixture with a loop anew for each test.
    `ApacheKafka` does not mind.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)


@pytest.fixture(scope="session")
def prepared() -> None:
    missing = java_and_maven_missing()
    if missing is None:
        drive(prepare())
    elif os.environ.get("REQUIRE_APACHE_KAFKA") == "1":
        pytest.fail(missing)
    else:
        pytest.skip(missing)


@pytest.fixture(scope="module")
def kafka(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    kafka = ApacheKafka()
    drive(kafka.start())
    try:
        yield kafka
    finally:
        drive(kafka.stop())
