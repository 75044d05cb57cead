"""An Items service that does what a test wants, and a catalogue that asks it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from catalogue.http.catalogue import (
    HttpCatalogue,
    HttpCatalogueStatistics,
)
from catalogue.http.responses import Answer, Fault, NoEvidence
from domain.messages import CatalogueUnavailable, ItemId
from support.fakes import ITEM, item_id, takedown_now
from support.settling import settle

PROBLEM = "application/problem+json"
Deed: TypeAlias = Answer | Exception | float | Callable[[ItemId], Answer] | None
"""What is answered: this, or it fails like this, or after so many seconds, or never (None)."""


def found(*names: str, item: ItemId = ITEM) -> Answer:
    listed = [{"containerId": name, "containerType": "group"} for name in names]
    body = json.dumps({"itemId": item, "containers": listed}).encode()
    return Answer(200, "application/json", body)


def unknown(item: ItemId) -> Answer:
    return Answer(404, PROBLEM, json.dumps({"itemId": item}).encode())


def status(number: int, *, retry_after: str | None = None) -> Answer:
    return Answer(number, "text/plain", b"", retry_after)


REFUSED = NoEvidence("connection refused", Fault.PASSING)
TLS = NoEvidence("TLS failed: certificate has expired", Fault.LASTING)


class FakeItems:
    """An Items service. It does what `next` says, one after the other, and then `always`."""

    def __init__(self) -> None:
        self.next: list[Deed] = []
        self.always: Deed = unknown
        self.asked: list[tuple[float, ItemId, str | None]] = []
        self.now = 0
        self.most = 0
        self.cancelled = 0
        self.closed = 0

    async def get(self, item_id: ItemId, traceparent: str | None) -> Answer:
        self.asked.append((asyncio.get_running_loop().time(), item_id, traceparent))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._do(self.next.pop(0) if self.next else self.always, item_id)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1

    async def _do(self, deed: Deed, item_id: ItemId) -> Answer:
        await asyncio.sleep(0)
        if deed is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(deed, Exception):
            raise deed
        if isinstance(deed, float):
            await asyncio.sleep(deed)
            return unknown(item_id)
        if isinstance(deed, Answer):
            return deed
        assert deed is not None
        return deed(item_id)

    async def close(self) -> None:
        self.closed += 1

    def waits(self) -> list[float]:
        times = [at for at, *_ in self.asked]
        return [round(b - a, 6) for a, b in itertools.pairwise(times)]


class Bed:
    """A catalogue over a fake Items service; its jitter is always the upper bound."""

    def __init__(self, *, items: FakeItems | None = None, **options: Any) -> None:
        self.items = FakeItems() if items is None else items
        options.setdefault("jitter", lambda _low, high: high)
        self.catalogue = HttpCatalogue(self.items, **options)

    @property
    def statistics(self) -> HttpCatalogueStatistics:
        return self.catalogue.statistics()

    def locate(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> list[Any]:
        told: list[Any] = []
        self.catalogue.locate(takedown_now(item, seconds=seconds), told.append)
        return told

    async def search(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> tuple[Any, float]:
        """What one search tells, and the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        told: list[Any] = []
        reported = asyncio.Event()

        def tell(event: Any) -> None:
            told.append(event)
            reported.set()

        self.catalogue.locate(takedown_now(item, seconds=seconds), tell)
        await reported.wait()
        await settle()
        (event,) = told
        return event, round(loop.time() - began, 6)

    async def refused(self, *, seconds: float = 10.0) -> tuple[str, float]:
        event, took = await self.search(seconds=seconds)
        assert isinstance(event, CatalogueUnavailable)
        return event.reason, took

    async def open_circuit(self) -> None:
        self.items.always = REFUSED
        await self.refused()
        assert self.statistics.circuit == "opened"

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.catalogue.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


LASTING: dict[str, Deed] = {
    "tls": TLS,
    "401": status(401),
    "403": status(403),
    "redirect": status(302),
    "somebody's 404": Answer(404, "text/html", b"<html>"),
    "400": status(400),
    "500": status(500),
    "no JSON": Answer(200, "application/json", b"{"),
    "too large": Answer(200, "application/json", None),
    "another item": found("a", item=item_id(7)),
}
