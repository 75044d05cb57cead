"""A real Apache Kafka broker for the whole run, and a table of what the tests measured.

The fixtures that outlive a test are no coroutines, for the reason that `drive` gives.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import aiohttp
import pytest
from support.platform import Names

from apache_kafka.apache import ApacheKafka
from apache_kafka.jars import java_and_maven_missing
from apache_kafka.prepare import prepare

Measure = Callable[[str, object], None]

_measured = pytest.StashKey[list[tuple[str, str]]]()


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


@pytest.fixture(scope="session")
def kafka(prepared: None) -> Iterator[ApacheKafka]:  # noqa: ARG001 - asked for its effect
    """One broker for all: whoever breaks it mends it before the test ends."""
    kafka = ApacheKafka()
    drive(kafka.start())
    try:
        yield kafka
    finally:
        drive(kafka.stop())


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


# ------------------------------------------------------------------------- what was measured


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measure:
    """Takes down a figure for `docs/reliability.md`; all are shown when the run ends."""
    figures = request.config.stash.setdefault(_measured, [])

    def take_down_figure(name: str, value: object) -> None:
        figures.append((name, f"{value:.3f} s" if isinstance(value, float) else str(value)))

    return take_down_figure


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash.get(_measured, [])
    if figures:
        terminalreporter.section("measured on Apache Kafka")
        for name, value in figures:
            terminalreporter.write_line(f"MEASURED {name}: {value}")
