"""Callers, their requests over HTTP, and the connections that these travel on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from dev.simulation.loop import START

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.simulation.loop import SimulatedLoop
    from dev.simulation.run import Life
    from domain.messages import ItemId

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(slots=True, eq=False)
class Asked:
    """One request and what became of it; times are the loop's, `None`: it did not happen.

    Attributes:
        number: names it: `ask#number`.
        item_id: what was to be taken down.
        wait: seconds that the caller was willing to wait, if it said so.
        calm: asked when nothing goes wrong any more.
        shouts: the item's id is written in capital letters.
        life: the service's life that it was sent to.
        refused: nobody listened, or not any more.
        arrived_at: it reached the service.
        hung_up_at: the caller went away.
        cut: the service was killed.
        answered_at: the last byte of the answer left the service.
        answers: how many there were.
        status: of the answer.
        takedown_id: the answer's header.
        body: the answer's, decoded.
        line: the connection that it was sent on.
    """

    number: int
    item_id: ItemId
    wait: int | None
    calm: bool = False
    shouts: bool = False
    life: Life | None = None
    refused: bool = False
    arrived_at: float | None = None
    hung_up_at: float | None = None
    cut: bool = False
    answered_at: float | None = None
    answers: int = 0
    status: int = 0
    takedown_id: str = ""
    body: Any = None
    line: Line | None = None

    def __str__(self) -> str:
        arrived = "never" if self.arrived_at is None else f"{self.arrived_at - START:.4f}"
        answered = "never" if self.answered_at is None else f"{self.answered_at - START:.4f}"
        return (
            f"{self.name} for {self.item_id[-4:]}, there at {arrived}, "
            f"{self.status or 'no answer'} at {answered}: {self.body}"
        )

    @property
    def name(self) -> str:
        """What it is called in the journal."""
        return f"ask#{self.number}"

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.refused or self.cut or self.answers > 0 or self.hung_up_at is not None


class Line(asyncio.Transport):
    """One connection of a caller, seen from the service; takes one request at a time.

    Args:
        loop: the world's time.
        answered: told of each answer: the request, and the answer's bytes.
    """

    def __init__(self, loop: SimulatedLoop, answered: Callable[[Asked, bytes], None]) -> None:
        super().__init__()
        self._loop = loop
        self._answered = answered
        self._protocol: asyncio.Protocol | None = None
        self._buffer = b""
        self._asked: Asked | None = None
        self._closing = False

    @property
    def free(self) -> bool:
        """Whether another request may be sent on it."""
        return self._protocol is not None and not self._closing and self._asked is None

    def send(self, asked: Asked, factory: Callable[[], asyncio.Protocol]) -> None:
        """The service finds this request when it next looks; connects first, if need be."""
        self._asked = asked
        self._loop.call_soon(self._receive, asked, factory)

    def _receive(self, asked: Asked, factory: Callable[[], asyncio.Protocol]) -> None:
        if self._protocol is None:
            self._protocol = factory()
            self._protocol.connection_made(self)
            if self._closing:  # the caller hung up while he waited to be let in
                self._loop.call_soon(self._protocol.connection_lost, None)
        if self._closing or getattr(self._protocol, "_close", False):
            # The server is about to close a connection that had nothing to do: in HTTP the two may
            # always cross, and whoever asked on such a connection knows that he was not heard.
            self._asked = None
            asked.refused = True
            return
        asked.arrived_at = self._loop.time()
        prefer = f"Prefer: wait={asked.wait}\r\n" if asked.wait is not None else ""
        item_id = asked.item_id.upper() if asked.shouts else asked.item_id
        request = f"DELETE /items/{item_id} HTTP/1.1\r\nHost: takedown\r\n{prefer}\r\n"
        self._protocol.data_received(request.encode())

    def hang_up(self) -> None:
        """The caller goes away, or the service's machine does."""
        self._asked = None
        self.close()

    # --------------------------------------------------------------- the service's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._asked is None:
            return
        self._buffer += bytes(data)
        head, found, body = self._buffer.partition(_END_OF_HEAD)
        if not found:
            return
        length = int(_header(head, b"content-length") or 0)
        if len(body) >= length:
            self._buffer = body[length:]
            asked, self._asked = self._asked, None
            self._answered(asked, head + _END_OF_HEAD + body[:length])

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if self._protocol is not None:
                self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("simulated", 1) if name == "peername" else default

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_reading(self) -> bool:
        return True


def _header(head: bytes, name: bytes) -> str | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return None


def read_answer(asked: Asked, answer: bytes) -> None:
    """Take over what the answer says."""
    head, _, body = answer.partition(_END_OF_HEAD)
    asked.status = int(head[9:12])
    asked.takedown_id = _header(head, b"takedown-id") or ""
    asked.body = msgspec.json.decode(body)
