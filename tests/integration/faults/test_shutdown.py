"""What is in flight when the service is told to stop is finished, within its deadline."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest
from support.answers import caller
from support.asking import readiness, take_down, until_ready, wait_for_servers
from support.brokers import Broker
from support.platform import Names, confirm, containers, new_item_id, platform
from support.processes import running
from support.wire import connected, request

from app.lifecycle import Lifecycle
from app.settings import load
from bus.kafka.connection import Connection
from catalogue.store.data_folder import Folder
from service import Service


@pytest.fixture
def bootstrap(either: Broker) -> str:
    return either.address


@pytest.fixture
def fetch_max_wait(either: Broker) -> float:
    return either.fetch_max_wait


async def test_takedowns_in_flight_are_answered_before_the_service_ends_and_new_ones_refused(
    http: aiohttp.ClientSession,
    settings: dict[str, object],
    bootstrap: str,
    names: Names,
) -> None:
    with running("serve", **settings) as service:
        api, admin = await wait_for_servers(service)
        await until_ready(http, admin)
        async with platform(bootstrap, names) as items:
            confirmed, stuck = new_item_id(), new_item_id()
            for item_id in (confirmed, stuck):
                await items.publish_item(item_id, containers(2))
            answers = [
                asyncio.create_task(take_down(http, api, item_id)) for item_id in (confirmed, stuck)
            ]
            requests = await items.wait_for_requests(confirmed, 2)
            await items.wait_for_requests(stuck, 2)

            service.signal(signal.SIGTERM)
            await until_ready(http, admin, status=503)
            _, checks = await readiness(http, admin)
            assert checks["running"] == {"ok": False, "detail": "shutting down"}
            await until_refused(api)
            for each in requests:
                await confirm(items, each)
            assert (await answers[0])[0] == 200
            assert (await answers[1])[0] == 504
            assert await asyncio.to_thread(service.wait) == 0
    steps = [e["event"] for e in service.events() if e["event"].startswith("Shutdown ")]
    total = len(steps)
    assert [step.split(":")[0] for step in steps] == [
        f"Shutdown {number}/{total}" for number in range(1, total + 1)
    ]
    assert not [e for e in service.events() if e["level"] in {"error", "critical"}]


async def test_during_the_grace_callers_are_served_and_told_to_come_back_on_another_connection(
    settings: dict[str, object], bootstrap: str, names: Names
) -> None:
    with running("serve", **settings | {"shutdown_grace": 4}) as service:
        ready = await asyncio.to_thread(service.wait_for_event, "ready")
        api, admin = ready["http"], ready["admin"]
        async with (
            platform(bootstrap, names, on_request=confirm) as items,
            caller() as http,
            connected(api) as idle,
        ):
            await idle.send(request("DELETE", "/items/nonsense", close=False))
            assert await idle.answer() is not None
            in_flight = new_item_id()
            items.on_request = None
            await items.publish_item(in_flight, containers(1))
            late = asyncio.create_task(take_down(http, api, in_flight, Prefer="wait=2"))
            await items.wait_for_requests(in_flight, 1)
            items.on_request = confirm

            began = asyncio.get_running_loop().time()
            service.signal(signal.SIGTERM)
            await until_ready(http, admin, status=503)
            while asyncio.get_running_loop().time() < began + 2.5:
                item_id = new_item_id()
                await items.publish_item(item_id, containers(2))
                async with http.delete(f"{api}/items/{item_id}") as answer:
                    assert answer.status == 200
                    assert answer.headers["Connection"] == "close"
                async with http.get(f"{admin}/readyz") as answer:
                    assert answer.status == 503
            assert (await late)[0] == 504
            await idle.send(request("DELETE", f"/items/{in_flight}", "Prefer: wait=5", close=False))
            await until_refused(api)
            assert asyncio.get_running_loop().time() > began + 3.9
            # It was accepted before the listener closed, and is finished.
            last = await idle.answer()
            assert last is not None
            assert (last.status, last.headers["connection"]) == (200, "close")
        assert await asyncio.to_thread(service.wait) == 0
    assert not [e for e in service.events() if e["level"] in {"error", "critical"}]


async def test_a_second_signal_ends_the_grace(
    http: aiohttp.ClientSession, settings: dict[str, object]
) -> None:
    with running("serve", **settings | {"shutdown_grace": 60}) as service:
        _, admin = await wait_for_servers(service)
        await until_ready(http, admin)
        service.signal(signal.SIGTERM)
        await until_ready(http, admin, status=503)
        await asyncio.sleep(1)
        service.signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.wait, within=10) == 0


async def until_refused(api: str) -> None:
    """Wait until the callers' port is closed."""
    async with asyncio.timeout(10):
        while True:
            try:
                async with connected(api):
                    await asyncio.sleep(0.02)
            except ConnectionRefusedError:
                return


async def test_a_second_signal_does_not_wait_for_what_is_in_flight(
    http: aiohttp.ClientSession,
    settings: dict[str, object],
    bootstrap: str,
    names: Names,
) -> None:
    with running("serve", **settings | {"timeout": 60}) as service:
        api, admin = await wait_for_servers(service)
        await until_ready(http, admin)
        async with platform(bootstrap, names) as items:
            item_id = new_item_id()
            await items.publish_item(item_id, containers(1))
            answer = asyncio.create_task(take_down(http, api, item_id))
            await items.wait_for_requests(item_id, 1)
            service.signal(signal.SIGINT)
            await asyncio.to_thread(service.wait_for_event, "Stopping on SIGINT")
            service.signal(signal.SIGINT)  # the same keystroke, passed on: waits none the less
            await until_ready(http, admin, status=503)
            assert not answer.done()
            async with asyncio.timeout(15):
                while "Stopping at once on another SIGINT" not in service.text():
                    service.signal(signal.SIGINT)
                    await asyncio.sleep(0.1)
            assert await asyncio.to_thread(service.wait, within=15) == 0
            # It was published, so what became of it is unknown: an honest 500.
            assert (await answer)[0] == 500


async def test_a_service_with_its_own_broker_leaves_no_process_behind_even_when_it_is_killed(
    service_settings: dict[str, object],
) -> None:
    with running("serve", "--embedded-broker", **service_settings) as service:
        await asyncio.to_thread(service.wait_for_event, "ready")
        (child,) = psutil.Process(service.pid).children()
        service.signal(signal.SIGKILL)
        service.wait()
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [child], timeout=5)
        assert gone == [child]


async def test_a_service_that_is_stopped_before_it_is_ready_ends_at_once(
    service_settings: dict[str, object], port: int
) -> None:
    nobody = f"127.0.0.1:{port}"
    with running("serve", **service_settings | {"kafka_bootstrap_servers": nobody}) as service:
        await asyncio.to_thread(service.wait_for_event, "listening")
        assert await asyncio.to_thread(service.stop) == 0


async def test_a_service_that_is_stopped_in_the_middle_of_its_start_has_not_failed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "catalogue"
    folder = Folder.take(path)  # so the start waits here
    settings = {"admin_port": "0", "http_port": "0", "catalogue_folder": str(path)}
    lifecycle = Lifecycle()
    service = Service(
        load({f"TAKEDOWN_{name.upper()}": value for name, value in settings.items()}, {}),
        Connection("127.0.0.1:1"),
        lifecycle,
    )
    starting = asyncio.create_task(service.start())
    try:
        while not service.admin_server.is_open:  # noqa: ASYNC110 - an iteration or two
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert not starting.done()
        starting.cancel()
        await asyncio.wait([starting])
    finally:
        await lifecycle.stop()
        folder.give_back(well=True)
    assert starting.cancelled()
    assert not service.failed.done()
