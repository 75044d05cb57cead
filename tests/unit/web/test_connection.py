"""What one connection can cost: peers that do not read, read slowly, or send without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from support.wire import connected, request

from web.server import HttpServer

GET = request("GET", "/", close=False)


@asynccontextmanager
async def serving(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, maximum: int = 10
) -> AsyncIterator[HttpServer]:
    server = HttpServer(handle, host="127.0.0.1", port=0, setting="PORT", max_connections=maximum)
    await server.open()
    yield server
    await server.close()


@asynccontextmanager
async def deaf(server: HttpServer) -> AsyncIterator[asyncio.StreamWriter]:
    """A client that reads nothing of what it is sent."""
    port = int(server.address.rpartition(":")[2])
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's has it
    yield writer
    writer.transport.abort()


async def large(_request: web.BaseRequest) -> web.Response:
    return web.Response(body=b"x" * 10_000_000)


async def small(_request: web.BaseRequest) -> web.Response:
    return web.Response(body=b"x" * 1000)


@pytest.mark.parametrize("close", [True, False])
async def test_a_client_that_never_reads_its_answer_is_disconnected_after_15_s(
    close: bool,
) -> None:
    async with serving(large) as server, deaf(server) as client:
        client.write(request("GET", "/", close=close))
        await asyncio.sleep(14)
        assert server.connections == 1

        await asyncio.sleep(3)
        assert server.connections == 0


async def test_requests_of_a_client_that_reads_no_answer_are_not_handled_any_further() -> None:
    handled = 0

    async def count(request: web.BaseRequest) -> web.Response:
        nonlocal handled
        handled += 1
        return await small(request)

    async with serving(count) as server, deaf(server) as client:
        for _ in range(1000):
            client.write(GET * 20)
        await asyncio.sleep(5)
        assert 0 < handled < 1000
        before = handled
        await asyncio.sleep(5)
        assert handled == before

        await asyncio.sleep(10)
        assert server.connections == 0


async def test_a_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    async with serving(large) as server:
        port = int(server.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(request("GET", "/"))
        size = 0
        while data := await reader.read(100_000):
            size += len(data)
            await asyncio.sleep(0.2)
        assert size > 10_000_000
        writer.close()


async def test_what_is_sent_behind_the_last_answer_does_not_destroy_it() -> None:
    async with serving(small) as server, connected(server.address) as connection:
        await connection.send(request("GET", "/"))
        await asyncio.sleep(0.1)
        await connection.send(GET * 1000)
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 200
        assert await connection.closed(within=1.5)


CHUNKED = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "parts", [[b"2\r\nab\r", b"\n\r\n"], [b"2\r\nab\r\n", b"x\r\n"], [b"2\r\nabc", b"\r\n"]]
)
async def test_whoever_reads_a_body_that_breaks_hears_of_it_at_once(parts: list[bytes]) -> None:
    """Also when the end of a chunk, and nothing else, came in the same piece."""

    async def read(request: web.BaseRequest) -> web.Response:
        try:
            await request.read()
        except web.RequestPayloadError:
            return web.Response(status=400)
        return web.Response()

    async with serving(read) as server, connected(server.address) as connection:
        await connection.send(CHUNKED)
        for part in parts:
            await connection.send(part)
            await asyncio.sleep(0.1)
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 400


async def test_the_head_of_a_request_has_a_largest_size() -> None:
    async with serving(small) as server, connected(server.address) as connection:
        await connection.send(b"GET / HTTP/1.1\r\n")
        for number in range(60):
            await connection.send(f"X-{number}: {'x' * 8000}\r\n".encode())
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 400


async def test_while_it_drains_each_answer_is_the_last_one_of_its_connection() -> None:
    async def slow(request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(1)
        return await small(request)

    async with (
        serving(slow) as server,
        connected(server.address) as one,
        connected(server.address) as two,
    ):
        await one.send(GET)
        await asyncio.sleep(0.5)
        server.drain()
        await two.send(GET)
        for connection in (one, two):
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            assert await connection.closed(within=0.1)


async def test_a_request_that_comes_just_before_it_stops_listening_is_handed_on_before_that() -> (
    None
):
    handled = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.Response:
        handled.set()
        return await small(request)

    async with serving(handle) as server, connected(server.address) as idle:
        await idle.send(GET)
        assert await idle.answer() is not None
        handled.clear()
        await idle.send(GET)
        for _ in range(2):  # the loop receives the request, and that is all
            await asyncio.sleep(0)
        assert not handled.is_set()
        await server.stop_listening()
        assert handled.is_set()
        answer = await idle.answer()
        assert answer is not None
        assert answer.status == 200


async def test_when_it_stops_listening_new_connections_are_refused_and_idle_ones_closed() -> None:
    async with (
        serving(small) as server,
        connected(server.address) as idle,
        connected(server.address) as new,
    ):
        await idle.send(GET)
        assert await idle.answer() is not None
        stopping = asyncio.create_task(server.stop_listening())
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            async with connected(server.address):
                pass
        assert await idle.closed(within=0.1)
        # A connection that has just been made has its first request in flight, perhaps.
        assert not stopping.done()
        await new.send(GET)
        answer = await new.answer()
        assert answer is not None
        assert answer.headers["connection"] == "close"
        await stopping


async def test_a_client_that_does_not_read_its_answer_makes_room_for_a_new_one() -> None:
    async with serving(large, maximum=2) as server, deaf(server) as one, deaf(server) as two:
        for client in (one, two):
            client.write(GET)
            await asyncio.sleep(0.5)
        async with connected(server.address) as other:
            await other.send(request("HEAD", "/"))
            answer = await other.answer(head=True)
            assert answer is not None
            assert answer.status == 200
        assert not two.transport.is_closing()


async def test_a_client_that_reads_again_makes_room_no_more() -> None:
    release = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.Response:
        if request.path == "/wait":
            await release.wait()
        return await large(request)

    async with serving(handle, maximum=1) as server:
        port = int(server.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await asyncio.sleep(0.5)  # it has not read all, and then it does
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(10_000_000)
        writer.write(request("GET", "/wait"))
        await asyncio.sleep(0.5)
        async with connected(server.address) as other:
            await other.send(GET)
            assert await other.answer() is None
        release.set()
        assert len(await reader.read()) > 10_000_000
        writer.close()
