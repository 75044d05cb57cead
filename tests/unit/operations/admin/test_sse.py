"""The admin API's streams over a virtual network."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.fakes import takedown
from support.operators_api import DOCUMENT, Api, api, conforms, finish
from support.settling import settle
from support.wire import Connection, connected, exchange, request

from domain.messages import TakeDown

# A virtual socket has no buffer in a kernel, whose size a stream sets.
pytestmark = pytest.mark.filterwarnings("ignore:Ignoring socket option")


class Events:
    """A stream of server-sent events, read as a browser does."""

    def __init__(self, connection: Connection) -> None:
        self._reader = connection._reader
        self._body = b""

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def next(self, within: float = 20.0) -> dict[str, str]:
        """The next event or comment, by field."""
        async with asyncio.timeout(within):
            while b"\n\n" not in self._body:
                size = int(await self._reader.readline(), 16)
                if size == 0:
                    raise EOFError
                self._body += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
        event, _, self._body = self._body.partition(b"\n\n")
        fields = (line.partition(": ") for line in event.decode().split("\n"))
        return {name: value for name, _, value in fields}


@asynccontextmanager
async def watching_stream(own: Api, path: str, *headers: str) -> AsyncIterator[Events]:
    async with connected(own.server.address) as connection:
        await connection.send(request("GET", path, *headers, close=False))
        events = Events(connection)
        status, answer = await events.head()
        assert (status, answer["content-type"]) == (200, "text/event-stream")
        assert answer["cache-control"] == "no-store"
        assert await events.next() == {"retry": "2000"}
        yield events


EVENTS = DOCUMENT["paths"]["/stream"]["get"]["x-events"]


async def test_a_stream_of_every_view_conforms_snapshot_and_change() -> None:
    async with api() as own:
        takedown_id = str((await _begun(own)).takedown.takedown_id)
        views = "overview,actors,machines,statistics,recent,history,losses"
        path = f"/stream?view={views},takedown&takedownId={takedown_id}"
        async with watching_stream(own, path) as events:
            first = await events.next()
            assert first["event"] == "snapshot"
            body = json.loads(first["data"])
            conforms(body, EVENTS["snapshot"])
            assert set(body["views"]) == {*views.split(","), "takedown"}
            own.look.office.delete("a", "b")
            await settle()
            own.look.observatory.losses.skipped("item_deleted", 1, 2, "no JSON")
            await own.look.tick(6)
            names: set[str] = set()
            while not names >= {*views.split(","), "takedown"}:
                event = await events.next()
                assert event["event"] == "change"
                body = json.loads(event["data"])
                conforms(body, EVENTS["change"])
                names |= set(body["views"])


async def _begun(own: Api) -> Any:
    now = asyncio.get_running_loop().time()
    own.look.office.ref.ask(TakeDown(takedown(name=str(uuid.uuid4()), now=now)), timeout=20)
    await settle()
    return own.look.office.publisher.last


async def test_a_stream_goes_on_after_the_last_event_that_was_seen() -> None:
    async with api() as own:
        async with watching_stream(own, "/stream?view=actors") as events:
            first = await events.next()
        await _begun(own)
        header = f"Last-Event-ID: {first['id']}"
        async with watching_stream(own, "/stream?view=actors", header) as events:
            event = await events.next()
            assert event["event"] == "change"
            assert json.loads(event["data"])["views"]["actors"]["total"] == 5
        await finish(own)


async def test_a_stream_without_news_has_a_heartbeat() -> None:
    async with api() as own, watching_stream(own, "/stream?view=actors") as events:
        assert (await events.next())["event"] == "snapshot"
        began = asyncio.get_running_loop().time()
        assert await events.next() == {"": "nothing new"}
        assert asyncio.get_running_loop().time() - began == pytest.approx(10, abs=1)


async def test_a_viewer_too_many_is_a_503_and_there_is_room_again_when_one_goes() -> None:
    async with api(viewers=1) as own:
        async with watching_stream(own, "/stream"):
            answer = await exchange(own.server.address, request("GET", "/stream"))
            assert answer.status == 503
            assert answer.json()["type"] == "urn:takedown:problem:too-many-viewers"
            assert "retry-after" in answer.headers
        await asyncio.sleep(2)
        assert own.broadcast.viewers == 0
        async with watching_stream(own, "/stream") as events:
            assert (await events.next())["event"] == "snapshot"


async def test_the_end_of_the_service_ends_the_streams() -> None:
    async with api() as own, watching_stream(own, "/stream?view=actors") as events:
        assert (await events.next())["event"] == "snapshot"
        own.broadcast.ended = True
        own.broadcast.news.set()
        with pytest.raises(EOFError):
            await events.next()
