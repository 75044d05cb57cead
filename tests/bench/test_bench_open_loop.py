"""The open load: it asks when it is time, and counts from when it was to ask."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from bench import open_loop
from bench.items import containers_of
from bench.open_loop import measure, schedule


def test_the_times_are_a_process_of_that_rate_and_always_the_same() -> None:
    times = schedule(1000, 10, seed=1)
    assert times == schedule(1000, 10, seed=1)
    assert times != schedule(1000, 10, seed=2)
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 10
    assert 9_500 < len(times) < 10_500


class SlowServer(asyncio.Protocol):
    """Takes `seconds` for each request, one after the other, whatever connection it is on."""

    seconds = 0.0
    free_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        item_id = data.split(b" ")[1].rsplit(b"/")[-1].decode()
        loop = asyncio.get_running_loop()
        cls = type(self)
        cls.free_at = max(cls.free_at, loop.time()) + cls.seconds
        loop.call_at(cls.free_at, self.answer, item_id)

    def answer(self, item_id: str) -> None:
        body = {"itemId": item_id, "outcome": "deleted", "containers": containers_of(1)}
        content = json.dumps(body).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
        self.transport.write(head + content)


async def loaded(seconds: float, rate: float) -> open_loop.OpenMeasured:
    SlowServer.seconds, SlowServer.free_at = seconds, 0.0
    loop = asyncio.get_running_loop()
    server = await loop.create_server(SlowServer, "127.0.0.1", 0)
    try:
        return await measure(
            port=server.sockets[0].getsockname()[1],
            pid=os.getpid(),
            containers=1,
            items=10,
            rate=rate,
            warm_up=0.05,
            seconds=0.5,
        )
    finally:
        server.close()


async def test_every_request_is_answered_and_counted_once() -> None:
    measured = await loaded(0.0, rate=100)
    assert measured.errors == {}
    assert measured.answered == measured.sent > 20


async def test_waiting_for_a_free_connection_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two connections to a server that takes 20 ms for each: a closed loop would see 40 ms. At
    # twice the rate that it can carry, the last request has waited for half of the time.
    monkeypatch.setattr(open_loop, "CONNECTIONS", 2)
    measured = await loaded(0.02, rate=100)
    assert measured.errors == {}
    assert measured.answered == measured.sent
    assert measured.worst > 0.15
