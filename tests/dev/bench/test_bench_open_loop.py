"""The open load: it asks when it is time, and counts from when it was to ask."""

from __future__ import annotations

import asyncio
import json
import os
import time

import pytest

from dev.bench import open_loop
from dev.bench.items import containers_of
from dev.bench.load import BROKEN
from dev.bench.open_loop import OpenCaller, OpenLoad, measure, prefer, schedule


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


async def loaded(
    seconds: float, rate: float, server: type[SlowServer] = SlowServer
) -> open_loop.OpenMeasured:
    server.seconds, server.free_at = seconds, 0.0
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server, "127.0.0.1", 0)
    try:
        return await measure(
            port=listening.sockets[0].getsockname()[1],
            pid=os.getpid(),
            containers=1,
            items=10,
            rate=rate,
            warm_up=0.05,
            seconds=0.5,
        )
    finally:
        listening.close()


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


class RudeServer(SlowServer):
    """Hangs up on whoever has not asked for a moment."""

    patience = 0.02

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.asked = False
        asyncio.get_running_loop().call_later(self.patience, self.look)

    def look(self) -> None:
        if not self.asked:
            self.transport.close()
            return
        self.asked = False
        asyncio.get_running_loop().call_later(self.patience, self.look)

    def data_received(self, data: bytes) -> None:
        self.asked = True
        super().data_received(data)


async def test_a_server_that_hangs_up_on_the_idle_is_told_and_not_asked_there_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_loop, "LAST_ANSWERS", 0.2)
    measured = await loaded(0.0, rate=100, server=RudeServer)
    assert measured.errors.keys() == {BROKEN, "no answer"}


async def test_connections_take_turns_so_that_none_is_idle_for_long() -> None:
    load = OpenLoad(1, 10)
    asked: list[int] = []

    class Noting(OpenCaller):
        def __init__(self, number: int) -> None:
            super().__init__(load)
            self.number = number

        def ask_now(self, _intended: float) -> None:
            asked.append(self.number)
            load.idle.append(self)

    load.idle.extend(Noting(number) for number in range(3))
    for _ in range(6):
        load.request(0.0)
    assert asked == [0, 1, 2, 0, 1, 2]


async def test_what_the_generator_was_late_by_is_told_and_is_part_of_the_latency() -> None:
    load = OpenLoad(1, 10)
    load.measured_from = 0.0
    caller = OpenCaller(load)
    caller.transport = Sink()  # type: ignore[assignment]
    due = time.perf_counter() - 0.5
    caller.ask_now(due)
    caller.answered(b"200", caller.sent_at + 0.25)
    (late,), (since_sent,), (latency,) = load.late, load.since_sent, load.latencies
    assert late >= 0.5
    assert since_sent == pytest.approx(0.25)
    assert latency == pytest.approx(late + since_sent)


async def test_the_warm_ups_requests_are_in_no_figure() -> None:
    load = OpenLoad(1, 10)
    load.measured_from = time.perf_counter()
    caller = OpenCaller(load)
    caller.transport = Sink()  # type: ignore[assignment]
    caller.ask_now(load.measured_from - 0.001)
    caller.answered(b"200", time.perf_counter())
    assert not load.late
    assert not load.since_sent
    assert not load.latencies


class Sink:
    """Where nothing listens."""

    def write(self, _data: bytes) -> None:
        pass


def test_a_priority_that_one_may_not_take_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr("os.setpriority", refuse)
    assert prefer(-20) == os.getpriority(os.PRIO_PROCESS, 0) > -20
