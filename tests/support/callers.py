"""The public API before a coordinator of the test's making; the clock and the network are virtual.

So times are exact here: an answer at 10 s comes at 10 s and not a little later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from domain.messages import NotFound, Outcome, TakeDown, Takedown
from support.wire import request
from web.api import PublicApi
from web.server import HttpServer

ITEM = "6f1a1f5e-8c8a-4a43-9d5b-0d4a6f0c7b22"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOON = datetime(2026, 1, 2, 12, 0, 0, 250_000, tzinfo=UTC)
TIMEOUT = 10.0


class Callers:
    """A public API, and what it asks, and what it tells its observer."""

    def __init__(self) -> None:
        self.asked: list[tuple[Takedown, float]] = []
        self.observed: list[tuple[int, str, float]] = []
        self.reply: Callable[[Takedown], Awaitable[Outcome]] = self.not_found
        self.server = HttpServer(
            PublicApi(
                ask=self.ask, timeout=TIMEOUT, observe=self.observe, utc_now=lambda: NOON
            ).handle,
            host="127.0.0.1",
            port=0,
            setting="TAKEDOWN_HTTP_PORT",
            max_connections=20,
        )

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def takedown(self) -> Takedown:
        """The one takedown that was asked for."""
        ((takedown, _),) = self.asked
        return takedown

    async def ask(self, message: TakeDown, *, timeout: float) -> Outcome:
        self.asked.append((message.takedown, timeout))
        return await self.reply(message.takedown)

    def observe(self, *, status: int, outcome: str, seconds: float) -> None:
        self.observed.append((status, outcome, seconds))

    async def not_found(self, _takedown: Takedown) -> Outcome:
        return NotFound()


@asynccontextmanager
async def serving() -> AsyncIterator[Callers]:
    """A public API that is open."""
    callers = Callers()
    await callers.server.open()
    yield callers
    await callers.server.close()


def delete(*headers: str, item: str = ITEM, body: str = "", close: bool = True) -> bytes:
    return request("DELETE", f"/items/{item}", *headers, body=body, close=close)
