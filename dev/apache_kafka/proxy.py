"""A TCP proxy that brings the faults of networks and brokers, on purpose.

Bytes go through it in order, each direction by itself: what one side sends waits in a short line
until its time has come, and a fault is what happens to it at the head of the line. It knows
nothing about what the bytes mean.

A connection that has lost bytes cannot go on when the fault is over, as no TCP stream has gaps:
it is reset then, as a firewall that forgot it would.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeAlias

from dev.apache_kafka.ports import HOST, free_ports

if TYPE_CHECKING:
    from types import TracebackType

_READ = 65_536
_LINE = 64
"""Reads that may wait in one direction; past that the sender feels it."""
_DRIPS_PER_SECOND = 20
_RST_ON_CLOSE = struct.pack("ii", 1, 0)

Whose: TypeAlias = Callable[[bytes], bool]
"""Whether a connection is meant, judged by the first bytes that its client sent."""


@dataclass(frozen=True, slots=True)
class ProxyStatistics:
    """What went through since the proxy was made.

    Attributes:
        accepted: connections that clients made.
        open: connections that are there now.
        requests: bytes that reached the server.
        answers: bytes that reached clients.
        lost: bytes of either direction that were thrown away.
    """

    accepted: int = 0
    open: int = 0
    requests: int = 0
    answers: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Weather:
    """What happens to bytes now."""

    request_latency: float = 0.0
    answer_latency: float = 0.0
    bytes_per_second: float | None = None
    held: bool = False
    requests_lost: bool = False
    answers_lost: bool = False
    whose: Whose | None = None

    @property
    def silent(self) -> bool:
        """Nothing goes through in either direction, and nothing will."""
        return self.requests_lost and self.answers_lost


_FAIR = _Weather()


class _Sky:
    """The weather of one proxy, which all its connections live under, and what it counts."""

    def __init__(self) -> None:
        self.weather = _FAIR
        self.statistics = ProxyStatistics()
        self._changed = asyncio.Event()

    def become(self, weather: _Weather) -> None:
        self.weather = weather
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change_or(self, seconds: float | None) -> None:
        """Wait until the weather changes, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def count(
        self, *, accepted: int = 0, requests: int = 0, answers: int = 0, lost: int = 0
    ) -> None:
        old = self.statistics
        self.statistics = replace(
            old,
            accepted=old.accepted + accepted,
            requests=old.requests + requests,
            answers=old.answers + answers,
            lost=old.lost + lost,
        )


class FaultProxy:
    """A proxy on the loopback interface in front of one address.

    It starts without a fault. Every fault replaces the one before, and holds for the connections
    that are there as well as for new ones, until `heal`.

    Args:
        target: `host:port` of the server.
        port: where it listens; 0 takes any free one.
    """

    def __init__(self, target: str, *, port: int = 0) -> None:
        host, _, target_port = target.rpartition(":")
        self._target = (host, int(target_port))
        self._port = port or free_ports(1)[0]
        self._server: asyncio.Server | None = None
        self._sky = _Sky()
        self._connections: dict[_Connection, asyncio.Task[None]] = {}

    @property
    def address(self) -> str:
        """`host:port` where clients find it."""
        return f"{HOST}:{self._port}"

    def statistics(self) -> ProxyStatistics:
        """What went through so far."""
        return replace(self._sky.statistics, open=len(self._connections))

    async def start(self) -> None:
        """Listen."""
        await self._listen()

    async def stop(self) -> None:
        """Close everything, at once. It may be stopped already."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._end_connections(rst=False)
        if server is not None:
            await server.wait_closed()

    # ------------------------------------------------------------------ the faults

    async def latency(self, *, requests: float = 0.0, answers: float = 0.0) -> None:
        """Let bytes travel for some seconds more, in each direction."""
        self._sky.become(_Weather(request_latency=requests, answer_latency=answers))

    async def stall(self, whose: Whose | None = None) -> None:
        """Take connections and bytes, and hold them; `heal` lets all of them go on.

        Args:
            whose: chooses the connections; without it, all.
        """
        self._sky.become(_Weather(held=True, whose=whose))

    async def drip(self, bytes_per_second: float) -> None:
        """Let so few bytes through, in each direction of each connection."""
        self._sky.become(_Weather(bytes_per_second=bytes_per_second))

    async def drop_answers(self, whose: Whose | None = None) -> None:
        """Let requests through and throw the server's answers away.

        Args:
            whose: chooses the connections; without it, all.
        """
        self._sky.become(_Weather(answers_lost=True, whose=whose))

    async def half_open(self) -> None:
        """Take connections and bytes, and never answer, as if the other machine were gone.

        The server sees nothing of it, not even new connections.
        """
        self._sky.become(_Weather(requests_lost=True, answers_lost=True))

    async def reset(self) -> None:
        """Break the connections that are there (RST), once. New ones are served."""
        await self._end_connections(rst=True)

    async def cut(self, *, rst: bool = False) -> None:
        """Close all connections and refuse new ones.

        Args:
            rst: break the connections instead of closing them.
        """
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._end_connections(rst=rst)

    async def heal(self) -> None:
        """Back to normal. Connections that lost bytes are reset."""
        self._sky.become(_FAIR)
        await self._end_connections(rst=True, only_lossy=True)
        await self._listen()

    # ------------------------------------------------------------------ inside

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, HOST, self._port, reuse_address=True
            )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sky.count(accepted=1)
        connection = _Connection(self._sky, reader, writer)
        task = asyncio.get_running_loop().create_task(connection.run(self._target))
        self._connections[connection] = task
        task.add_done_callback(functools.partial(self._ended, connection))

    def _ended(self, connection: _Connection, _task: asyncio.Task[None]) -> None:
        self._connections.pop(connection, None)
        connection.close()  # a task that is cancelled before its first turn closes nothing itself

    async def _end_connections(self, *, rst: bool, only_lossy: bool = False) -> None:
        ending = [
            (connection, task)
            for connection, task in self._connections.items()
            if connection.lossy or not only_lossy
        ]
        for connection, task in ending:
            connection.rst = connection.rst or rst
            task.cancel()
        await asyncio.gather(*(task for _, task in ending), return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


class _Broken(Exception):
    """One side is gone without a farewell."""


class _Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(
        self, sky: _Sky, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.lossy = False
        self.rst = False
        self._opening = b""
        self._closed = False
        self._sky = sky
        self._client = (reader, writer)
        self._writers = [writer]

    async def run(self, target: tuple[str, int]) -> None:
        """Carry bytes until both sides are done or one is gone."""
        try:
            await self._carry(target)
        except* (OSError, _Broken):
            self.rst = True
        finally:
            self.close()
            for writer in self._writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def close(self) -> None:
        """Let go of both sides. They may be gone already."""
        if not self._closed:
            self._closed = True
            for writer in self._writers:
                _close(writer, rst=self.rst)

    async def _carry(self, target: tuple[str, int]) -> None:
        if self._sky.weather.silent:
            # A machine that is gone takes part in nothing: the server must not see us.
            await self._swallow()
        reader, writer = await asyncio.open_connection(*target)
        self._writers.append(writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._direction(self._client[0], writer, requests=True))
            group.create_task(self._direction(reader, self._client[1], requests=False))

    def _weather(self) -> _Weather:
        weather = self._sky.weather
        meant = weather.whose is None or weather.whose(self._opening)
        return weather if meant else _FAIR

    async def _swallow(self) -> None:
        self.lossy = True
        while data := await self._client[0].read(_READ):
            self._sky.count(lost=len(data))
        await asyncio.Event().wait()  # the farewell is lost as well; healing or stopping ends it

    async def _direction(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool
    ) -> None:
        line: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(_LINE)
        async with asyncio.TaskGroup() as group:
            group.create_task(_take_in(reader, line))
            group.create_task(self._give_out(line, writer, requests=requests))

    async def _give_out(
        self,
        line: asyncio.Queue[tuple[float, bytes | None]],
        writer: asyncio.StreamWriter,
        *,
        requests: bool,
    ) -> None:
        while True:
            came, data = await line.get()
            rest = data or b""
            if requests and not self._opening:
                self._opening = rest
            while True:
                await self._until_due(came, requests=requests)
                weather = self._weather()
                if weather.requests_lost if requests else weather.answers_lost:
                    self.lossy = True
                    self._sky.count(lost=len(rest))
                    break
                if data is None:
                    raise _Broken
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                rest = await self._write(writer, rest, weather.bytes_per_second, requests=requests)
                if not rest:
                    break

    async def _write(
        self, writer: asyncio.StreamWriter, data: bytes, rate: float | None, *, requests: bool
    ) -> bytes:
        """Write what the weather lets through now; returns what is left."""
        size = len(data) if rate is None else max(1, round(rate / _DRIPS_PER_SECOND))
        writer.write(data[:size])
        await writer.drain()
        sent = min(size, len(data))
        self._sky.count(requests=sent if requests else 0, answers=0 if requests else sent)
        if rate is not None:
            await self._sky.change_or(sent / rate)
        return data[size:]

    async def _until_due(self, came: float, *, requests: bool) -> None:
        now = asyncio.get_running_loop().time
        while True:
            weather = self._weather()
            if weather.held:
                await self._sky.change_or(None)
                continue
            latency = weather.request_latency if requests else weather.answer_latency
            wait = came + latency - now()
            if wait <= 0:
                return
            await self._sky.change_or(wait)


async def _take_in(
    reader: asyncio.StreamReader, line: asyncio.Queue[tuple[float, bytes | None]]
) -> None:
    """Read until the end: empty bytes stand for a farewell, None for a broken connection."""
    now = asyncio.get_running_loop().time
    while True:
        try:
            data: bytes | None = await reader.read(_READ)
        except OSError:
            data = None
        await line.put((now(), data))
        if not data:
            return


def _close(writer: asyncio.StreamWriter, *, rst: bool) -> None:
    """Close at once: a peer that does not read must not hold us up."""
    connection = writer.get_extra_info("socket")
    if rst and connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    if rst or writer.transport.get_write_buffer_size():
        writer.transport.abort()
    else:
        writer.close()
