"""The admin API of a running service; the other port has nothing of it, and vice versa."""

from __future__ import annotations

import aiohttp
import pytest
from support.answers import take_down
from support.brokers import Broker
from support.observed import HELD, Samples, scrape
from support.platform import Names, new_item_id
from support.wire import exchange, request

ITEM = "0" * 36


async def test_livez_and_readyz_are_200_when_all_is_well(
    http: aiohttp.ClientSession, admin: str, broker: Broker, names: Names
) -> None:
    # The embedded broker cannot be asked where leader epochs end; Apache Kafka lacks nothing.
    topics = (names.deleted, names.published) if broker.kind == "embedded" else ()
    async with http.get(f"{admin}/livez") as answer:
        assert answer.status == 200
        assert await answer.json() == {"status": "alive"}
    async with http.get(f"{admin}/readyz") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        body = await answer.json()
        missing = sorted(each["name"] for each in body.pop("missingSafeguards"))
        assert missing == [f"{topic}: leader epochs" for topic in topics]
        assert body == {
            "status": "ready",
            "checks": {
                name: {"ok": True, "detail": "ok"}
                for name in (
                    *("kafka consumer", "catalogue", "kafka producer", "topic settings"),
                    "running",
                )
            },
        }


async def test_metrics_can_be_read_and_show_what_is_held(
    http: aiohttp.ClientSession, admin: str
) -> None:
    async with http.get(f"{admin}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        samples = Samples(await answer.text())

    shown = {name for name, _ in samples.samples}
    assert shown >= set(HELD)
    assert all(name.startswith("takedown_") for name in shown)
    assert samples.value("takedown_ready") == 1


async def test_each_answer_is_counted(http: aiohttp.ClientSession, api: str, admin: str) -> None:
    counted = "takedown_http_answers_total"
    before = await scrape(admin)

    assert (await take_down(http, api, new_item_id())).status == 404
    assert (await take_down(http, api, "nonsense")).status == 400

    after = await scrape(admin)
    for labels in (
        {"status": "404", "outcome": "NotFound"},
        {"status": "400", "outcome": "invalid-item-id"},
    ):
        assert after.value(counted, **labels) == before.value(counted, **labels) + 1


@pytest.mark.parametrize(
    "path", ["/livez/", "/dashboard", "/dashboard/none.js", "/readyz/x", "/LIVEZ", f"/items/{ITEM}"]
)
async def test_another_path_is_a_404(admin: str, path: str) -> None:
    assert (await exchange(admin, request("GET", path))).status == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_another_method_is_a_405(admin: str, method: str, path: str) -> None:
    answer = await exchange(admin, request(method, path))

    assert answer.status == 405
    assert set(answer.headers["allow"].split(",")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_a_head_is_answered_like_a_get_without_the_body(admin: str, path: str) -> None:
    assert (await exchange(admin, request("HEAD", path), head=True)).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_the_public_server_shows_nothing_of_it(api: str, path: str) -> None:
    answer = await exchange(api, request("GET", path))

    assert answer.status == 400
    assert answer.json()["type"] == "urn:takedown:problem:unknown-path"
