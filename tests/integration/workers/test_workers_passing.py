"""Questions that are passed on to one worker's admin API, streams among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from app.workers.api import WorkersApi
from app.workers.client import Questions
from app.workers.proxy import Passing
from coordinator.readiness import Health
from web.server import HttpServer

CHUNK = b"x" * 65536


class Worker:
    """A worker's admin API, with what one might have some day."""

    def __init__(self) -> None:
        self.health = Health({"running": None})
        self.sent = 0
        self.streams = 0
        self.seen: list[web.Request] = []
        self.go_on = asyncio.Event()
        app = web.Application()
        app.router.add_get("/echo{tail:.*}", self._echo)
        app.router.add_get("/events", self._events)
        app.router.add_get("/flood", self._flood)
        app.router.add_get("/breaks", self._breaks)
        app.router.add_get("/silent", self._silent)
        self.server = server_of(app)

    async def _echo(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        return web.Response(
            status=418,
            text=request.raw_path,
            headers={"ETag": '"7"', "Cache-Control": "no-cache", "X-Of-The-Worker": "yes"},
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.streams += 1
        try:
            for number in range(1000):
                await response.write(b"data: %d\n\n" % number)
                await self.go_on.wait()
                await asyncio.sleep(0.01)
        finally:
            self.streams -= 1
        return response

    async def _flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(4096):
            await response.write(CHUNK)
            self.sent += len(CHUNK)
        return response

    async def _breaks(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half of it")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _silent(self, _request: web.Request) -> web.StreamResponse:
        await asyncio.get_running_loop().create_future()
        raise AssertionError


def server_of(app: web.Application) -> HttpServer:
    return HttpServer(app, host="127.0.0.1", port=0, setting="TEST", max_connections=64)


class Office:
    """A supervisor's admin API in front of one worker."""

    def __init__(self, questions: Questions) -> None:
        self.worker = Worker()
        self.keeper = SimpleNamespace(
            number=0, worker=SimpleNamespace(admin=None, pid=1), state="starting"
        )
        supervisor: Any = SimpleNamespace(keepers=[self.keeper], stopping=False)
        self.application = WorkersApi(supervisor, questions)
        self.server = server_of(self.application.application())

    @property
    def address(self) -> str:
        return f"{self.server.address}/workers/0"

    @property
    def passing(self) -> Passing:
        return self.application._passing


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with Questions() as questions:
        office = Office(questions)
        await office.worker.server.open()
        await office.server.open()
        office.keeper.worker.admin = office.worker.server.address
        office.keeper.state = "running"
        yield office
        await office.server.close()
        office.worker.go_on.set()
        await office.worker.server.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def eventually(condition: Any, *, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - a server's own turns
            await asyncio.sleep(0.01)


async def test_path_query_and_headers_go_there_and_status_headers_and_body_come_back(
    office: Office, http: aiohttp.ClientSession
) -> None:
    headers = {"If-None-Match": '"6"', "Last-Event-ID": "5", "Cookie": "a=b"}
    url = URL(f"{office.address}/echo/a%2Fb/%C3%BC?x=%20&y=1", encoded=True)
    plain = ["Accept-Encoding"]
    async with http.get(url, headers=headers, skip_auto_headers=plain) as answer:
        assert answer.status == 418
        assert await answer.text() == "/echo/a%2Fb/%C3%BC?x=%20&y=1"
        assert answer.headers["ETag"] == '"7"'
        assert answer.headers["X-Of-The-Worker"] == "yes"
        assert answer.headers.getall("Content-Type") == ["text/plain; charset=utf-8"]
    (seen,) = office.worker.seen
    assert seen.headers["If-None-Match"] == '"6"'
    assert seen.headers["Last-Event-ID"] == "5"
    # Nothing is asked for in the caller's name that it did not ask for.
    assert not {"Cookie", "Accept-Encoding", "User-Agent"} & set(seen.headers)


async def test_a_head_without_a_body_comes_back_as_it_is(
    office: Office, http: aiohttp.ClientSession
) -> None:
    async with http.head(f"{office.address}/echo") as answer:
        assert answer.status == 418
        assert answer.headers["Content-Length"] == str(len("/echo"))
        assert await answer.read() == b""


async def test_each_event_of_a_stream_comes_as_soon_as_the_worker_sends_it(
    office: Office, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{office.address}/events") as answer:
        assert answer.content_type == "text/event-stream"
        async with asyncio.timeout(5):
            assert await answer.content.readline() == b"data: 0\n"
            office.worker.go_on.set()
            for number in range(1, 20):
                await answer.content.readline()
                assert await answer.content.readline() == b"data: %d\n" % number


async def test_a_listener_that_hangs_up_frees_the_worker_even_if_nothing_happens_there(
    office: Office, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{office.address}/events") as answer:
        await answer.content.readline()
        assert (office.passing.under_way, office.worker.streams) == (1, 1)
        answer.close()
    await eventually(lambda: office.passing.under_way == 0)
    office.worker.go_on.set()
    await eventually(lambda: office.worker.streams == 0)


async def test_a_listener_that_reads_nothing_holds_the_worker_back_and_not_our_memory(
    office: Office, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{office.address}/flood") as answer:
        before = -1
        while office.worker.sent != before:
            before = office.worker.sent
            await asyncio.sleep(0.5)
        # What the sockets of both hops hold; the whole would be 256 MB.
        assert office.worker.sent < 48 * 2**20
        answer.close()


async def test_an_answer_that_breaks_off_does_not_look_like_a_whole_one(
    office: Office, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.ClientError):
        async with http.get(f"{office.address}/breaks") as answer:
            await answer.read()
    assert office.passing.under_way == 0


async def test_a_worker_that_does_not_answer_is_a_502_and_one_that_is_not_there_a_503(
    office: Office, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{office.address}/silent") as answer:
        assert (answer.status, answer.content_type) == (502, "application/problem+json")
    office.keeper.worker.admin = "http://127.0.0.1:9"
    async with http.get(f"{office.address}/echo") as answer:
        assert answer.status == 502
    office.keeper.worker = None
    office.keeper.state = "restarting"
    async with http.get(f"{office.address}/echo") as answer:
        assert answer.status == 503
        assert (await answer.json())["detail"] == "Worker 0 is restarting"


async def test_more_streams_than_allowed_are_refused(
    office: Office, http: aiohttp.ClientSession
) -> None:
    office.passing._maximum = 1
    async with (
        http.get(f"{office.address}/events"),
        http.get(f"{office.address}/echo") as refused,
    ):
        assert refused.status == 503
        assert refused.headers["Retry-After"] == "1"


async def test_the_front_page_leads_to_each_workers_dashboard_under_the_same_policy(
    office: Office, http: aiohttp.ClientSession
) -> None:
    office.keeper.state = "<running>"
    async with http.get(f"{office.server.address}/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        page = await answer.text()
    assert '<a href="workers/0/">Worker 0</a>: &lt;running&gt;' in page
    async with http.get(f"{office.address}/echo") as answer:
        assert answer.status == 418, "the worker's own pages are below that address"
