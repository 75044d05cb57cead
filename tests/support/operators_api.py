"""The admin API over a virtual network, and what its document demands of each answer."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jsonschema import Draft202012Validator

from operations.admin.api import AdminApi
from operations.admin.openapi import document
from operations.metrics.metrics import Metrics
from operations.observation.live_updates import Broadcast
from support.fakes import ITEM, deletion, places
from support.lookout import Lookout, lookout
from support.settling import settle
from support.wire import Answer, exchange, request
from web.server import HttpServer

DOCUMENT = document("1.2.3")


def strict(schema: Any) -> Any:
    """The same, and nothing more than is in it may be there."""
    if isinstance(schema, dict):
        schema = {name: strict(each) for name, each in schema.items()}
        if "properties" in schema and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
    elif isinstance(schema, list):
        schema = [strict(each) for each in schema]
    return schema


COMPONENTS = {"components": strict(copy.deepcopy(DOCUMENT["components"]))}


def conforms(body: Any, schema: Any) -> None:
    Draft202012Validator({**schema, **COMPONENTS}).validate(body)


def checked(path: str, answer: Answer) -> Any:
    """The answer's JSON, when it is what the document says of this path."""
    described = DOCUMENT["paths"][path]["get"]["responses"][str(answer.status)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    body = answer.json()
    conforms(body, described[kind]["schema"])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return body


class Api:
    def __init__(self, look: Lookout, broadcast: Broadcast, server: HttpServer) -> None:
        self.look = look
        self.broadcast = broadcast
        self.server = server

    async def get(self, path: str, template: str | None = None) -> Any:
        answer = await exchange(self.server.address, request("GET", path))
        return checked(template or path.partition("?")[0], answer)

    async def refused(self, path: str) -> Any:
        answer = await exchange(self.server.address, request("GET", path))
        assert answer.status == 400, answer.body
        return checked(path.partition("?")[0], answer)


@asynccontextmanager
async def api(*, viewers: int = 5, **options: Any) -> AsyncIterator[Api]:
    async with lookout(**options) as look:
        broadcast = Broadcast(look.observatory, most=viewers)
        task = asyncio.create_task(broadcast.run())
        operators = AdminApi(
            health=look.readiness.health,
            metrics=Metrics(lambda: ()),
            observatory=look.observatory,
            broadcast=broadcast,
        )
        server = HttpServer(
            operators.application(),
            host="127.0.0.1",
            port=0,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=50,
        )
        await server.open()
        try:
            yield Api(look, broadcast, server)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await server.close()


async def history_of_all_kinds(own: Api) -> str:
    """A 200, a 404, a 504 with a late event and a 500; one is in flight. Its takedownId."""
    office = own.look.office
    office.catalogue.items[ITEM] = places("a", "<img src=x>")
    done = office.ask()
    await settle()
    office.publisher.last.acknowledge()
    office.delete("a", "<img src=x>")
    await done
    office.catalogue.items.pop(ITEM)
    await office.ask()
    office.catalogue.items[ITEM] = places("a", "b")
    late = office.ask(seconds=1)
    await settle()
    await late
    own.look.observatory.journal.unmatched(deletion("a"))
    crashed = office.ask()
    await settle()
    await office.crash()
    await crashed
    own.look.observatory.losses.skipped("item_deleted", 1, 2, "<b>no JSON</b>")
    office.ask(seconds=1000)
    await settle()
    await own.look.tick(6)
    return str(office.publisher.last.takedown.takedown_id)


async def finish(own: Api) -> None:
    own.look.office.delete("a", "b")
    await settle()
