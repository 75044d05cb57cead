"""A server to watch real actors from, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from operations.admin.api import AdminApi
from operations.metrics.metrics import Metrics
from operations.observation.live_updates import Broadcast
from support.lookout import Lookout, lookout
from web.server import HttpServer


@dataclass
class Watched:
    """What there is to see, and where.

    Attributes:
        look: the actors.
        url: of the admin API, open or not.
    """

    look: Lookout
    url: str
    _port: int = 0
    _server: HttpServer | None = None
    _task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the server, at the port at which it was."""
        broadcast = Broadcast(self.look.observatory)
        self._task = asyncio.create_task(broadcast.run())
        self._server = HttpServer(
            AdminApi(
                health=self.look.readiness.health,
                metrics=Metrics(lambda: ()),
                observatory=self.look.observatory,
                broadcast=broadcast,
            ).application(),
            host="127.0.0.1",
            port=self._port,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=100,
        )
        await self._server.open()
        self.url = self._server.address
        self._port = int(self.url.rpartition(":")[2])

    async def close(self) -> None:
        """Go away, as a service does that ends."""
        if self._task is not None and self._server is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            await self._server.close()
            self._task = self._server = None


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """Actors behind an open server."""
    async with lookout(pool_max=300) as look:
        own = Watched(look, "")
        await own.open()
        try:
            yield own
        finally:
            await own.close()
