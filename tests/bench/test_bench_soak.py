"""The soak counts takedowns, not time: its windows are alike, and what is wrong is told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable

import pytest

from bench import soak
from bench.items import containers_of
from bench.soak import Gauge, Soaked, measure

ASKED = {"port": 0, "pid": os.getpid(), "containers": 1, "items": 10, "concurrency": 4}


class Answers(asyncio.Protocol):
    """Answers at once; `broken` says whether the n-th of all is a 503."""

    answered = 0
    broken: Callable[[int], bool] = staticmethod(lambda _: False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        cls = type(self)
        cls.answered += 1
        item_id = data.split(b" ")[1].rsplit(b"/")[-1].decode()
        body = {"itemId": item_id, "outcome": "deleted", "containers": containers_of(1)}
        content = json.dumps(body).encode()
        status = b"503 No" if cls.broken(cls.answered) else b"200 OK"
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(content))
        self.transport.write(head + content)


async def soaked(server: type[Answers], **changes: float) -> Soaked:
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    options = {"takedowns": 200, "windows": 10, "warm_up": 20, "rate": 0.0}
    try:
        return await asyncio.wait_for(measure(**ASKED | options | changes | {"port": port}), 60)
    finally:
        listening.close()


@pytest.fixture
def server() -> type[Answers]:
    return type("FreshAnswers", (Answers,), {})


@pytest.mark.parametrize("rate", [0.0, 2000.0])
async def test_every_window_has_as_many_takedowns_after_the_warm_up(
    server: type[Answers], rate: float
) -> None:
    found = await soaked(server, rate=rate)
    assert (found.warm_up, found.each, len(found.windows), found.errors) == (20, 20, 10, {})
    assert 220 <= server.answered < 220 + 2 * ASKED["concurrency"]
    assert all(window.cpu_us > 0 and window.memory_mb > 1 for window in found.windows)


async def test_a_bad_answer_is_told(server: type[Answers]) -> None:
    server.broken = staticmethod(lambda number: number == 7)
    assert (await soaked(server)).errors == {"503": 1}


async def test_a_soak_by_the_clock_ends_at_a_bad_answer_not_after_an_hour(
    server: type[Answers],
) -> None:
    server.broken = staticmethod(lambda number: number == 7)
    found = await soaked(server, rate=500.0, takedowns=1_000_000)
    assert found.errors == {"503": 1}
    assert found.windows == []


async def test_it_keeps_its_rate(server: type[Answers]) -> None:
    found = await soaked(server, rate=400.0)
    assert 0.3 < sum(window.seconds for window in found.windows) < 5  # half a second's worth


def test_the_first_window_begins_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([10.0, 10.5, 12.5])
    monkeypatch.setattr(soak, "cpu_of", lambda _: next(used))
    gauge = Gauge(os.getpid(), warm_up=3, each=2, windows=2)
    assert [gauge.answered() for _ in range(7)] == [False] * 6 + [True]
    assert [window.cpu_us for window in gauge.windows] == [0.25e6, 1e6]
