"""Viewers that read slowly or not at all, over real sockets: what they cost is bounded."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from support.fakes import deletion, item_id, places
from support.lookout import Lookout, lookout
from support.settling import settle
from support.wire import exchange, request

from actors.runtime.future import LoopFuture
from domain.messages import Deleted
from operations.admin.api import AdminApi
from operations.metrics.metrics import Metrics
from operations.observation.live_updates import Broadcast
from web.server import HttpServer

CUT = 1.0
NAMES = tuple(f"{number:02d}-" + "x" * 190 for number in range(20))
STREAM = request("GET", "/stream?view=overview,actors,recent&limit=100", close=False)


@dataclass
class Theatre:
    """A stage with large takedowns, and a server to watch it from."""

    look: Lookout
    broadcast: Broadcast
    server: HttpServer

    def begin(self, count: int) -> list[LoopFuture[object]]:
        office = self.look.office
        for number in range(count):
            office.catalogue.items[item_id(number)] = places(*NAMES)
        return [office.ask(item_id(number), seconds=60) for number in range(count)]

    async def act(self, count: int) -> None:
        """Everything moves, again and again, until all is done."""
        for name in NAMES:
            for number in range(count):
                self.look.office.bus.publish(deletion(name, item_id(number)))
            await asyncio.sleep(0.3)

    async def sit_down(self, *, buffer: int = 2048) -> socket.socket:
        """A viewer that has asked, and does not read."""
        url = urlsplit(self.server.address)
        viewer = socket.socket()
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        viewer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(viewer, (url.hostname, url.port))
        await loop.sock_sendall(viewer, STREAM)
        return viewer

    def buffered(self) -> list[int]:
        """Bytes that wait for each connection, in this process."""
        server = self.server._runner.server
        assert isinstance(server, web.Server)
        return [
            connection.transport.get_write_buffer_size()
            for connection in server.connections
            if isinstance(connection.transport, asyncio.WriteTransport)
        ]


@asynccontextmanager
async def theatre() -> AsyncIterator[Theatre]:
    async with lookout(pool_max=200) as look:
        broadcast = Broadcast(look.observatory)
        task = asyncio.create_task(broadcast.run())
        operators = AdminApi(
            health=look.readiness.health,
            metrics=Metrics(lambda: ()),
            observatory=look.observatory,
            broadcast=broadcast,
            cut=CUT,
        )
        server = HttpServer(
            operators.application(),
            host="127.0.0.1",
            port=0,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=100,
        )
        await server.open()
        try:
            yield Theatre(look, broadcast, server)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await server.close()


async def hung_up(viewer: socket.socket) -> bool:
    """Whether the server has hung up, once all that was sent is read."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        try:
            while await loop.sock_recv(viewer, 65536):
                pass
        except ConnectionError:
            pass
    return True


async def all_deleted(asked: list[LoopFuture[object]]) -> bool:
    return all([isinstance(await each, Deleted) for each in asked])


async def test_viewers_that_do_not_read_are_cut_off_and_cost_one_message_each() -> None:
    async with theatre() as own:
        asked = own.begin(100)
        await settle()
        viewers = [await own.sit_down() for _ in range(10)]
        acting = asyncio.create_task(own.act(100))
        largest = 0
        while not acting.done():
            largest = max([largest, *own.buffered()])
            await asyncio.sleep(0.02)

        assert await all_deleted(asked)
        assert own.broadcast.viewers_cut == 10
        assert own.broadcast.viewers == 0
        assert 0 < largest < 1_000_000, "one message of a hundred rows, and never a queue"
        for viewer in viewers:
            assert await hung_up(viewer)
            viewer.close()
        await settle()
        assert own.server.connections == 0


async def test_a_viewer_that_reads_a_byte_now_and_then_is_cut_off() -> None:
    async with theatre() as own:
        asked = own.begin(100)
        await settle()
        viewer = await own.sit_down()
        acting = asyncio.create_task(own.act(100))
        loop = asyncio.get_running_loop()
        read = 0
        while not acting.done() and not own.broadcast.viewers_cut:
            if await loop.sock_recv(viewer, 1):
                read += 1
            await asyncio.sleep(0.05)
        await acting

        assert await all_deleted(asked)
        assert read > 5
        assert own.broadcast.viewers_cut == 1
        assert own.broadcast.viewers == 0
        viewer.close()


async def test_a_slow_viewer_does_not_make_a_quick_one_wait() -> None:
    async with theatre() as own:
        asked = own.begin(100)
        await settle()
        slow = await own.sit_down()
        quick = await own.sit_down(buffer=1 << 20)
        loop = asyncio.get_running_loop()
        heard = bytearray()

        async def read() -> None:
            while data := await loop.sock_recv(quick, 1 << 20):
                heard.extend(data)

        reading = asyncio.create_task(read())
        await own.act(100)
        assert await all_deleted(asked)
        last = b'"waitingFor":{"catalogue":0,"acknowledgement":0,"deletions":0}'
        async with asyncio.timeout(10):
            while last not in heard:  # noqa: ASYNC110 - bytes arrive
                await asyncio.sleep(0.02)
        reading.cancel()
        await asyncio.wait([reading])
        assert heard.count(b"event: snapshot") == 1
        assert heard.count(b"event: change") >= 2
        assert own.broadcast.viewers_cut == 1
        assert own.broadcast.viewers == 1
        for viewer in (slow, quick):
            viewer.close()


async def test_viewers_that_vanish_are_noticed_and_nothing_is_left_of_them() -> None:
    async with theatre() as own:
        asked = own.begin(1)
        await settle()
        tasks = len(asyncio.all_tasks())
        viewers = [await own.sit_down() for _ in range(30)]
        while own.broadcast.viewers < 30:  # noqa: ASYNC110 - connections arrive
            await asyncio.sleep(0.01)
        for viewer in viewers:
            viewer.close()
        async with asyncio.timeout(10):
            while own.broadcast.viewers or own.server.connections:  # noqa: ASYNC110 - they go
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert own.broadcast.viewers_cut == 0
        assert len(asyncio.all_tasks()) <= tasks
        for name in NAMES:
            own.look.office.bus.publish(deletion(name, item_id(0)))
        assert await all_deleted(asked)
        await settle()
        gc.collect()
        assert len(own.broadcast._channels) == 1


async def test_those_who_only_ask_are_answered_while_others_do_not_read() -> None:
    async with theatre() as own:
        asked = own.begin(50)
        await settle()
        viewers = [await own.sit_down() for _ in range(20)]
        for path in ("/livez", "/readyz", "/overview", "/actors", "/statistics"):
            answer = await exchange(own.server.address, request("GET", path))
            assert answer.status == 200
        await own.act(50)
        assert await all_deleted(asked)
        for viewer in viewers:
            viewer.close()


@pytest.mark.parametrize("head", ["GET /stream?view=actors HTTP/1.1\r\n", "GET /act"])
async def test_a_request_that_never_ends_holds_nothing_up(head: str) -> None:
    async with theatre() as own:
        url = urlsplit(own.server.address)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(head.encode())
        asked = own.begin(1)
        await settle()
        for name in NAMES:
            own.look.office.bus.publish(deletion(name, item_id(0)))
        assert await all_deleted(asked)
        assert own.broadcast.viewers == 0
        writer.close()
