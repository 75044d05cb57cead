"""The admin API, on a virtual clock and a virtual network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from support.observed import Samples
from support.wire import connected, exchange, request

from coordinator.readiness import Health, Readiness
from operations.admin.api import AdminApi
from operations.metrics.metrics import Metrics, gauge
from web.server import HttpServer


class Operators:
    def __init__(self) -> None:
        self.broken: str | None = None
        self.asked = 0
        self.missing: dict[str, str] = {}
        self.readiness = Readiness(lambda: self.missing)
        self.readiness.add("kafka consumer", lambda: self.broken)
        self.readiness.add("catalogue", lambda: None)
        self.on_scrape: Callable[[], object] = lambda: None
        metrics = Metrics(self.sample)
        nothing: Any = None  # these paths look at nothing else
        self.server = HttpServer(
            AdminApi(
                health=self.health, metrics=metrics, observatory=nothing, broadcast=nothing
            ).application(),
            host="127.0.0.1",
            port=0,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=100,
        )

    def sample(self) -> list[Metric]:
        self.on_scrape()
        return [gauge("takedown_sample", "A sample.", 42)]

    def health(self) -> Health:
        self.asked += 1
        return self.readiness.health()


@pytest.fixture
async def operators() -> AsyncIterator[Operators]:
    operators = Operators()
    await operators.server.open()
    yield operators
    await operators.server.close()


async def test_livez_is_alive_and_asks_nobody(operators: Operators) -> None:
    operators.broken = "everything is"

    answer = await exchange(operators.server.address, request("GET", "/livez"))

    assert answer.status == 200
    assert answer.json() == {"status": "alive"}
    assert answer.headers["cache-control"] == "no-store"
    assert operators.asked == 0


async def test_readyz_is_a_200_that_lists_each_check(operators: Operators) -> None:
    answer = await exchange(operators.server.address, request("GET", "/readyz"))

    assert answer.status == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {
            "kafka consumer": {"ok": True, "detail": "ok"},
            "catalogue": {"ok": True, "detail": "ok"},
            "running": {"ok": True, "detail": "ok"},
        },
        "missingSafeguards": [],
    }


async def test_readyz_lists_missing_safeguards_which_do_not_prevent_readiness(
    operators: Operators,
) -> None:
    operators.missing = {"b: leader epochs": "an old broker", "a: settings": "not allowed"}

    answer = await exchange(operators.server.address, request("GET", "/readyz"))

    assert answer.status == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["missingSafeguards"] == [
        {"name": "a: settings", "why": "not allowed"},
        {"name": "b: leader epochs", "why": "an old broker"},
    ]


async def test_readyz_is_a_503_that_says_which_check_fails_and_why(operators: Operators) -> None:
    operators.broken = "no positions"

    answer = await exchange(operators.server.address, request("GET", "/readyz"))

    assert answer.status == 503
    assert answer.json()["status"] == "not ready"
    assert answer.json()["checks"]["kafka consumer"] == {"ok": False, "detail": "no positions"}
    assert answer.json()["checks"]["catalogue"] == {"ok": True, "detail": "ok"}


async def test_readyz_is_a_503_while_draining(operators: Operators) -> None:
    operators.readiness.drain()

    answer = await exchange(operators.server.address, request("GET", "/readyz"))

    assert answer.status == 503
    assert answer.json()["checks"]["running"] == {"ok": False, "detail": "shutting down"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("Accept: text/plain", "text/plain"),
        ("Accept: application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
async def test_metrics_speak_the_format_that_is_asked_for(
    operators: Operators, accept: str, content_type: str
) -> None:
    answer = await exchange(operators.server.address, request("GET", "/metrics", accept))

    assert answer.status == 200
    assert answer.headers["content-type"].startswith(content_type)
    assert Samples(answer.body.decode()).value("takedown_sample") == 42


@pytest.mark.parametrize("path", ["/", "/live", "/livez/", "/items/x", "//livez", "/metrics/x"])
async def test_another_path_is_a_404(operators: Operators, path: str) -> None:
    answer = await exchange(operators.server.address, request("GET", path))

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:takedown:problem:not-found"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_a_405(operators: Operators, method: str, path: str) -> None:
    answer = await exchange(operators.server.address, request(method, path))

    assert answer.status == 405
    assert set(answer.headers["allow"].split(",")) == {"GET", "HEAD"}
    assert answer.json()["status"] == 405


async def test_what_is_not_http_is_a_400(operators: Operators) -> None:
    answer = await exchange(operators.server.address, b"\x16\x03\x01 hello\r\n\r\n")

    assert answer.status == 400
    assert answer.json()["type"] == "urn:takedown:problem:malformed-request"


async def test_the_server_takes_no_time(operators: Operators) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    answers: list[Any] = await asyncio.gather(
        *(exchange(operators.server.address, request("GET", "/readyz")) for _ in range(10))
    )

    assert [answer.status for answer in answers] == [200] * 10
    assert loop.time() == began


async def test_many_clients_that_scrape_at_once_get_one_answer_in_each_iteration_of_the_loop(
    operators: Operators,
) -> None:
    """An answer costs milliseconds: made together, they would hold up every caller and `/livez`."""
    loop = asyncio.get_running_loop()
    iteration = 0

    def count() -> None:
        nonlocal iteration
        iteration += 1
        if len(made) < 8:
            loop.call_soon(count)

    made: list[int] = []
    loop.call_soon(count)
    operators.on_scrape = lambda: made.append(iteration)
    clients = [exchange(operators.server.address, request("GET", "/metrics")) for _ in range(8)]
    answers = await asyncio.gather(*clients)

    assert [answer.status for answer in answers] == [200] * 8
    assert len(made) == len(set(made)) == 8


async def test_more_requests_than_may_wait_are_refused_and_livez_is_answered_beside_them(
    operators: Operators,
) -> None:
    address = operators.server.address
    scrapes = [
        asyncio.create_task(exchange(address, request("GET", "/metrics", close=False) * 50))
        for _ in range(90)
    ]
    assert (await exchange(address, request("GET", "/livez"))).status == 200
    answers = await asyncio.gather(*scrapes)

    assert {answer.status for answer in answers} == {200, 503}
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.json()["type"] == "urn:takedown:problem:too-many-requests"
    assert refused.headers["connection"] == "close"
    assert refused.headers["retry-after"] == "5"


async def test_a_client_that_hangs_up_while_it_waits_for_its_turn_keeps_no_other_one_waiting(
    operators: Operators,
) -> None:
    async with connected(operators.server.address) as gone:
        await gone.send(request("GET", "/metrics") * 3)
        gone.abort()
    answer = await exchange(operators.server.address, request("GET", "/metrics"))
    assert answer.status == 200
