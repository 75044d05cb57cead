from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

import pytest

from dev.apache_kafka.ports import HOST
from dev.apache_kafka.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeVar

    T = TypeVar("T")

PATIENCE = 5.0
NOTHING_HAPPENS = 0.1


class EchoServer:
    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, 0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._echo(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.received += data
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, size: int) -> bytes:
        return await soon(self.reader.readexactly(size))

    async def hears_nothing(self) -> bool:
        try:
            async with asyncio.timeout(NOTHING_HAPPENS):
                return not await self.reader.read(1)
        except TimeoutError:
            return True


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[EchoServer]:
    server = EchoServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def proxy(server: EchoServer) -> AsyncIterator[FaultProxy]:
    before = asyncio.all_tasks()
    async with FaultProxy(server.address) as proxy:
        yield proxy
    await asyncio.sleep(0)
    mine = asyncio.current_task()
    left = {
        task
        for task in asyncio.all_tasks() - before - {mine}
        if "proxy.py" in repr(task.get_coro())
    }
    assert not left
    assert proxy.statistics().open == 0
    gc.collect()  # a socket that was not closed would warn now, and warnings are errors


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


async def connect(proxy: FaultProxy, clients: list[Client]) -> Client:
    host, port = proxy.address.split(":")
    clients.append(Client(*await soon(asyncio.open_connection(host, int(port)))))
    return clients[-1]


async def test_bytes_go_through_in_both_directions_and_are_counted(
    proxy: FaultProxy, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    client.send(b"x" * 300_000)
    assert await client.receive(300_000) == b"x" * 300_000
    statistics = proxy.statistics()
    assert (statistics.accepted, statistics.open) == (1, 1)
    assert (statistics.requests, statistics.answers, statistics.lost) == (300_000, 300_000, 0)


async def test_a_half_close_goes_through(proxy: FaultProxy, clients: list[Client]) -> None:
    client = await connect(proxy, clients)
    client.send(b"last words")
    client.writer.write_eof()
    assert await soon(client.reader.read()) == b"last words"


async def test_latency_is_added_to_each_direction_and_does_not_limit_the_rate(
    proxy: FaultProxy, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    await proxy.latency(requests=0.1, answers=0.1)
    clock = asyncio.get_running_loop().time
    start = clock()
    for _ in range(10):  # one after the other, not each after the last one's answer
        client.send(b"ping")
        await asyncio.sleep(0.005)
    assert await client.receive(40) == b"ping" * 10
    assert 0.2 <= clock() - start < 1.0


async def test_a_stall_holds_bytes_and_new_connections_and_lets_them_go_on(
    proxy: FaultProxy, server: EchoServer, clients: list[Client]
) -> None:
    old = await connect(proxy, clients)
    old.send(b"1")
    assert await old.receive(1) == b"1"
    await proxy.stall()
    new = await connect(proxy, clients)
    old.send(b"2")
    new.send(b"3")
    assert await old.hears_nothing()
    assert await new.hears_nothing()
    assert server.received == b"1"
    await proxy.heal()
    assert await old.receive(1) == b"2"
    assert await new.receive(1) == b"3"


async def test_a_stall_holds_the_farewell_too(proxy: FaultProxy, clients: list[Client]) -> None:
    client = await connect(proxy, clients)
    await proxy.stall()
    client.send(b"bye")
    client.writer.write_eof()
    assert await client.hears_nothing()
    await proxy.heal()
    assert await soon(client.reader.read()) == b"bye"


async def test_a_cut_closes_connections_and_refuses_new_ones_until_it_is_healed(
    proxy: FaultProxy, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    client.send(b"1")
    await client.receive(1)
    await proxy.cut()
    assert await soon(client.reader.read()) == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy, clients)
    await proxy.heal()
    again = await connect(proxy, clients)
    again.send(b"2")
    assert await again.receive(1) == b"2"


async def test_a_reset_breaks_connections_once(proxy: FaultProxy, clients: list[Client]) -> None:
    client = await connect(proxy, clients)
    client.send(b"1")
    await client.receive(1)
    await proxy.reset()
    with pytest.raises(ConnectionResetError):
        await soon(client.reader.read())
    again = await connect(proxy, clients)
    again.send(b"2")
    assert await again.receive(1) == b"2"


async def test_half_open_takes_everything_and_answers_nothing(
    proxy: FaultProxy, server: EchoServer, clients: list[Client]
) -> None:
    old = await connect(proxy, clients)
    old.send(b"1")
    assert await old.receive(1) == b"1"
    await proxy.half_open()
    new = await connect(proxy, clients)
    old.send(b"2")
    new.send(b"3")
    assert await old.hears_nothing()
    assert await new.hears_nothing()
    assert server.received == b"1"
    assert server.connections == 1
    assert proxy.statistics().lost == 2
    await proxy.heal()
    for client in (old, new):  # they lost bytes: they cannot go on
        with pytest.raises(ConnectionResetError):
            await soon(client.reader.read())
    again = await connect(proxy, clients)
    again.send(b"4")
    assert await again.receive(1) == b"4"


async def test_a_drip_lets_so_many_bytes_through_in_a_second(
    proxy: FaultProxy, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    await proxy.drip(1000)
    clock = asyncio.get_running_loop().time
    start = clock()
    client.send(b"x" * 400)
    assert await client.receive(400) == b"x" * 400
    assert 0.3 <= clock() - start < 2.0
    await proxy.heal()
    client.send(b"y" * 100_000)
    assert await client.receive(100_000) == b"y" * 100_000


async def test_dropped_answers_leave_requests_alone(
    proxy: FaultProxy, server: EchoServer, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    await proxy.drop_answers()
    client.send(b"request")
    assert await client.hears_nothing()
    assert server.received == b"request"
    await proxy.heal()
    with pytest.raises(ConnectionResetError):
        await soon(client.reader.read())


async def test_a_fault_may_hold_for_those_connections_only_that_open_with_certain_bytes(
    proxy: FaultProxy, server: EchoServer, clients: list[Client]
) -> None:
    meant, other, late = [await connect(proxy, clients) for _ in range(3)]
    for client, opening in ((meant, b"a1"), (other, b"b1")):
        client.send(opening)
        assert await client.receive(2) == opening
    await proxy.drop_answers(lambda opening: opening.startswith(b"a"))
    meant.send(b"b2")
    assert await meant.hears_nothing()
    other.send(b"a2")
    assert await other.receive(2) == b"a2"
    late.send(b"a3")
    assert await late.hears_nothing()
    assert server.received.endswith(b"a3")
    await proxy.stall(lambda opening: opening.startswith(b"b"))
    other.send(b"b4")
    assert await other.hears_nothing()
    await proxy.heal()
    assert await other.receive(2) == b"b4"


async def test_a_connection_that_lost_nothing_survives_dropped_answers(
    proxy: FaultProxy, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    client.send(b"1")
    await client.receive(1)
    await proxy.drop_answers()
    await proxy.heal()
    client.send(b"2")
    assert await client.receive(1) == b"2"


async def test_a_connection_that_is_ended_before_its_first_turn_is_closed(
    server: EchoServer,
) -> None:
    class Hasty(FaultProxy):
        def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            super()._accept(reader, writer)
            for task in self._connections.values():
                task.cancel()

    async with Hasty(server.address) as proxy:
        client = Client(*await asyncio.open_connection(*proxy.address.split(":")))
        try:
            with contextlib.suppress(ConnectionResetError):
                assert await soon(client.reader.read()) == b""
        finally:
            client.writer.close()


async def test_a_reset_by_the_client_reaches_the_server(
    proxy: FaultProxy, server: EchoServer, clients: list[Client]
) -> None:
    client = await connect(proxy, clients)
    client.send(b"1")
    await client.receive(1)
    client.writer.transport.abort()
    await until(lambda: proxy.statistics().open == 0)
    assert server.connections == 1


async def test_a_server_that_is_down_breaks_the_connection(
    proxy: FaultProxy, server: EchoServer, clients: list[Client]
) -> None:
    await server.stop()
    client = await connect(proxy, clients)
    with pytest.raises(ConnectionResetError):
        await soon(client.reader.read())


async def test_stopping_amid_each_fault_leaves_nothing_behind(
    server: EchoServer, clients: list[Client]
) -> None:
    for fault in ("latency", "stall", "drop_answers", "half_open"):
        before = len(asyncio.all_tasks())
        async with FaultProxy(server.address) as proxy:
            client = await connect(proxy, clients)
            arguments = {"requests": 9.0} if fault == "latency" else {}
            await getattr(proxy, fault)(**arguments)
            client.send(b"x" * 1_000_000)
            await connect(proxy, clients)
        await proxy.stop()
        assert proxy.statistics().open == 0
        # The echo server's own tasks end a little later.
        await until(lambda: len(asyncio.all_tasks()) <= before)  # noqa: B023 - awaited here
