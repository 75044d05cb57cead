"""The soak counts takedowns, not time: its windows are alike, and what is wrong is told."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable

import pytest

from dev.bench import soak
from dev.bench.items import containers_of
from dev.bench.load import BROKEN
from dev.bench.report import MINIMAL, SERVICE
from dev.bench.soak import Gauge, Side, Soaked, Window, measure, moments

ASKED = {"containers": 1, "items": 10, "concurrency": 4}


class Server:
    """Answers at once; `broken` says whether the n-th of all is a 503, `rude` whether it hangs up.

    Args:
        asked: notes the name of each server that is asked, in order; shared by both.
    """

    def __init__(self, name: str, asked: list[str]) -> None:
        self.name = name
        self.asked = asked
        self.item_ids: list[str] = []
        self.connections: list[asyncio.Transport] = []
        self.broken: Callable[[int], bool] = lambda _: False
        self.rude: Callable[[int], bool] = lambda _: False

    @property
    def answered(self) -> int:
        return len(self.item_ids)


class Answers(asyncio.Protocol):
    """One connection to a `Server`."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.append(transport)

    def data_received(self, data: bytes) -> None:
        item_id = data.split(b" ")[1].rsplit(b"/")[-1].decode()
        server = self.server
        server.item_ids.append(item_id)
        server.asked.append(server.name)
        if server.rude(server.answered):
            self.transport.close()
            return
        body = {"itemId": item_id, "outcome": "deleted", "containers": containers_of(1)}
        content = json.dumps(body).encode()
        status = b"503 No" if server.broken(server.answered) else b"200 OK"
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(content))
        self.transport.write(head + content)


class Both:
    """The service and the minimal bridge, and a soak of them.

    Attributes:
        asked: who was asked, in order.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.service = Server(SERVICE, self.asked)
        self.minimal = Server(MINIMAL, self.asked)

    def __getitem__(self, name: str) -> Server:
        return {SERVICE: self.service, MINIMAL: self.minimal}[name]

    async def soaked(self, **changes: float) -> Soaked:
        loop = asyncio.get_running_loop()
        service = await loop.create_server(lambda: Answers(self.service), "127.0.0.1", 0)
        minimal = await loop.create_server(lambda: Answers(self.minimal), "127.0.0.1", 0)
        where = {
            "port": service.sockets[0].getsockname()[1],
            "pid": os.getpid(),
            "yardstick_port": minimal.sockets[0].getsockname()[1],
            "yardstick_pid": os.getppid(),
        }
        sizes = {"takedowns": 200, "windows": 10, "warm_up": 20, "rate": 0.0}
        try:
            return await asyncio.wait_for(measure(**ASKED | sizes | where | changes), 60)
        finally:
            service.close()
            minimal.close()


@pytest.fixture
def both() -> Both:
    return Both()


@pytest.fixture
def costs(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU by what is done: 300 us for a request to the service, 200 for one to the bridge.

    Each has something to do, too, while the other one is asked.
    """

    def cpu_of(pid: int) -> float:
        service, minimal = both.service.answered, both.minimal.answered
        if pid == os.getpid():
            return 300e-6 * service + 50e-6 * minimal
        return 200e-6 * minimal + 50e-6 * service

    monkeypatch.setattr(soak, "cpu_of", cpu_of)


@pytest.mark.usefixtures("costs")
async def test_they_take_turns_and_none_is_asked_in_the_others(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "TURN", 5)
    found = await both.soaked()
    assert (found.warm_up, found.each, len(found.windows), found.errors) == (20, 20, 10, {})
    assert both.asked[:40] == [SERVICE] * 20 + [MINIMAL] * 20
    first, second = [SERVICE] * 5 + [MINIMAL] * 5, [MINIMAL] * 5 + [SERVICE] * 5
    assert both.asked[40:] == (first + second) * 2 * 10


@pytest.mark.usefixtures("costs")
async def test_takedowns_that_cannot_be_cut_into_even_turns_are_asked_all_the_same(
    both: Both,
) -> None:
    found = await both.soaked(takedowns=230)
    assert (found.each, len(found.windows)) == (23, 10)
    assert Counter(both.asked) == {SERVICE: 250, MINIMAL: 250}
    assert found.windows[-1].cpu_us == pytest.approx(300)


@pytest.mark.usefixtures("costs")
async def test_what_one_does_while_the_other_is_asked_is_in_no_figure(both: Both) -> None:
    for window in (await both.soaked()).windows:
        assert window.cpu_us == pytest.approx(300)
        assert window.yardstick_us == pytest.approx(200)
        assert window.ratio == pytest.approx(1.5)
        assert window.seconds > 0
        assert window.memory_mb > 1


@pytest.mark.usefixtures("costs")
async def test_a_turn_has_as_many_as_asked_for_also_with_more_callers_than_that(
    both: Both,
) -> None:
    await both.soaked(concurrency=64)
    assert Counter(both.asked) == {SERVICE: 220, MINIMAL: 220}


@pytest.mark.usefixtures("costs")
async def test_by_the_clock_both_are_asked_for_the_same_items_at_one_rate(both: Both) -> None:
    found = await both.soaked(rate=2000.0)
    assert (found.warm_up, found.each, len(found.windows), found.errors) == (20, 20, 10, {})
    assert 220 <= both.service.answered < 220 + 2 * ASKED["concurrency"]
    assert Counter(both.service.item_ids) == Counter(both.minimal.item_ids)
    assert all(window.cpu_us > 0 and window.memory_mb > 1 for window in found.windows)


async def test_the_cpu_is_that_of_the_process(both: Both) -> None:
    found = await both.soaked(yardstick_pid=os.getpid())
    assert all(window.cpu_us > 0 and window.yardstick_us > 0 for window in found.windows)


# --------------------------------------------------------------------- what goes wrong


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize("whose", [SERVICE, MINIMAL])
@pytest.mark.parametrize(("number", "windows"), [(7, 0), (50, 1)])
async def test_a_bad_answer_ends_it_and_is_told_with_whose_it_is(
    both: Both, whose: str, number: int, windows: int
) -> None:
    both[whose].broken = lambda count: count == number
    found = await both.soaked()
    assert found.errors == {whose: {"503": 1}}
    assert len(found.windows) == windows
    assert number <= both[whose].answered < number + ASKED["concurrency"]


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize("whose", [SERVICE, MINIMAL])
@pytest.mark.parametrize("rate", [0.0, 500.0])
async def test_a_lost_connection_ends_it_and_is_told_with_whose_it_is(
    both: Both, whose: str, rate: float
) -> None:
    both[whose].rude = lambda count: count == 7
    found = await both.soaked(rate=rate, takedowns=1_000_000)
    assert found.errors == {whose: {BROKEN: 1}}
    assert found.windows == []


@pytest.mark.usefixtures("costs")
async def test_who_hangs_up_while_the_other_is_asked_is_told(both: Both) -> None:
    def hang_up(count: int) -> bool:
        if count == 30:
            both.minimal.connections[0].close()
        return False

    both.service.broken = hang_up
    found = await both.soaked()
    assert found.errors == {MINIMAL: {BROKEN: 1}}
    assert found.windows == []


@pytest.mark.usefixtures("costs")
@pytest.mark.parametrize("whose", [SERVICE, MINIMAL])
async def test_a_soak_by_the_clock_ends_at_a_bad_answer_not_after_an_hour(
    both: Both, whose: str
) -> None:
    both[whose].broken = lambda count: count == 7
    found = await both.soaked(rate=500.0, takedowns=1_000_000)
    assert found.errors == {whose: {"503": 1}}
    assert found.windows == []


# ------------------------------------------------------------------------ by the clock


def test_the_moments_are_a_process_of_that_rate_and_always_the_same() -> None:
    times = list(itertools.islice(moments(400.0), 10_000))
    assert times == sorted(times)
    assert times == list(itertools.islice(moments(400.0), 10_000))
    assert times[-1] == pytest.approx(25, rel=0.05)


@pytest.mark.usefixtures("costs")
async def test_it_keeps_its_rate(both: Both) -> None:
    found = await both.soaked(rate=400.0)
    assert 0.3 < sum(window.seconds for window in found.windows) < 5  # half a second's worth


class Gauged:
    """A gauge whose servers have answered, and used, what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = Side(SERVICE, os.getpid(), 1, 10)
        self.minimal = Side(MINIMAL, os.getppid(), 1, 10)
        self.cpu = {self.service.pid: 10.0, self.minimal.pid: 20.0}
        monkeypatch.setattr(soak, "cpu_of", self.cpu.__getitem__)
        self.gauge = Gauge(self.service, self.minimal, warm_up=3, each=2, windows=2)

    def answered(self, *, by_minimal: int = 1, cpu: float = 0.0, minimal_cpu: float = 0.0) -> None:
        """One more by the service."""
        self.minimal.taken += by_minimal
        self.cpu[self.minimal.pid] += minimal_cpu
        self.cpu[self.service.pid] += cpu
        self.service.taken += 1
        self.gauge.answered()

    @property
    def windows(self) -> list[Window]:
        return self.gauge.windows


@pytest.fixture
def gauged(monkeypatch: pytest.MonkeyPatch) -> Gauged:
    return Gauged(monkeypatch)


def test_the_first_window_begins_after_the_warm_up(gauged: Gauged) -> None:
    full = []
    for cpu in (10.0, 10.0, 10.0, 0.25, 0.25, 1.0, 1.0):
        gauged.answered(cpu=cpu)
        full.append(gauged.gauge.full)
    assert full == [False] * 6 + [True]
    assert [window.cpu_us for window in gauged.windows] == [0.25e6, 1e6]


def test_the_bridges_cpu_is_divided_by_its_own_answers_meanwhile(gauged: Gauged) -> None:
    for _ in range(3):
        gauged.answered(by_minimal=1)
    gauged.answered(by_minimal=0, minimal_cpu=1.0)
    gauged.answered(by_minimal=4, minimal_cpu=1.0)
    assert [window.yardstick_us for window in gauged.windows] == [0.5e6]


def test_a_bridge_that_answers_nothing_for_a_window_is_an_error(gauged: Gauged) -> None:
    for _ in range(5):
        gauged.answered(by_minimal=0)
    assert gauged.windows == []
    assert gauged.minimal.errors == {"no answer in a window": 1}


def test_answers_after_the_last_window_begin_no_other(gauged: Gauged) -> None:
    for _ in range(20):
        gauged.answered(cpu=0.1, minimal_cpu=0.1)
    assert len(gauged.windows) == 2
