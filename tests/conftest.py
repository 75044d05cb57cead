"""What every test shares.

Unit and actor tests (everything but the folders below) run on a virtual clock: their loop does
not know real time and refuses real sockets. The others talk to real processes, and are bounded;
simulations bring a loop of their own.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings
from pykka import ActorRegistry
from support.examples import FAST
from support.measure import MEASURED
from support.settling import VirtualLoop

HERE = Path(__file__).parent
UNIT = "unit"
"""The folder of the tests on a virtual clock; all others need real time, and most real sockets."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# How long an example takes depends on what other processes do.
settings.register_profile("takedown", deadline=None)
settings.register_profile(FAST, deadline=None, max_examples=10)
settings.load_profile("takedown")


def in_real_time(path: Path) -> bool:
    """Whether the test in this file needs real time and real sockets."""
    return path.relative_to(HERE).parts[0] != UNIT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only the tests on a virtual clock")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("fast") or collection_path == HERE:
        return None
    if not collection_path.is_relative_to(HERE):
        return None
    return in_real_time(collection_path) or None


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - the hook's signature
    item: pytest.Item,
) -> Mapping[str, LoopFactory]:
    if in_real_time(item.path):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture(scope="session", autouse=True)
def nothing_is_written_into_a_users_data_folder(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A service that was given no folder for its catalogue would take the user's."""
    home = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home))
        yield
    assert not list(home.iterdir()), "a test started a service without a folder of its own"


@pytest.fixture(autouse=True)
def no_actor_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    left = ActorRegistry.get_all()
    if left:
        ActorRegistry._actor_refs.clear()
        pytest.fail(f"{request.node.name} left actors behind: {left}")


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blocking calls on the loop fail the test; only our own modules are held to it."""
    if in_real_time(request.node.path):
        yield
        return
    with blockbuster_ctx():
        yield


def pytest_collection_finish() -> None:
    # A full collection over thousands of collected tests stops this process for 0.16 s and more,
    # and what its callers then see late looks like the service's lateness.
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # From the reports, since these come from whichever process ran the test.
    figures = [
        figure
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, figure in report.user_properties
        if name == MEASURED
    ]
    if figures:
        terminalreporter.section("measured on Apache Kafka")
        for figure in figures:
            terminalreporter.write_line(f"MEASURED {figure}")
