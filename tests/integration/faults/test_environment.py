"""Whatever a process is started with and in: the service works, or one line explains why not."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from support.asking import readiness, take_down, until_ready
from support.brokers import Broker, running_broker
from support.platform import new_item_id
from support.processes import Process, running

from app.catalogue_folder import folder_of, with_folder
from app.lifecycle import Lifecycle
from app.settings import load
from catalogue.store.data_folder import data_of
from domain.errors import SettingsError


@pytest.fixture(scope="module")
def embedded() -> Iterator[Broker]:
    with running_broker("embedded") as broker:
        yield broker


@pytest.fixture
def bootstrap(embedded: Broker) -> str:
    return embedded.address


@asynccontextmanager
async def started(
    settings: dict[str, Any], environment: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Process]:
    """A service that is started in an unusual way."""

    class Unusual(Process):
        popen_options = options

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        process = Unusual("serve", **settings)
    try:
        yield process
    finally:
        process.close()


# --------------------------------------------------------------------- standard streams


def closing(*filenos: int) -> Callable[[], None]:
    def close() -> None:
        for fileno in filenos:
            os.close(fileno)

    return close


@pytest.mark.parametrize("filenos", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
async def test_with_standard_streams_that_are_closed_it_serves_and_puts_nothing_in_their_place(
    http: aiohttp.ClientSession,
    settings: dict[str, object],
    filenos: tuple[int, ...],
) -> None:
    api, admin = free_port(), free_port()
    settings |= {"http_port": api, "admin_port": admin}
    async with started(settings, preexec_fn=closing(*filenos)) as service:
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await readiness(http, f"http://127.0.0.1:{admin}"))[0] == 200:
                        break
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)
        status, _, _ = await take_down(http, f"http://127.0.0.1:{api}", new_item_id())
        assert status == 404
        assert {opened_as(service, fileno) for fileno in filenos} == {os.devnull}
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service._process.wait, 20) == 0


def opened_as(service: Process, fileno: int) -> str:
    return str(Path(f"/proc/{service.pid}/fd/{fileno}").readlink())


# ------------------------------------------------------------------------- open files


def allowing(files: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


@pytest.mark.parametrize("files", [48, 64, 300])
async def test_clients_that_only_connect_use_no_file_that_kafka_or_the_admin_api_needs(
    http: aiohttp.ClientSession, settings: dict[str, object], files: int
) -> None:
    async with started(settings, preexec_fn=allowing(files)) as service:
        event = await asyncio.to_thread(service.wait_for_event, "ready")
        api, admin = event["http"], event["admin"]
        assert (await take_down(http, api, new_item_id()))[0] == 404  # over a connection that stays
        ports = [int(address.rpartition(":")[2]) for address in (api, admin)]
        clients = [
            socket.create_connection(("127.0.0.1", port), timeout=5)
            for port in ports * 2
            for _ in range(files)
        ]
        try:
            process = psutil.Process(service.pid)
            before = process.cpu_times()
            end = asyncio.get_running_loop().time() + 3
            while asyncio.get_running_loop().time() < end:
                async with aiohttp.ClientSession() as operator:
                    assert (await readiness(operator, admin))[0] == 200
                assert (await take_down(http, api, new_item_id()))[0] == 404
                await asyncio.sleep(0.2)
            after = process.cpu_times()
            assert after.user + after.system - before.user - before.system < 1.5
        finally:
            for client in clients:
                client.close()
        async with asyncio.timeout(5), aiohttp.ClientSession() as newcomer:
            while True:  # until it has noticed that they have gone
                try:
                    assert (await take_down(newcomer, api, new_item_id()))[0] == 404
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
        assert service.stop() == 0
        assert not [e for e in service.events() if e["level"] in {"error", "critical"}]


async def test_with_a_limit_on_open_files_the_log_names_how_many_clients_that_allows(
    settings: dict[str, object],
) -> None:
    async with started(settings, preexec_fn=allowing(300)) as service:
        await asyncio.to_thread(service.wait_for_event, "ready")
        assert service.stop() == 0
        (line,) = [e["event"] for e in service.events() if "ulimit" in e["event"]]
        assert line.startswith("Only 300 files may be open (ulimit -n), so 108 client connections")


# --------------------------------------------------------------------- places and names


async def test_a_catalogue_is_checked_whatever_the_working_directory_is_and_has_in_it(
    http: aiohttp.ClientSession, settings: dict[str, object], tmp_path: Path
) -> None:
    for name in ("lmdb", "asyncio", "msgspec", "catalogue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    settings["catalogue_folder"] = "kept"  # relative, to the directory of the service
    texts: list[str] = []
    for _ in range(2):
        async with started(settings, cwd=tmp_path) as service:
            event = await asyncio.to_thread(service.wait_for_event, "ready")
            assert (await take_down(http, event["http"], new_item_id()))[0] == 404
            service.signal(signal.SIGKILL)  # the next one checks everything first
            service.wait()
            texts.append(service.text())
        assert data_of(tmp_path / "kept").exists()
    assert "it is checked first" in texts[1]
    assert "rebuilt" not in texts[1]


async def test_a_working_directory_that_was_removed_stops_nothing(
    http: aiohttp.ClientSession, settings: dict[str, object], tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    settings["catalogue_folder"] = tmp_path / "kept"
    texts: list[str] = []
    for _ in range(2):
        async with started(settings, cwd=gone, preexec_fn=gone.rmdir) as service:
            event = await asyncio.to_thread(service.wait_for_event, "ready")
            assert (await take_down(http, event["http"], new_item_id()))[0] == 404
            service.signal(signal.SIGKILL)
            service.wait()
            texts.append(service.text())
        gone.mkdir()
    assert "it is checked first" in texts[1]
    assert "rebuilt" not in texts[1]


def test_a_name_with_control_characters_is_escaped_in_the_one_line_about_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a\x1b[31m\nforged"
    folder.mkdir()
    folder.chmod(0o777)
    settings: dict[str, object] = {"http_port": 0, "admin_port": 0, "catalogue_folder": folder}
    with running("serve", kafka_bootstrap_servers="127.0.0.1:1", **settings) as service:
        assert service.wait() == 2
        (line,) = [each for each in service.text().splitlines() if not each.startswith("{")]
    assert line.startswith("takedown: TAKEDOWN_CATALOGUE_FOLDER: others can write to")
    assert r"a\x1b[31m\nforged" in line


C_LOCALE = {
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii:strict",
}


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_in_a_locale_without_utf_8_it_serves_and_logs(
    http: aiohttp.ClientSession, settings: dict[str, object], tmp_path: Path, log_format: str
) -> None:
    settings |= {"catalogue_folder": tmp_path / "größe", "log_format": log_format}
    settings["http_port"], settings["admin_port"] = free_port(), free_port()
    admin = f"http://127.0.0.1:{settings['admin_port']}"
    async with started(settings, C_LOCALE) as service:
        async with asyncio.timeout(20):
            while "listening" not in service.text():
                assert await asyncio.to_thread(service.read, 10)
        await until_ready(http, admin)
        path = f"http://127.0.0.1:{settings['http_port']}/items/gr%C3%B6%C3%9Fe"
        async with http.delete(path) as answer:
            assert answer.status == 400
        assert service.stop() == 0
    assert data_of(tmp_path / "größe").exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    settings = load({"TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}, {})
    with pytest.raises(SettingsError, match="TAKEDOWN_CATALOGUE_FOLDER must be set"):
        folder_of(settings)


def test_without_any_folder_for_temporary_files_one_must_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(**_options: object) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    with pytest.raises(SettingsError, match=r"_CATALOGUE_FOLDER must be set: .*temporary"):
        with_folder(load({}, {}), Lifecycle())
