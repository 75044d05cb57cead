"""The catalogue through the whole service: restarts, deaths, damage, another log, another place.

Each service here has the folder that the one before it left.
"""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.asking import take_down, wait_for_servers
from support.brokers import Broker
from support.kept import noise, truncate
from support.observed import scrape
from support.platform import Names, Platform, confirm, containers, new_item_id, platform
from support.processes import Process, running

from catalogue.store.check import check

COUNT = 200


@pytest.fixture
def bootstrap(either: Broker) -> str:
    return either.address


@pytest.fixture
def fetch_max_wait(either: Broker) -> float:
    return either.fetch_max_wait


@pytest.fixture
def kept(settings: dict[str, object], tmp_path: Path) -> dict[str, object]:
    """Settings of services that follow each other in one folder."""
    return {**settings, "catalogue_folder": tmp_path / "catalogue"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "catalogue"


@asynccontextmanager
async def serving(settings: dict[str, object]) -> AsyncIterator[Process]:
    with running("serve", **settings) as process:
        await asyncio.to_thread(process.wait_for_event, "ready")
        yield process


@asynccontextmanager
async def publishing(bootstrap: str, names: Names) -> AsyncIterator[Platform]:
    async with platform(bootstrap, names, on_request=confirm) as items:
        yield items


async def end(process: Process) -> None:
    """Some in good order, some not."""
    assert await asyncio.to_thread(process.stop) == 0


async def die(process: Process) -> None:
    process.signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)


async def until_kept(admin: str, count: int) -> None:
    async with asyncio.timeout(20):
        while True:
            if (await scrape(admin)).value("takedown_catalogue_items") == count:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("ending", [end, die])
async def test_a_restart_goes_on_where_it_stopped(
    kept: dict[str, object],
    folder: Path,
    bootstrap: str,
    names: Names,
    http: aiohttp.ClientSession,
    ending: Callable[[Process], Any],
) -> None:
    lists = {new_item_id(): containers(2) for _ in range(COUNT)}
    async with serving(kept) as service:
        _, admin = await wait_for_servers(service)
        async with publishing(bootstrap, names) as items:
            await items.publish_items(lists)
        await until_kept(admin, COUNT)
        await ending(service)
    async with serving(kept) as service, publishing(bootstrap, names) as items:
        api, admin = await wait_for_servers(service)
        read = (await scrape(admin)).value("takedown_reader_read_total", topic=names.published)
        assert read == 0, f"{read} records were read again"
        for item_id in list(lists)[:5]:
            assert (await take_down(http, api, item_id))[0] == 200
        assert (await take_down(http, api, new_item_id()))[0] == 404
        # And what is published now is read.
        await items.publish_item(item := new_item_id(), containers(1))
        assert (await take_down(http, api, item))[0] == 200
        assert await asyncio.to_thread(service.stop) == 0
    checked = await asyncio.to_thread(check, folder, structure=True)
    assert (checked.problems, checked.items) == ((), COUNT + 1)


@pytest.mark.parametrize("ending", [end, die])
@pytest.mark.parametrize("damage", [truncate, noise])
async def test_what_is_damaged_is_rebuilt_and_no_404_is_wrong(
    kept: dict[str, object],
    folder: Path,
    bootstrap: str,
    names: Names,
    http: aiohttp.ClientSession,
    ending: Callable[[Process], Any],
    damage: Callable[[Path], None],
) -> None:
    lists = {new_item_id(): containers(2) for _ in range(COUNT)}
    async with serving(kept) as service:
        _, admin = await wait_for_servers(service)
        async with publishing(bootstrap, names) as items:
            await items.publish_items(lists)
        await until_kept(admin, COUNT)
        await ending(service)
    await asyncio.to_thread(damage, folder)
    async with serving(kept) as service, publishing(bootstrap, names):
        api, _ = await wait_for_servers(service)
        for item_id in list(lists)[:20]:
            status, body, _ = await take_down(http, api, item_id)
            assert status in {200, 503}, body
        said = service.text()
        assert "rebuilt from its topic" in said
        assert await asyncio.to_thread(service.stop) == 0
    checked = await asyncio.to_thread(check, folder, structure=True)
    assert (checked.problems, checked.items) == ((), COUNT)


async def test_another_topic_of_the_same_name_is_no_source_of_answers(
    kept: dict[str, object], bootstrap: str, names: Names, http: aiohttp.ClientSession
) -> None:
    """The folder was filled from a topic; this one has its name and is another one."""
    old = new_item_id()
    async with serving(kept) as service:
        _, admin = await wait_for_servers(service)
        async with publishing(bootstrap, names) as items:
            await items.publish_item(old, containers(1))
        await until_kept(admin, 1)
        assert await asyncio.to_thread(service.stop) == 0
    with running("broker", broker_port=0, log_format="json") as other:
        address = (await asyncio.to_thread(other.wait_for_event, "ready"))["kafka"]
        elsewhere = {**kept, "kafka_bootstrap_servers": address, "kafka_fetch_max_wait": 0.01}
        async with serving(elsewhere) as service, publishing(address, names) as items:
            api, _ = await wait_for_servers(service)
            assert (await take_down(http, api, old))[0] == 404
            await items.publish_item(new := new_item_id(), containers(2))
            assert (await take_down(http, api, new))[0] == 200
            assert "is read again from its beginning" in service.text()
            assert await asyncio.to_thread(service.stop) == 0


async def test_a_catalogue_that_cannot_be_kept_keeps_us_from_being_ready(
    kept: dict[str, object], folder: Path, bootstrap: str, names: Names
) -> None:
    """A file-size limit of the process stands for a disk that is full."""
    async with serving(kept) as service:
        _, admin = await wait_for_servers(service)
        async with aiohttp.ClientSession() as http, publishing(bootstrap, names) as items:
            _limit_files_of(service.pid, 1 << 16)
            await items.publish_items({new_item_id(): containers(200) for _ in range(50)})
            async with asyncio.timeout(20):
                while "cannot be written to" not in await _detail(http, admin):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            _limit_files_of(service.pid, None)
            async with asyncio.timeout(20):
                while await _detail(http, admin) != "ok":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await until_kept(admin, 50)
        assert await asyncio.to_thread(service.stop) == 0
    checked = await asyncio.to_thread(check, folder, structure=True)
    assert (checked.problems, checked.items) == ((), 50)


def _limit_files_of(pid: int, size: int | None) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


async def _detail(http: aiohttp.ClientSession, admin: str) -> str:
    async with http.get(f"{admin}/readyz") as answer:
        detail: str = (await answer.json())["checks"]["catalogue"]["detail"]
        return detail
