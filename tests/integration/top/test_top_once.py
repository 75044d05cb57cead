"""`takedown top --once`, as scripts use it, and a server that is not what it should be."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from support.fakes import ITEM, places
from support.processes import ROOT
from support.watched import watched

from operations.top.client import Client, Unreachable
from operations.top.query import Wanted
from operations.top.world import Unintelligible, World
from web.server import HttpServer

NOBODY = "http://127.0.0.1:9"


async def run_top(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Its status, output and error output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "service.py"),
        "top",
        *arguments,
        env=clean | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def api(app: web.Application) -> AsyncIterator[str]:
    own = HttpServer(app, host="127.0.0.1", port=0, setting="", max_connections=10)
    await own.open()
    try:
        yield own.address
    finally:
        await own.close()


@pytest.mark.parametrize("arguments", [("--once",), ()])
async def test_it_prints_one_picture_as_plain_text(arguments: tuple[str, ...]) -> None:
    async with watched() as own:
        office = own.look.office
        office.catalogue.items[ITEM] = places("group:1", "\x1b[31mevil")
        asked = office.ask(seconds=60)

        status, output, errors = await run_top("--url", own.url, *arguments)

        assert (status, errors) == (0, "")
        assert "READY" in output
        assert "in flight 1 / 300" in output
        assert any(
            "Active" in line and "0/2" in line and r"group:1 \x1b[31mevil" in line
            for line in output.splitlines()
        )
        assert "\x1b" not in output
        office.delete("group:1", "\x1b[31mevil")
        await asked


async def test_without_an_answer_it_says_so_in_one_line_and_fails() -> None:
    status, output, errors = await run_top("--url", NOBODY, "--once")

    assert (status, output) == (1, "")
    assert errors.startswith(f"takedown: {NOBODY}: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TAKEDOWN_ADMIN_PORT": "0"}, "--url must be given"),
        ({"TAKEDOWN_ADMIN_PORT": "many"}, "TAKEDOWN_ADMIN_PORT must be"),
        ({"TAKEDOWN_ADMIN_PROT": "1"}, "is TAKEDOWN_ADMIN_PORT meant?"),
    ],
)
async def test_settings_that_do_not_say_where_are_named(
    environment: dict[str, str], words: str
) -> None:
    status, _, errors = await run_top("--once", **environment)

    assert status == 2
    assert words in errors


async def test_the_settings_say_where_the_server_is() -> None:
    async with watched() as own:
        port = own.url.rpartition(":")[2]
        environment = {"TAKEDOWN_ADMIN_HOST": "0.0.0.0", "TAKEDOWN_ADMIN_PORT": port}  # noqa: S104

        status, output, _ = await run_top("--once", **environment)

    assert status == 0
    assert f"takedown at http://127.0.0.1:{port}" in output


async def test_a_worker_of_a_service_without_workers_is_refused() -> None:
    async with watched() as own:
        status, _, errors = await run_top("--once", "--url", own.url, "--worker", "1")

    assert status == 1
    assert "no workers" in errors


async def test_of_a_service_with_workers_the_first_is_shown_or_the_one_that_is_named() -> None:
    async with watched() as own:
        asked: list[str] = []

        async def pass_on(request: web.Request) -> web.StreamResponse:
            asked.append(request.match_info["number"])
            raise web.HTTPTemporaryRedirect(own.url)  # which a viewer must not follow

        app = web.Application()
        app.router.add_get("/workers", _three_workers)
        app.router.add_get("/workers/{number}/{tail:.*}", pass_on)
        async with api(app) as url, Client(url) as first, Client(url, 2) as named:
            for client in (first, named):
                with pytest.raises(Unreachable, match="307"):
                    await client.takedown("x")
            named.next_worker()

        assert asked == ["0", "2"]
        assert named.worker == 0
        assert own.look.readiness.health().ready


async def _three_workers(_request: web.Request) -> web.Response:
    return web.json_response({"workers": [{}, {}, {}]})


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"workers": 3}', b"<html>", b"\xff\xfe", b"[" * 100_000]
)
async def test_a_server_that_is_something_else_is_not_taken_for_ours(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    async with api(app) as url, Client(url) as client:
        with pytest.raises(Unreachable):
            await client.takedown("x")
        with pytest.raises(Unreachable):
            async for _ in client.events(Wanted()):
                pass


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("snapshot", b"{}"),
        ("snapshot", b"[" * 100_000),
        ("snapshot", b'{"at":"x","views":{"actors":{"total":-1}}}'),
        (
            "change",
            b'{"at":"x","views":{"actors":{"total":1,"order":["a"],"changed":[],"next":null}}}',
        ),
        ("change", b"\xff"),
    ],
)
def test_an_event_that_is_none_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(Unintelligible):
        World().apply(kind, data, 0.0)


async def test_a_stream_is_taken_up_again_where_it_broke_off() -> None:
    seen: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"retry: 2000\n\n: nothing new\n\nevent: change\nid: e-7\nda")
        await response.write(b"ta: {}\n\nevent: change\nid: e-8\ndata: half")
        return response

    app = web.Application()
    app.router.add_get("/stream", stream)
    async with api(app) as url, Client(url) as client:
        for wanted in (Wanted(), Wanted(), Wanted(sort="state")):
            assert await _events(client, wanted) == [("open", b""), ("change", b"{}")]
        client.begin_anew()
        await _events(client, Wanted(sort="state"))

    assert seen == [None, "e-7", None, None]


async def _events(client: Client, wanted: Wanted) -> list[tuple[str, bytes]]:
    """What a stream says until it breaks off."""
    events: list[tuple[str, bytes]] = []
    try:
        async for event in client.events(wanted):
            events.append(event)  # noqa: PERF401 - it ends with an exception
    except Unreachable:
        return events
    raise AssertionError("it did not break off")
