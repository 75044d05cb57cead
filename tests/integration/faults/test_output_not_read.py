"""A standard output that accepts nothing stops neither the answers nor the end of the process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import uuid
from collections.abc import Iterator

import aiohttp
import psutil
import pytest
from support.asking import until_ready
from support.brokers import Broker, running_broker
from support.platform import Names, confirm, containers, new_item_id, platform
from support.unread import UnreadProcess, unread

READ_ONE_DROP = re.compile(r"(\d+) log lines were dropped: standard output was not read \(.*info")


@pytest.fixture(scope="module")
def embedded() -> Iterator[Broker]:
    with running_broker("embedded") as broker:
        yield broker


@pytest.fixture
def bootstrap(embedded: Broker) -> str:
    return embedded.address


async def until_listening(process: UnreadProcess) -> tuple[str, str]:
    event = await asyncio.to_thread(process.read_until, "listening")
    return event["http"], event["admin"]


async def ask_many(
    http: aiohttp.ClientSession, url: str, count: int, *, item: str | None = None
) -> list[int]:
    """So many requests, a few at a time: for this item, or for unknown items."""
    statuses: list[int] = []

    async def ask(number: int) -> None:
        for _ in range(number):
            async with http.delete(f"{url}/items/{item or uuid.uuid4()}") as answer:
                statuses.append(answer.status)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(ask(count // 20))
    return statuses


async def dropped(http: aiohttp.ClientSession, admin: str) -> int:
    async with http.get(f"{admin}/metrics") as answer:
        text = await answer.text()
    (value,) = re.findall(
        r"^takedown_log_lines_dropped_total(?:\{.*\})? (\S+)$", text, re.MULTILINE
    )
    return int(float(value))


async def alive(http: aiohttp.ClientSession, admin: str) -> bool:
    async with asyncio.timeout(2), http.get(f"{admin}/livez") as answer:
        return answer.status == 200


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_with_a_pipe_that_is_not_read_all_requests_are_answered_and_sigterm_ends_it(
    http: aiohttp.ClientSession, settings: dict[str, object], log_format: str
) -> None:
    if log_format == "console":  # whose lines say no address: two ports that are free
        settings |= {"http_port": free_port(), "admin_port": free_port()}
    with unread("serve", **settings | {"log_format": log_format}) as service:
        if log_format == "json":
            api, admin = await until_listening(service)
        else:
            api, admin = (f"http://127.0.0.1:{settings[f'{k}_port']}" for k in ("http", "admin"))
            await until_answers(http, admin)
        await until_ready(http, admin)
        statuses = await ask_many(http, api, 2000)
        assert statuses == [404] * 2000
        assert await alive(http, admin)
        assert await service.stop() < 10


async def test_takedowns_in_flight_are_finished_though_the_output_is_not_read(
    http: aiohttp.ClientSession, settings: dict[str, object], bootstrap: str, names: Names
) -> None:
    with unread("serve", **settings) as service:
        api, admin = await until_listening(service)
        await until_ready(http, admin)
        await ask_many(http, api, 600)  # more than the pipe holds
        async with platform(bootstrap, names) as items:
            item_id = new_item_id()
            await items.publish_item(item_id, containers(2))
            answer = asyncio.create_task(status_of(http, api, item_id))
            requests = await items.wait_for_requests(item_id, 2)
            stopping = asyncio.create_task(service.stop())
            await until_ready(http, admin, status=503)
            for request in requests:
                await confirm(items, request)
            assert await answer == 200
        assert await stopping < 10


async def test_when_reading_resumes_one_line_reports_what_was_dropped(
    http: aiohttp.ClientSession, settings: dict[str, object]
) -> None:
    with unread("serve", **settings) as service:
        api, admin = await until_listening(service)
        await until_ready(http, admin)
        asked = 0
        async with asyncio.timeout(60):
            while await dropped(http, admin) < 500:
                await ask_many(http, api, 2000, item=200 * "x")  # a 400, and a long line
                asked += 2000
        assert psutil.Process(service.pid).memory_info().rss < 300 << 20
        lost = await dropped(http, admin)
        reading = asyncio.create_task(asyncio.to_thread(service.read_all))
        async with asyncio.timeout(10):
            while not (reports := reported(service)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        assert len(reports) == 1
        await ask_many(http, api, 100)  # which are written as ever
        await service.stop()
        await reading
        assert reported(service) == [lost]
        answered = [e for e in service.events() if e["event"].startswith(("Answered", "Refused"))]
        assert len(answered) + lost >= asked + 100
        assert service.events()[-1]["event"] == "Stopped"
        stamps = [e["timestamp"] for e in service.events() if e["logger"] != "takedown.logs"]
        assert stamps == sorted(stamps)


async def test_lines_that_were_not_read_come_out_before_the_process_ends(
    http: aiohttp.ClientSession, settings: dict[str, object]
) -> None:
    with unread("serve", **settings) as service:
        api, admin = await until_listening(service)
        await until_ready(http, admin)
        await ask_many(http, api, 1000)
        service._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(service.read_all)
        events = [e["event"] for e in service.events()]
        assert events.count("Answered a takedown") == 1000
        assert events[-1] == "Stopped"


async def test_a_reader_that_has_gone_costs_the_lines_and_nothing_more(
    http: aiohttp.ClientSession, settings: dict[str, object]
) -> None:
    with unread("serve", **settings) as service:
        api, admin = await until_listening(service)
        await until_ready(http, admin)
        before = psutil.Process(service.pid).cpu_times()
        service.close_reader()
        assert await ask_many(http, api, 200) == [404] * 200
        async with asyncio.timeout(5):
            while await dropped(http, admin) < 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        after = psutil.Process(service.pid).cpu_times()
        assert after.user + after.system - before.user - before.system < 2
        assert await service.stop() < 10


async def test_a_full_disk_below_the_log_stops_nothing(
    http: aiohttp.ClientSession, settings: dict[str, object]
) -> None:
    settings |= {"http_port": free_port(), "admin_port": free_port()}
    api, admin = (f"http://127.0.0.1:{settings[f'{k}_port']}" for k in ("http", "admin"))
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with unread("serve", output=full, **settings) as service:
            await until_answers(http, admin)
            await until_ready(http, admin)
            assert await ask_many(http, api, 400) == [404] * 400
            assert await alive(http, admin)
            assert await service.stop() < 15
    finally:
        os.close(full)


@pytest.mark.parametrize("workers", [2])
async def test_with_workers_the_pipe_that_is_not_read_stops_none_of_them(
    http: aiohttp.ClientSession, settings: dict[str, object], workers: int
) -> None:
    with unread("serve", **settings | {"workers": workers}) as service:
        api, admin = await until_listening(service)
        await until_ready(http, admin)
        assert await ask_many(http, api, 2000) == [404] * 2000
        assert await alive(http, admin)
        assert await service.stop() < 15
        await asyncio.to_thread(service.read_all)  # what the pipe held
        assert {len(line.encode()) <= 4096 for line in service.lines} == {True}


def reported(service: UnreadProcess) -> list[int]:
    """How many dropped lines each report names."""
    found = [READ_ONE_DROP.match(e["event"]) for e in service.events()]
    return [int(match[1]) for match in found if match]


async def status_of(http: aiohttp.ClientSession, api: str, item_id: str) -> int:
    async with http.delete(f"{api}/items/{item_id}") as answer:
        return answer.status


async def until_answers(http: aiohttp.ClientSession, admin: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if await alive(http, admin):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
