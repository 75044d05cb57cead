"""A server: what it listens on, how many it lets in, and how it closes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from support.wire import Connection, connected, exchange, request

from web.server import HttpServer


def server_of(app: web.Application, *, port: int = 0, max_connections: int = 3) -> HttpServer:
    return HttpServer(
        app,
        host="127.0.0.1",
        port=port,
        setting="TAKEDOWN_HTTP_PORT",
        max_connections=max_connections,
    )


def application(seconds: float = 0.0) -> web.Application:
    async def handle(_request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_get("/", handle)
    return app


async def test_a_free_port_is_taken_and_told() -> None:
    one, other = server_of(application()), server_of(application())
    await one.open()
    await other.open()

    assert one.address != other.address
    assert not one.address.endswith(":0")
    assert (await exchange(one.address, request("GET", "/"))).status == 200
    await one.close()
    await other.close()


async def test_more_connections_than_allowed_are_closed_at_once_while_all_are_in_use() -> None:
    server = server_of(application(seconds=1.0), max_connections=2)
    await server.open()
    async with connected(server.address) as one, connected(server.address) as two:
        for connection in (one, two):
            await connection.send(request("GET", "/", close=False))
        await asyncio.sleep(0.5)
        async with connected(server.address) as three:
            await three.send(request("GET", "/"))
            assert await three.answer() is None
        assert server.connections == 2
        for connection in (one, two):
            assert await connection.answer() is not None
    await server.close()


async def test_a_connection_that_waits_for_a_request_makes_room_for_a_new_one() -> None:
    server = server_of(application(), max_connections=3)
    await server.open()
    async with (
        connected(server.address) as first,
        connected(server.address) as second,
        connected(server.address) as silent,
        AsyncExitStack() as stack,
    ):
        for connection in (first, second):
            await connection.send(request("GET", "/", close=False))
            assert await connection.answer() is not None
        await silent.send(b"GET / HT")

        # The one without a complete request goes first, then the one that has waited longest.
        for gone in (silent, first):
            other = await stack.enter_async_context(connected(server.address))
            await other.send(request("GET", "/", close=False))
            answer = await other.answer()
            assert answer is not None
            assert answer.status == 200
            assert await gone.closed(within=0.1)
        await second.send(request("GET", "/"))
        assert await second.answer() is not None
    await server.close()


async def test_a_request_that_runs_is_answered_before_the_server_is_closed() -> None:
    server = server_of(application(seconds=1.0))
    await server.open()
    async with connected(server.address) as connection:
        await connection.send(request("GET", "/", close=False))
        await asyncio.sleep(0.5)
        closing = asyncio.ensure_future(server.close())
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 200
        await closing
    with pytest.raises(ConnectionRefusedError):
        await exchange(server.address, request("GET", "/"))


async def test_a_request_that_takes_too_long_does_not_keep_the_server_open() -> None:
    server = server_of(application(seconds=3600))
    await server.open()
    async with connected(server.address) as connection:
        await connection.send(request("GET", "/"))
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()

        await server.close()

        assert asyncio.get_running_loop().time() - began < 5
        assert await connection.closed()


async def test_closing_a_server_that_was_never_opened_does_nothing() -> None:
    await server_of(application()).close()


async def test_an_error_of_a_handler_is_a_problem_that_gives_nothing_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handle(_request: web.Request) -> web.Response:
        raise RuntimeError("a secret")

    app = web.Application()
    app.router.add_get("/", handle)
    server = server_of(app)
    await server.open()

    answer = await exchange(server.address, request("GET", "/"))

    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:takedown:problem:internal-error"
    assert b"secret" not in answer.body
    assert "a secret" in caplog.text
    await server.close()


async def test_idle_connections_do_not_keep_the_server_open() -> None:
    server = server_of(application())
    await server.open()
    idle: list[Connection] = []
    async with connected(server.address) as one, connected(server.address) as two:
        idle += [one, two]
        await two.send(b"GET / HT")
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()

        await server.close()

        assert asyncio.get_running_loop().time() - began < 1
        assert [await connection.closed() for connection in idle] == [True, True]
