"""The Items service's own HTTP API."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest

from bus.kafka.connection import Connection
from demo.items_service import http as items_http
from demo.items_service.faults import Faults
from demo.items_service.sample import COUNT, DEMO_DELETABLE

from .items_helpers import Kafka, new_item, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from demo.items_service.app import ItemsService

NOWHERE = Connection("127.0.0.1:1")
TWO = {
    "containers": [
        {"containerId": "timeline:a", "containerType": "timeline"},
        {"containerId": "group:b", "containerType": "group"},
    ]
}


class Client:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def __call__(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self._session.request(method, path, **options) as response:
            if response.status >= 400:
                assert response.content_type == "application/problem+json"
                problem = await response.json()
                assert problem["status"] == response.status
                assert {"type", "title", "detail", "instance"} <= problem.keys()
                return response.status, problem
            return response.status, await response.json() if await response.read() else None


@pytest.fixture
async def call(service: ItemsService) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(service.http_address) as session:
        yield Client(session)


@pytest.fixture
async def alone() -> AsyncIterator[Client]:
    """A service that never finds Kafka."""
    async with (
        running(NOWHERE, sample=True) as service,
        aiohttp.ClientSession(service.http_address) as session,
    ):
        yield Client(session)


async def test_an_item_is_published_when_the_answer_comes(call: Client, kafka: Kafka) -> None:
    item = new_item()
    status, body = await call("PUT", f"/items/{item.upper()}", json=TWO)
    assert status == 201
    assert body["itemId"] == item
    assert body["containers"] == TWO["containers"]
    await kafka.until(lambda: kafka.lists(item) == [["timeline:a", "group:b"]])

    status, _ = await call("PUT", f"/items/{item}", json={"containers": TWO["containers"][:1]})
    assert status == 200
    await kafka.until(lambda: kafka.lists(item)[-1] == ["timeline:a"])

    status, _ = await call("PUT", f"/items/{item}", json={"containers": []})
    assert status == 200
    await kafka.until(lambda: kafka.lists(item)[-1] is None)


async def test_a_new_item_gets_an_id(call: Client) -> None:
    status, body = await call("POST", "/items", json=TWO)
    assert status == 201
    assert await call("GET", f"/items/{body['itemId']}") == (200, body)


async def test_what_was_deleted_is_shown_with_its_time(call: Client, kafka: Kafka) -> None:
    item = new_item()
    await call("PUT", f"/items/{item}", json=TWO)
    await kafka.report(item, "timeline:a")
    await kafka.until(lambda: kafka.deletions(item))
    _, body = await call("GET", f"/items/{item}")
    alive, gone = body["containers"]
    assert alive == TWO["containers"][1]
    assert gone["deletedAt"] == kafka.deletions(item)[0]["deletedAt"]
    _, body = await call("GET", f"/items/{item}/containers")
    assert body == {"itemId": item, "containers": [alive]}


@pytest.mark.parametrize("rest", ["", "/containers"])
async def test_a_404_about_an_item_names_it_and_one_about_a_path_does_not(
    alone: Client, rest: str
) -> None:
    item = new_item()
    status, problem = await alone("GET", f"/items/{item.upper()}{rest}")
    assert (status, problem["itemId"]) == (404, item)
    assert problem["type"] == "urn:takedown:items-service:unknown-item"
    status, problem = await alone("GET", f"/v1/items/{item}{rest}")
    assert status == 404
    assert "itemId" not in problem


async def test_an_item_leaves_a_container_without_an_event(call: Client, kafka: Kafka) -> None:
    item = new_item()
    await call("PUT", f"/items/{item}", json=TWO)
    path = f"/items/{item}/containers/{quote('group:b', safe='')}"
    assert await call("DELETE", path) == (204, None)
    await kafka.until(lambda: kafka.lists(item)[-1:] == [["timeline:a"]])
    assert not kafka.deletions(item)
    assert (await call("DELETE", path))[0] == 404


async def test_faults_are_switched_while_it_runs(call: Client, service: ItemsService) -> None:
    status, body = await call("PUT", "/faults", json={"latency": 0.5, "neverDelete": ["vault"]})
    assert status == 200
    assert body["latency"] == 0.5
    assert body["neverDelete"] == ["vault"]
    assert await call("GET", "/faults") == (200, body)
    assert service.faults == Faults(latency=0.5, never_delete=frozenset({"vault"}))
    assert (await call("PUT", "/faults", json={}))[0] == 200
    assert service.faults == Faults()


async def test_without_kafka_a_change_is_made_and_answered_with_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(items_http, "PUBLISH_TIMEOUT", 0.1)
    async with (
        running(NOWHERE) as service,
        aiohttp.ClientSession(service.http_address) as session,
    ):
        call, item = Client(session), new_item()
        assert (await call("PUT", f"/items/{item}", json=TWO))[0] == 503
        assert (await call("GET", f"/items/{item}"))[0] == 200
        assert await call("GET", "/livez") == (200, {"status": "ok", "kafkaConnected": False})


async def test_the_list_comes_in_pages(alone: Client) -> None:
    _, body = await alone("GET", "/items")
    assert (body["total"], body["limit"], body["offset"]) == (COUNT, 50, 0)
    ids = [item["itemId"] for item in body["items"]]
    _, body = await alone("GET", "/items?limit=20&offset=50")
    ids += [item["itemId"] for item in body["items"]]
    assert len(ids) == COUNT
    assert ids == sorted(ids)
    assert DEMO_DELETABLE in ids


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=ten", "limit=", "offset=-1", "offset=1_0"]
)
async def test_a_bad_page_is_refused(alone: Client, query: str) -> None:
    status, problem = await alone("GET", f"/items?{query}")
    assert status == 400
    assert query.partition("=")[0] in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"containers": 1}',
        b'{"containers": [{"containerId": "a"}]}',
        b'{"containers": [{"containerId": "", "containerType": "b"}]}',
        b'{"containers": [{"containerId": "a", "containerType": ""}]}',
        b'{"containers": [{"containerId": "a", "containerType": "b", "extra": 1}]}',
        b'{"containers": [], "extra": 1}',
        json.dumps({"containers": TWO["containers"] * 2}).encode(),
    ],
)
async def test_a_bad_body_is_refused(alone: Client, body: bytes) -> None:
    status, problem = await alone("PUT", f"/items/{new_item()}", data=body)
    assert status == 400
    assert problem["detail"]


async def test_other_bad_requests_are_refused(alone: Client) -> None:
    assert (await alone("PUT", "/items/not-a-uuid", json=TWO))[0] == 400
    assert (await alone("GET", "/items/not-a-uuid"))[0] == 400
    assert (await alone("POST", "/items", json={"containers": []}))[0] == 400
    assert (await alone("PUT", f"/items/{new_item()}", data=io.BytesIO(b" " * (2 << 20))))[0] == 413
    assert (await alone("GET", f"/items/{new_item()}"))[0] == 404
    assert (await alone("GET", f"/items/{new_item()}/containers"))[0] == 404
    assert (await alone("GET", "/nowhere"))[0] == 404
    assert (await alone("PATCH", "/items"))[0] == 405


@pytest.mark.parametrize(
    "body", [b'{"drop": 2}', b'{"latency": "x"}', b'{"speed": 1}', b'{"neverDelete": [""]}']
)
async def test_bad_faults_are_refused(alone: Client, body: bytes) -> None:
    assert (await alone("PUT", "/faults", data=body))[0] == 400
