"""The bridge of stock pykka without Kafka: one thread and one actor for each request."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from dev.bench import pykka_bridge
from dev.bench.items import containers_of
from dev.bench.pykka_bridge import Caller, Kafka, Server, Takedown

ITEM = "an-item"


class FakeKafka(Kafka):
    """Keeps what is published."""

    def __init__(self) -> None:
        self.items = {ITEM: containers_of(2)}
        self.waiting = {}
        self.lock = threading.Lock()
        self.published: list[dict[str, Any]] = []

    def publish(self, value: dict[str, Any]) -> None:
        self.published.append(value)


def deletion(container: dict[str, str]) -> dict[str, str]:
    return {"itemId": ITEM, **container, "deletedAt": "2026-01-02T12:00:00.000Z"}


def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_a_takedown_answers_when_every_container_has_confirmed_once() -> None:
    kafka = FakeKafka()
    answer: pykka.Future[Any] = pykka.ThreadingFuture()
    actor = Takedown.start(kafka, ITEM, answer)
    first, second = containers_of(2)
    for container in (first, first, second):
        actor.tell(deletion(container))
    assert answer.get(timeout=10) == [
        {key: text for key, text in deletion(one).items() if key != "itemId"}
        for one in (first, second)
    ]
    until(lambda: not actor.is_alive())
    assert kafka.waiting == {}
    assert [value["containerId"] for value in kafka.published] == [
        one["containerId"] for one in (first, second)
    ]


@pytest.fixture
def server() -> Iterator[tuple[FakeKafka, http.client.HTTPConnection]]:
    kafka = FakeKafka()
    server = Server(("127.0.0.1", 0), type("Handler", (Caller,), {"kafka": kafka}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    yield kafka, connection
    connection.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_takedown_that_nobody_confirms_is_told_504_and_its_actor_ends(
    server: tuple[FakeKafka, http.client.HTTPConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pykka_bridge, "TIMEOUT", 0.05)
    kafka, connection = server
    connection.request("DELETE", f"/items/{ITEM}")
    response = connection.getresponse()
    assert response.status == 504
    assert json.load(response)["title"] == "Time is up"
    until(lambda: not kafka.waiting)
    until(lambda: not pykka.ActorRegistry.get_all())


def test_an_item_that_was_not_published_is_told_404_without_an_actor(
    server: tuple[FakeKafka, http.client.HTTPConnection],
) -> None:
    kafka, connection = server
    connection.request("DELETE", "/items/another")
    assert connection.getresponse().status == 404
    assert kafka.published == []
