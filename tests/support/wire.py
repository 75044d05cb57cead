"""HTTP as bytes: for requests that no well-behaved client can send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One answer as it came over the wire; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    method: str, path: str, *headers: str, body: str | bytes = b"", close: bool = True
) -> bytes:
    """A request's bytes; text goes out as Latin-1, so that any byte can be written."""
    if isinstance(body, str):
        body = body.encode("latin-1")
    lines = [f"{method} {path} HTTP/1.1", "Host: takedown", *headers]
    if close:
        lines.append("Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + body


class Connection:
    """One connection to a server.

    Args:
        reader: from it.
        writer: to it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send; a server that has hung up already is no failure, its answer may still be read."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def answer(self, *, head: bool = False, within: float = 10.0) -> Answer | None:
        """The next answer, without interim ones; None when the server has hung up instead."""
        async with asyncio.timeout(within):
            while True:
                try:
                    lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                except (asyncio.IncompleteReadError, ConnectionError):
                    return None
                start, *rest = lines.rstrip("\r\n").split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in rest)
                }
                status = int(start.split(" ")[1])
                if status >= 200:  # the others are interim
                    break
            length = 0 if head else int(headers.get("content-length", 0))
            return Answer(status, headers, await self._reader.readexactly(length))

    async def closed(self, *, within: float = 5.0) -> bool:
        """Whether the server hangs up in time, with nothing more said."""
        try:
            async with asyncio.timeout(within):
                return await self._reader.read() == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def end(self) -> None:
        """Send nothing more, and go on reading (half-close)."""
        self._writer.write_eof()

    def abort(self) -> None:
        """Be gone at once, as a caller whose machine has crashed."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Connection]:
    """A connection to the server at this URL."""
    url = urlsplit(address)
    connection = Connection(*await asyncio.open_connection(url.hostname, url.port))
    try:
        yield connection
    finally:
        await connection.close()


async def exchange(address: str, data: bytes, *, head: bool = False) -> Answer:
    """What is answered to these bytes, on a connection of their own."""
    async with connected(address) as connection:
        sending = asyncio.ensure_future(connection.send(data))
        try:
            answer = await connection.answer(head=head)
        finally:
            sending.cancel()
        assert answer is not None, "the server hung up without an answer"
        return answer
