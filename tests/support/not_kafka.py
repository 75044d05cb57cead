"""Servers on the loopback interface that are no usable Kafka broker, each in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HOST = "127.0.0.1"


@asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server for the block; its `host:port`."""
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await handler(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks[task] = writer
        task.add_done_callback(lambda done: tasks.pop(done).transport.abort())

    server = await asyncio.start_server(accept, HOST, 0, ssl=tls)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)  # for connections that are being accepted
        left = dict(tasks)
        for task, writer in left.items():
            task.cancel()
            writer.transport.abort()  # a task that has not begun cannot do it
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.05)  # for what was aborted to be gone


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept, and answer nothing."""
    while await reader.read(1000):
        pass


async def closing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close at once."""


async def garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet with what no terminal should get."""
    writer.write(b"SSH-2.0-\x1b[31m\x07\r\n" * 10)
    await writer.drain()
    await asyncio.sleep(0.5)


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse at once what is not HTTP, as nginx does."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def http_by_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait for the end of a line, as Go's HTTP server does."""
    if await reader.readline():
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


def kafka(*brokers: tuple[int, str, int]) -> Handler:
    """Answer ApiVersions, and Metadata: the cluster has these brokers (id, host, port).

    Without brokers Metadata is not answered.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            request = await reader.readexactly(length)
            key, _version, correlation = struct.unpack_from(">hhi", request)
            if key == _METADATA and not brokers:
                continue
            body = _VERSIONS if key == _API_VERSIONS else _metadata(brokers)
            answer = struct.pack(">i", correlation) + body
            writer.write(struct.pack(">i", len(answer)) + answer)
            await writer.drain()

    return handle


without_metadata = kafka()

_API_VERSIONS, _METADATA = 18, 3
_VERSIONS = struct.pack(">hi", 0, 2) + struct.pack(">hhh", _API_VERSIONS, 0, 0)
_VERSIONS += struct.pack(">hhh", _METADATA, 1, 1)


def _metadata(brokers: tuple[tuple[int, str, int], ...]) -> bytes:
    data = struct.pack(">i", len(brokers))
    for node, host, port in brokers:
        name = host.encode()
        data += struct.pack(">ih", node, len(name)) + name + struct.pack(">ih", port, -1)
    return data + struct.pack(">ii", brokers[0][0], 0)


@contextmanager
def nothing() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that answers no attempt to connect: its queue is full (Linux)."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((HOST, 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(server.getsockname())
        yield server.getsockname()[1]
