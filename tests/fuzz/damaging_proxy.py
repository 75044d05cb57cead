"""A proxy in front of a broker that changes record batches in the answers to fetches.

It knows as much of Kafka's protocol as that takes: which answer belongs to which request, and where
the batches are in an answer to a fetch. Everything else goes through as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import Any

from aiokafka.protocol import fetch

from bus.kafka.batches import HEADER, slices
from dev.apache_kafka.ports import HOST, free_ports

FETCH = 1
_SAME = slice(17, HEADER.size)
"""What a broker does not change, the checksum first."""
_REMEMBERED = 1000
Damage = Callable[[bytes], bytes]


class DamagingProxy:
    """On the loopback interface, in front of one broker that advertises the proxy's address.

    Args:
        port: of the broker.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_ports(1)[0]
        self._damages: dict[bytes, tuple[Damage, int | None]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.damaged = 0

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def damage(self, batch: bytes, damage: Damage, times: int | None = None) -> None:
        """Change this batch in each answer to a fetch, or in so many."""
        self._damages[batch[_SAME]] = (damage, times)
        while len(self._damages) > _REMEMBERED:
            del self._damages[next(iter(self._damages))]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_broker: asyncio.StreamWriter | None = None
        try:
            from_broker, to_broker = await asyncio.open_connection(HOST, self._target)
            asked: dict[int, int] = {}
            ways = [
                asyncio.ensure_future(self._requests(reader, to_broker, asked)),
                asyncio.ensure_future(self._answers(from_broker, writer, asked)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            for each in filter(None, (writer, to_broker)):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, int]
    ) -> None:
        while True:
            frame = await _frame(reader)
            kind, version, number = struct.unpack_from(">hhi", frame)
            if kind == FETCH:
                asked[number] = version
            writer.write(struct.pack(">i", len(frame)) + frame)
            await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, int]
    ) -> None:
        while True:
            frame = await _frame(reader)
            (number,) = struct.unpack_from(">i", frame)
            if (version := asked.pop(number, None)) is not None and self._damages:
                frame = frame[:4] + self._changed(frame[4:], version)
            writer.write(struct.pack(">i", len(frame)) + frame)
            await writer.drain()

    def _changed(self, answer: bytes, version: int) -> bytes:
        response: Any = getattr(fetch, f"FetchResponse_v{version}").decode(answer)
        changed = False
        topics = []
        for topic, rows in response.topics or ():
            new_rows = []
            for row in rows:
                raw = row[-1] or b""
                new = self._batches(raw)
                changed |= new is not raw
                new_rows.append((*row[:-1], new))
            topics.append((topic, new_rows))
        if not changed:
            return answer
        response.topics = topics
        return bytes(response.encode())

    def _batches(self, raw: bytes) -> bytes:
        parts, changed = [], False
        for at, stop in slices(raw):
            part = raw[at:stop]
            where = part[_SAME]
            damage, times = self._damages.get(where, (None, None))
            if damage is not None and times != 0:
                part = damage(part)
                changed = True
                self.damaged += 1
                if times is not None:
                    self._damages[where] = (damage, times - 1)
            parts.append(part)
        return b"".join(parts) if changed else raw


async def _frame(reader: asyncio.StreamReader) -> bytes:
    try:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("closed") from error
