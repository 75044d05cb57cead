"""The dashboard in a real Chromium, over an office with fakes for all that is outside."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, ViewportSize, async_playwright, expect

from domain.messages import Container, ContainerId, ItemId, TakeDown, Takedown
from operations.admin.api import AdminApi
from operations.admin.static import Pages
from operations.metrics.metrics import Metrics
from operations.observation.live_updates import Broadcast
from support.fakes import deletion, takedown
from support.lookout import Lookout, lookout
from web.server import HttpServer

GRACE = 0.25
WITHIN = 20.0
"""Seconds that the page has for anything; nothing here measures how fast it is."""

LAPTOP: ViewportSize = {"width": 1366, "height": 768}
PHONE: ViewportSize = {"width": 390, "height": 844}

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """The path of the browser; skips the test, or fails it where it must not be missing."""
    found = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if found is not None:
        return found
    words = f"no browser: none of {', '.join(_CHROMIUM)} is installed"
    if os.environ.get("REQUIRE_CHROMIUM") == "1":
        pytest.fail(words)
    pytest.skip(words)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser with a new, empty profile."""
    path = chromium()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Screen:
    """One page, and everything that went wrong on it."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        page = self.page
        page.set_default_timeout(WITHIN * 1000)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                self.problems.append(f"{message.type}: {message.text}")
                if message.type in {"error", "warning"}
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(self.address)
                else self.problems.append(f"outside: {request.url}")
            ),
        )

    def unexpected(self) -> list[str]:
        """What went wrong, without what the test caused itself."""
        return [each for each in self.problems if not any(w in each for w in self.expected)]

    async def open(self, place: str = "") -> None:
        await self.page.goto(f"{self.address}/{place}")
        await self.sees(".stream", "live")

    async def sees(self, selector: str, words: str | re.Pattern[str]) -> None:
        """Wait until the first such element has these words in it."""
        await expect(self.page.locator(selector).first).to_contain_text(
            words, timeout=WITHIN * 1000
        )

    async def counts(self, selector: str, number: int) -> None:
        await expect(self.page.locator(selector)).to_have_count(number, timeout=WITHIN * 1000)

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    @property
    def rows(self) -> Locator:
        """The rows of the list of what is in flight that show something."""
        return self.page.locator(".rows .row:visible:not(.blank)")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def has_rows(self, number: int) -> None:
        await expect(self.rows).to_have_count(number, timeout=WITHIN * 1000)


@dataclass
class Board:
    """A service that is looked at: an office, and its admin API."""

    look: Lookout
    server: HttpServer
    broadcast: Broadcast
    make_server: Any
    watching: asyncio.Task[None]
    items: list[ItemId] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.server.address

    def item(self, *places: tuple[str, str]) -> ItemId:
        """A new item in containers of these ids and types."""
        new = ItemId(str(uuid.uuid4()))
        self.look.office.catalogue.items[new] = tuple(
            Container(ContainerId(name), kind) for name, kind in places
        )
        return new

    def ask(self, item: ItemId, *, seconds: float = 60.0) -> Takedown:
        """Ask for the takedown of an item, as a caller does."""
        now = asyncio.get_running_loop().time()
        asked = takedown(item, name=str(uuid.uuid4()), now=now, seconds=seconds)
        self.replies.append(
            self.look.office.ref.ask(TakeDown(asked), block=False, timeout=seconds + GRACE)
        )
        self.items.append(item)
        return asked

    def confirm(self, item: ItemId, *names: str) -> None:
        """Say that these containers, or all of them, have deleted it."""
        for place in self.look.office.catalogue.items[item]:
            if not names or place.container_id in names:
                self.look.office.bus.publish(
                    deletion(place.container_id, item, kind=place.container_type)
                )

    def confirm_all(self) -> None:
        for item in set(self.items):
            if item in self.look.office.catalogue.items:
                self.confirm(item)

    async def close_server(self) -> None:
        """What a viewer sees when the service goes."""
        await self.server.close()

    async def open_server(self) -> None:
        """Another one at the same address."""
        self.server = self.make_server(int(self.server.address.rpartition(":")[2]))
        await self.server.open()


@asynccontextmanager
async def board(**options: Any) -> AsyncIterator[Board]:
    """A board whose takedowns are all over in the end."""
    async with lookout(**options) as look:
        broadcast = Broadcast(look.observatory)
        pages = Pages()

        def make_server(port: int) -> HttpServer:
            operators = AdminApi(
                health=look.readiness.health,
                metrics=Metrics(lambda: ()),
                observatory=look.observatory,
                broadcast=broadcast,
                pages=pages,
            )
            app = operators.application()
            # Also as one of several workers, whose supervisor passes on what is asked of it.
            app.add_subapp("/workers/0", operators.application())
            return HttpServer(
                app,
                host="127.0.0.1",
                port=port,
                setting="TAKEDOWN_ADMIN_PORT",
                max_connections=50,
            )

        server = make_server(0)
        await server.open()
        watching = asyncio.create_task(look.observatory.watch.run())
        tasks = [asyncio.create_task(broadcast.run()), watching]
        own = Board(look, server, broadcast, make_server, watching)
        try:
            yield own
        finally:
            look.office.catalogue.silent = False
            own.confirm_all()
            await asyncio.gather(*map(_over, own.replies))
            async with asyncio.timeout(WITHIN):
                while look.office.now.in_flight:  # noqa: ASYNC110 - ten thousand take a while
                    await asyncio.sleep(0.01)
            await own.server.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _over(reply: Any) -> None:
    with suppress(Exception):  # also those that failed are over
        await reply
