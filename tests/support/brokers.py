"""Brokers for fixtures that outlive a test: the embedded one, and real Apache Kafka."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.jars import java_and_maven_missing
from dev.apache_kafka.prepare import prepare
from support.processes import running

EITHER = ("embedded", pytest.param("apache", marks=pytest.mark.apache))
"""Parameters of a fixture whose tests run on both."""


@dataclass(frozen=True)
class Broker:
    """A broker that runs.

    Attributes:
        kind: which of `EITHER`.
        address: its bootstrap servers.
        fetch_max_wait: seconds that it should hold a fetch back, as a setting of the service.
    """

    kind: str
    address: str
    fetch_max_wait: float


@contextmanager
def running_broker(kind: str) -> Iterator[Broker]:
    """One of `EITHER` that runs during the block."""
    if kind == "embedded":
        with running("broker", broker_port=0, log_format="json") as process:
            yield Broker(kind, process.wait_for_event("ready")["kafka"], fetch_max_wait=0.01)
            assert process.stop() == 0
    else:
        require_apache_kafka()
        # The embedded broker has no limit that a test comes near, either.
        with running_kafka(ApacheKafka(properties={"message.max.bytes": "16000000"})) as kafka:
            yield Broker(kind, kafka.bootstrap_servers, fetch_max_wait=0.5)


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run something on a loop of its own, outside of any test's.

    A fixture of more than one test cannot be a coroutine here: the suite chooses the kind of
    loop test by test, and pytest-asyncio then makes every fixture with a loop anew for each test.
    `ApacheKafka` does not mind.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)


def require_apache_kafka() -> None:
    """Skip, or fail where it must not be missing, if no broker can run here."""
    missing = java_and_maven_missing()
    if missing is None:
        drive(prepare())
    elif os.environ.get("REQUIRE_APACHE_KAFKA") == "1":
        pytest.fail(missing)
    else:
        pytest.skip(missing)


@contextmanager
def running_kafka(kafka: ApacheKafka) -> Iterator[ApacheKafka]:
    """Brokers that run during the block."""
    drive(kafka.start())
    try:
        yield kafka
    finally:
        drive(kafka.stop())
