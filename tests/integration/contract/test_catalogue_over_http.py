"""`takedown serve` with TAKEDOWN_CATALOGUE_URL: it asks the Items service, and not the topic."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiokafka import AIOKafkaConsumer
from support.answers import Got, assert_deleted, assert_problem, caller, take_down
from support.asking import readiness, until_ready, wait_for_servers
from support.brokers import Broker
from support.observed import scrape
from support.platform import Names, container, new_item_id
from support.processes import Process, running


@contextmanager
def items_service(broker: Broker, names: Names, port: int) -> Iterator[Process]:
    with running(
        "items-service",
        kafka_bootstrap_servers=broker.address,
        kafka_fetch_max_wait=broker.fetch_max_wait,
        items_http_port=port,
        log_format="json",
        **names.settings(),
    ) as process:
        process.wait_for_event("ready")
        yield process


@pytest.fixture(scope="module")
def port() -> int:
    """A port that nobody listens on when nobody should, and that can be had again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("over_http") / "never made"


@pytest.fixture(scope="module")
def settings(port: int, folder: Path) -> dict[str, object]:
    return {
        "catalogue_folder": folder,
        "timeout": 3,
        "catalogue_url": f"http://127.0.0.1:{port}/",
        "catalogue_url_timeout": 0.5,
    }


@pytest.fixture(scope="module")
def service(broker: Broker, names: Names, settings: dict[str, object]) -> Iterator[Process]:
    """Like the folder's own, but it gets ready only when a test starts an Items service."""
    with running(
        "serve",
        kafka_bootstrap_servers=broker.address,
        kafka_fetch_max_wait=broker.fetch_max_wait,
        http_port=0,
        admin_port=0,
        log_format="json",
        **names.settings(),
        **settings,
    ) as process:
        process.wait_for_event("listening")
        yield process
        assert process.stop() == 0


@pytest.fixture
async def servers(service: Process) -> tuple[str, str]:
    return await wait_for_servers(service)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with caller() as session:
        yield session


async def publish(http: aiohttp.ClientSession, port: int, *names: str) -> str:
    item_id = new_item_id()
    body = {"containers": [container(name) for name in names]}
    async with http.put(f"http://127.0.0.1:{port}/items/{item_id}", json=body) as answer:
        assert answer.status == 201, await answer.text()
    return item_id


async def until_answered(http: aiohttp.ClientSession, api: str, item_id: str, status: int) -> Got:
    async with asyncio.timeout(20):
        while (got := await take_down(http, api, item_id)).status != status:
            assert got.status == 503
            await asyncio.sleep(0.05)
    return got


async def test_before_the_items_service_comes_it_is_not_ready_and_makes_no_topic_for_items(
    http: aiohttp.ClientSession, servers: tuple[str, str], broker: Broker, names: Names
) -> None:
    api, admin = servers
    async with asyncio.timeout(20):
        while (checks := (await readiness(http, admin))[1])["kafka consumer"]["ok"] is False:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    assert not checks["catalogue"]["ok"]
    with pytest.raises(aiohttp.ClientConnectorError):  # not before it was ready for the first time
        await take_down(http, api, new_item_id())

    consumer = AIOKafkaConsumer(bootstrap_servers=broker.address)
    await consumer.start()
    topics = await consumer.topics()
    await consumer.stop()
    assert {names.reported, names.deleted} <= topics
    assert names.published not in topics


async def test_a_takedown_finds_its_containers_where_the_items_service_says(
    http: aiohttp.ClientSession,
    servers: tuple[str, str],
    broker: Broker,
    names: Names,
    port: int,
    service: Process,
) -> None:
    api, admin = servers
    with items_service(broker, names, port) as other:
        await until_ready(http, admin)
        item_id = await publish(http, port, "a", "b")
        got = await take_down(http, api, item_id)
        assert_deleted(got, item_id, [container("a"), container("b")])

        # Now it is known, and in no container any more.
        again = await take_down(http, api, item_id)
        assert_problem(again, 404, "item-not-found", item_id=item_id)
        stranger = new_item_id()
        assert_problem(
            await take_down(http, api, stranger), 404, "item-not-found", item_id=stranger
        )

        samples = await scrape(admin)
        searches = "takedown_catalogue_http_searches_total"
        assert samples.value(searches, result="hit") == 1
        assert samples.value(searches, result="miss") == 2
        assert samples.value("takedown_catalogue_http_circuit", state="closed") == 1
        read: dict[Any, Any] = samples.samples
        assert not [labels for _, labels in read if ("topic", names.published) in labels]
        assert other.stop() == 0
    assert not [event for event in service.events() if event["level"] in {"error", "critical"}]


def test_no_folder_is_made_for_a_catalogue(service: Process, folder: Path) -> None:
    assert service.wait_for_event("ready")
    assert not folder.exists()


async def test_while_the_items_service_is_away_the_answer_is_503_and_then_it_is_200_again(
    http: aiohttp.ClientSession, servers: tuple[str, str], broker: Broker, names: Names, port: int
) -> None:
    api, admin = servers
    with items_service(broker, names, port) as other:
        await until_ready(http, admin)
        item_id = await publish(http, port, "a")
        assert (await take_down(http, api, item_id)).status == 200
        assert other.stop() == 0
    for _ in range(10):
        got = await take_down(http, api, item_id)
        assert_problem(got, 503, "not-ready", item_id=item_id)
        assert got.seconds < 3
    await until_ready(http, admin, status=503)
    assert "circuit" in (await readiness(http, admin))[1]["catalogue"]["detail"]
    got = await take_down(http, api, item_id)
    assert_problem(got, 503, "not-ready", item_id=item_id)

    with items_service(broker, names, port) as other:
        await until_ready(http, admin)  # nobody had to ask
        item_id = await publish(http, port, "a", "b")
        got = await until_answered(http, api, item_id, 200)
        assert_deleted(got, item_id, [container("a"), container("b")])
        assert other.stop() == 0


async def test_a_wrong_path_gives_no_404_and_is_said_before_anybody_asks(
    http: aiohttp.ClientSession, broker: Broker, names: Names, port: int
) -> None:
    with (
        items_service(broker, names, port) as other,
        running(
            "serve",
            "--catalogue-url",
            f"http://127.0.0.1:{port}/api/v9",
            kafka_bootstrap_servers=broker.address,
            kafka_fetch_max_wait=broker.fetch_max_wait,
            http_port=0,
            admin_port=0,
            log_format="json",
            **names.settings(),
        ) as lost,
    ):
        api, admin = await wait_for_servers(lost)
        async with asyncio.timeout(20):
            while "404" not in (await readiness(http, admin))[1]["catalogue"]["detail"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        item_id = await publish(http, port, "a")
        for asked in (item_id, new_item_id()):
            with pytest.raises(aiohttp.ClientConnectorError):
                await take_down(http, api, asked)
        assert lost.stop() == 0
        assert other.stop() == 0


@pytest.mark.parametrize("trusted", [True, False])
async def test_over_tls_the_certificate_is_checked_against_the_file_that_openssl_is_told_of(
    http: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    ca, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(tls)
    (ca if trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def unknown(request: web.Request) -> web.Response:
        return web.json_response(
            {"itemId": request.match_info["item"]},
            status=404,
            content_type="application/problem+json",
        )

    app = web.Application()
    app.router.add_get("/items/{item}/containers", unknown)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "localhost", 0, ssl_context=tls).start()
        with running(
            "serve",
            kafka_bootstrap_servers="127.0.0.1:1",
            catalogue_url=f"https://localhost:{runner.addresses[0][1]}",
            http_port=0,
            admin_port=0,
            log_format="json",
        ) as process:
            _, admin = await wait_for_servers(process)
            wanted = "ok" if trusted else "TLS"
            async with asyncio.timeout(20):
                while wanted not in (await readiness(http, admin))[1]["catalogue"]["detail"]:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            assert await asyncio.to_thread(process.stop) == 0
    finally:
        await runner.cleanup()
