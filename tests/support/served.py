"""A `takedown serve` of one test's own, against the broker that the test names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from support.answers import HungUp, caller
from support.asking import readiness, wait_for_servers
from support.invariants import Asked, Places, Report, ask, check_invariants
from support.platform import Names, Platform, containers, new_item_id
from support.processes import Process, running

TIMEOUT = 3.0
_RETRY_AFTER = 0.05


@dataclass
class Served:
    """The service, a caller, and a record of everything that was asked.

    Attributes:
        process: the service.
        server: the public API.
        admin: the admin API.
        http: the caller.
        timeout: the service's deadline in seconds.
        asked: every answer so far.
        lists: every item that was published through `item`.
        unheard: items whose takedown was asked for, and the connection ended before the answer.
    """

    process: Process
    api: str
    admin: str
    http: aiohttp.ClientSession
    timeout: float = TIMEOUT
    asked: list[Asked] = field(default_factory=list)
    lists: dict[str, Places] = field(default_factory=dict)
    unheard: list[str] = field(default_factory=list)

    async def item(self, items: Platform, count: int = 1) -> str:
        """Publish a new item, in so many containers."""
        item_id = new_item_id()
        self.lists[item_id] = containers(count)
        await items.publish_item(item_id, self.lists[item_id])
        return item_id

    async def take_down(self, item_id: str, wait: int | None = None) -> Asked:
        """Ask for one takedown."""
        try:
            asked = await ask(self.http, self.api, item_id, wait=wait, timeout=self.timeout)
        except HungUp:
            self.unheard.append(item_id)
            raise
        self.asked.append(asked)
        return asked

    async def until_200(self, items: Platform, *, within: float = 30.0) -> float:
        """Take new items down until it works; returns the seconds that this took.

        `items` must confirm what it is asked for.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(within):
            while True:
                if (await self.take_down(await self.item(items))).status == 200:
                    return loop.time() - began
                await asyncio.sleep(0.02)

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """The status of `/readyz`, and its checks."""
        return await readiness(self.http, self.admin)

    async def until_ready(self, status: int = 200, *, within: float = 30.0) -> float:
        """Wait until `/readyz` has this status; returns the seconds that this took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(within):
                while (await self.readiness())[0] != status:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            _, checks = await self.readiness()
            raise AssertionError(f"not {status} within {within} s: {checks}") from None
        return loop.time() - began

    async def until_detail(self, check: str, *words: str, within: float = 20.0) -> str:
        """Wait until a readiness check fails for a reason with all of these words in it."""
        detail = ""
        try:
            async with asyncio.timeout(within):
                while True:
                    _, checks = await self.readiness()
                    detail = str(checks[check]["detail"])
                    if not checks[check]["ok"] and all(word in detail for word in words):
                        return detail
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{words} are not in what {check} says: {detail!r}") from None

    async def is_alive(self) -> bool:
        """Whether `/livez` says so."""
        async with self.http.get(f"{self.admin}/livez") as answer:
            return answer.status == 200

    async def check(self, bootstrap: str, names: Names, *, kept: bool = True) -> Report:
        """Check the invariants for everything that was asked."""
        return await check_invariants(
            bootstrap, names, self.asked, self.lists, kept=kept, unheard=self.unheard
        )


@asynccontextmanager
async def served(
    bootstrap: str,
    names: Names,
    *,
    ready: bool = True,
    timeout: float = TIMEOUT,
    settings: Mapping[str, object] | None = None,
    **more: object,
) -> AsyncIterator[Served]:
    """A service that is told to stop when the block ends well, and must do that well.

    Args:
        bootstrap: the broker.
        names: the topics.
        ready: wait until it is.
        timeout: its deadline in seconds.
        settings: further settings.
        more: the same.
    """
    base: Mapping[str, object] = {
        "kafka_bootstrap_servers": bootstrap,
        "http_port": 0,
        "admin_port": 0,
        "timeout": timeout,
        "log_format": "json",
        **names.settings(),
    }
    with running("serve", **{**base, **(settings or {}), **more}) as process:
        api, admin = await wait_for_servers(process)
        async with caller() as http:
            service = Served(process, api, admin, http, timeout)
            if ready:
                await service.until_ready()
            yield service
        assert await asyncio.to_thread(process.stop) == 0


async def answer_once_ready(
    service: Served, item_id: str, check: str, *words: str, within: float = 20.0
) -> int | None:
    """The status of a takedown once the service is ready.

    None once this check fails for a reason with all of these words in it.
    """
    async with asyncio.timeout(within):
        while True:
            status, checks = await service.readiness()
            if status == 200:
                return (await service.take_down(item_id)).status
            said = checks.get(check, {"ok": True, "detail": ""})
            if not said["ok"] and all(word in str(said["detail"]) for word in words):
                return None
            await asyncio.sleep(0.02)


class Load:
    """Takes items down, one after the other and several at a time, until it is stopped.

    Args:
        service: which is asked.
        items: where the items are published; it must confirm.
        at_once: how many takedowns are in flight.
    """

    def __init__(self, service: Served, items: Platform, *, at_once: int = 8) -> None:
        self._service = service
        self._items = items
        self._at_once = at_once
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._at_once)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let what is in flight be answered, and ask for nothing more."""
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        while not self._stopped:
            item_id = await self._service.item(self._items, 2)
            if (await self._service.take_down(item_id)).status == 503:
                await asyncio.sleep(_RETRY_AFTER)

    def _done(self) -> int:
        return sum(asked.status == 200 for asked in self._service.asked)

    async def until_done(self, count: int, *, within: float = 30.0) -> None:
        """Wait until so many more were answered with 200."""
        wanted = self._done() + count
        async with asyncio.timeout(within):
            while self._done() < wanted:
                if failed := [task for task in self._tasks if task.done()]:
                    await asyncio.gather(*failed)
                await asyncio.sleep(0.01)


async def eventually(
    condition: Callable[[], Coroutine[Any, Any, bool]], *, within: float = 20.0
) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
