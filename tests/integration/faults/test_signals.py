"""What each signal does to a service, with a terminal and without one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.asking import take_down, until_ready
from support.brokers import Broker, running_broker
from support.platform import Names, confirm, containers, new_item_id, platform
from support.processes import ROOT, Process, environment_of, running, usual_signals
from support.unread import UnreadProcess


@pytest.fixture(scope="module")
def embedded() -> Iterator[Broker]:
    with running_broker("embedded") as broker:
        yield broker


@pytest.fixture
def bootstrap(embedded: Broker) -> str:
    return embedded.address


def take_terminal() -> None:
    """In a child before it runs: its standard input becomes its controlling terminal."""
    usual_signals()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def ignore_hangups() -> None:
    """In a child before it runs: as under `nohup`."""
    usual_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class AtATerminal(UnreadProcess):
    """A `takedown` command that leads a session at a terminal of its own."""

    def __init__(self, *arguments: str, redirected: bool = False, **settings: object) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="takedown-test-")
        folder = Path(self._folder.name) / "catalogue"
        environment = environment_of({"catalogue_folder": folder, **settings})
        self._buffer = b""
        self.lines = []
        self.terminal, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST  # line feeds stay line feeds
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.reader, output = os.pipe() if redirected else (self.terminal, slave)
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "service.py"), *arguments],
            env=environment,
            stdin=slave,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - it makes two calls
        )
        for fileno in {slave, output}:
            os.close(fileno)

    def close_terminal(self) -> None:
        os.close(self.terminal)
        if self.reader == self.terminal:
            self.reader = -1
        self.terminal = -1

    def kill(self) -> None:
        redirected = self.reader != self.terminal
        super().kill()
        if redirected and self.terminal >= 0:
            os.close(self.terminal)


@pytest.mark.parametrize("redirected", [False, True], ids=["to the terminal", "redirected"])
async def test_a_terminal_that_is_closed_stops_the_service_which_finishes_what_is_in_flight(
    http: aiohttp.ClientSession,
    settings: dict[str, Any],
    bootstrap: str,
    names: Names,
    redirected: bool,
) -> None:
    process = AtATerminal("serve", redirected=redirected, **settings)
    try:
        event = await asyncio.to_thread(process.read_until, "listening")
        api, admin = event["http"], event["admin"]
        await until_ready(http, admin)
        async with platform(bootstrap, names) as items:
            item_id = new_item_id()
            await items.publish_item(item_id, containers(2))
            answer = asyncio.create_task(take_down(http, api, item_id))
            requests = await items.wait_for_requests(item_id, 2)
            process.close_terminal()
            await until_ready(http, admin, status=503)
            process._process.send_signal(signal.SIGHUP)  # the shell's, after the kernel's
            await asyncio.sleep(0.6)
            process._process.send_signal(signal.SIGHUP)
            for request in requests:
                await confirm(items, request)
            assert (await answer)[0] == 200
        assert await asyncio.to_thread(process._process.wait, 20) == 0
    finally:
        process.kill()


def in_a_session_of_its_own(*arguments: str, ignored: bool = False, **settings: Any) -> Process:
    """Without a terminal, also where the tests are run at one."""

    class WithoutTerminal(Process):
        popen_options = {  # noqa: RUF012 - of this one
            "start_new_session": True,
            "preexec_fn": ignore_hangups if ignored else usual_signals,
        }

    return WithoutTerminal(*arguments, **settings)


async def test_without_a_terminal_sighup_reloads_and_the_service_goes_on(
    http: aiohttp.ClientSession, settings: dict[str, Any]
) -> None:
    service = in_a_session_of_its_own("serve", **settings)
    try:
        event = await asyncio.to_thread(service.wait_for_event, "ready")
        for _ in range(50):
            service.signal(signal.SIGHUP)
        await asyncio.to_thread(service.wait_for_event, "Nothing to reload")
        assert (await take_down(http, event["http"], new_item_id()))[0] == 404
        assert service.stop() == 0
        assert not [e for e in service.events() if e["level"] in {"error", "critical"}]
    finally:
        service.close()


async def test_sighup_at_any_moment_of_the_start_does_not_end_a_service_without_a_terminal(
    settings: dict[str, Any],
) -> None:
    service = in_a_session_of_its_own("serve", **settings)
    try:
        while not service.lines:  # it logs for the first time before it has started anything
            assert await asyncio.to_thread(service.read, 10)
        while "ready" not in [event["event"] for event in service.events()]:
            service.signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
        assert service.stop() == 0
    finally:
        service.close()


async def test_with_workers_sighup_reaches_each_of_them_and_none_ends(
    settings: dict[str, Any],
) -> None:
    service = in_a_session_of_its_own("serve", **settings, workers=2)
    try:
        await asyncio.to_thread(service.wait_for_event, "ready")
        service.signal(signal.SIGHUP)
        await asyncio.to_thread(service.wait_for_event, "Reloaded: workers")
        async with asyncio.timeout(10):
            while reloads(service) != {0, 1}:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.05)
        assert service.stop() == 0
        assert not [e for e in service.events() if e["level"] in {"error", "critical"}]
    finally:
        service.close()


def reloads(service: Process) -> set[int]:
    return {e["worker"] for e in service.events() if e["event"] == "Nothing to reload"}


async def test_nohup_is_respected(settings: dict[str, Any]) -> None:
    service = in_a_session_of_its_own("serve", ignored=True, **settings)
    try:
        await asyncio.to_thread(service.wait_for_event, "ready")
        service.signal(signal.SIGHUP)
        service.signal(signal.SIGUSR1)
        await asyncio.to_thread(service.wait_for_event, "SIGUSR1 is ignored")
        assert service.stop() == 0
        assert "Nothing to reload" not in service.text()
    finally:
        service.close()


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
async def test_a_signal_that_means_nothing_here_does_not_end_the_service(
    http: aiohttp.ClientSession, settings: dict[str, Any], signum: signal.Signals
) -> None:
    with running("serve", **settings) as service:
        event = await asyncio.to_thread(service.wait_for_event, "ready")
        service.signal(signum)
        assert (await take_down(http, event["http"], new_item_id()))[0] == 404
        assert service.stop() == 0


async def test_sigquit_ends_the_process_at_once(settings: dict[str, Any]) -> None:
    with running("serve", **settings) as service:
        await asyncio.to_thread(service.wait_for_event, "ready")
        service.signal(signal.SIGQUIT)
        assert service.wait(within=5) == -signal.SIGQUIT


@pytest.mark.parametrize(
    "signum", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT], ids=str
)
async def test_signals_that_come_until_the_very_end_leave_the_exit_status_at_0(
    settings: dict[str, Any], signum: signal.Signals
) -> None:
    service = in_a_session_of_its_own("serve", **settings)
    try:
        await asyncio.to_thread(service.wait_for_event, "ready")
        service.signal(signal.SIGTERM)
        await asyncio.to_thread(service.wait_for_event, "Stopped")
        while service.returncode is None:
            service.signal(signum)
            await asyncio.sleep(0.001)
        assert service.wait() == 0
        assert "Traceback" not in service.text()
    finally:
        service.close()
