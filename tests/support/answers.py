"""Asks for takedowns as a good caller does, and checks what every answer has in common."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp

from support.platform import Platform, java_partition, new_item_id

GRACE = 0.25
"""Seconds after its deadline at which a request has its answer at the latest (invariant I1)."""

TITLES = {
    "body-too-large": "Body too large",
    "deadline-passed": "Deadline passed",
    "expectation-failed": "Expectation Failed",
    "invalid-item-id": "Bad request",
    "invalid-prefer": "Bad request",
    "item-not-found": "Item not found",
    "malformed-request": "Malformed request",
    "method-not-allowed": "Method not allowed",
    "item-in-doubt": "Item in doubt",
    "not-ready": "Not ready",
    "overloaded": "Too many takedowns in flight",
    "too-many-containers": "Too many containers",
    "unknown-path": "Unknown path",
}


@dataclass(frozen=True)
class Got:
    """One answer; header names in lower case.

    Attributes:
        status: the status.
        headers: the headers.
        body: the body, from JSON.
        seconds: from before the request was sent until the body was here; in a `hurried_caller`'s
            session, from when it was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float

    @property
    def takedown_id(self) -> str:
        return self.headers["takedown-id"]


class HungUp(aiohttp.ClientConnectionError):
    """The connection was closed on a caller before his answer came."""


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise  # nobody was asked
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise HungUp(str(error)) from error


def caller(
    *, force_close: bool = False, traces: Sequence[aiohttp.TraceConfig] = ()
) -> aiohttp.ClientSession:
    """Who asks once, and notices when he gets no answer.

    aiohttp's client by itself asks a second time where a connection was closed before the answer:
    a service that drops its callers would look as if it answered them, and a takedown that nobody
    heard of would be one that nobody asked for.

    Args:
        force_close: a connection for each request.
        traces: what is called on the way.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
        middlewares=(_once,),
        trace_configs=list(traces),
    )


def hurried_caller() -> aiohttp.ClientSession:
    """For who asks so much at once that he comes late himself: what he takes is not counted."""
    trace = aiohttp.TraceConfig()

    async def sent(_http: object, context: SimpleNamespace, _what: object) -> None:
        context.trace_request_ctx.sent = asyncio.get_running_loop().time()

    trace.on_request_headers_sent.append(sent)
    return caller(force_close=True, traces=[trace])


_FOR_OPERATORS = re.compile(r"\b(\d+\.\d+\.\d+\.\d+|localhost):\d|\bUser:|\.sh\b|TAKEDOWN_KAFKA")
"""Servers, users and commands: no caller is told these."""


async def take_down(
    http: aiohttp.ClientSession,
    api: str,
    item_id: str,
    headers: Iterable[tuple[str, str]] = (),
) -> Got:
    """`DELETE /items/{itemId}`."""
    loop = asyncio.get_running_loop()
    began = SimpleNamespace(sent=loop.time())
    async with http.delete(
        f"{api}/items/{item_id}", headers=list(headers), trace_request_ctx=began
    ) as answer:
        body = await answer.json(content_type=None)
        seconds = loop.time() - began.sent
        lower = {name.lower(): value for name, value in answer.headers.items()}
        assert answer.status == 200 or not _FOR_OPERATORS.search(body["detail"]), body
        return Got(answer.status, lower, body, seconds)


def assert_deleted(got: Got, item_id: str, containers: Iterable[Mapping[str, str]]) -> None:
    """It is a 200 that is complete and names these containers, and nothing more."""
    assert got.status == 200, got
    assert got.headers["content-type"] == "application/json"
    assert str(uuid.UUID(got.takedown_id)) == got.takedown_id
    assert set(got.body) == {"takedownId", "itemId", "outcome", "containers", "elapsedMs"}
    assert got.body["takedownId"] == got.takedown_id
    assert got.body["itemId"] == item_id
    assert got.body["outcome"] == "deleted"
    named = [(c["containerId"], c["containerType"]) for c in got.body["containers"]]
    assert sorted(named) == sorted((c["containerId"], c["containerType"]) for c in containers)
    for place in got.body["containers"]:
        assert set(place) == {"containerId", "containerType", "deletedAt", "confirmedBy"}
        assert place["confirmedBy"] in {"deletion", "list"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", place["deletedAt"])
    assert isinstance(got.body["elapsedMs"], int)
    assert 0 <= got.body["elapsedMs"] <= got.seconds * 1000 + 1


def assert_problem(
    got: Got, status: int, code: str, *, item_id: str | None = None, **lists: Any
) -> None:
    """It is this problem, complete, and has nothing more than these lists."""
    assert got.status == status, got
    assert got.headers["content-type"] == "application/problem+json"
    assert str(uuid.UUID(got.takedown_id)) == got.takedown_id
    detail = got.body.pop("detail")
    assert isinstance(detail, str)
    assert detail
    expected = {
        "type": f"urn:takedown:problem:{code}",
        "title": TITLES[code],
        "status": status,
        "instance": f"urn:uuid:{got.takedown_id}",
        "takedownId": got.takedown_id,
        **({} if item_id is None else {"itemId": item_id}),
        **lists,
    }
    assert got.body == expected
    got.body["detail"] = detail
    may_help = status == 503 and code != "too-many-containers"
    assert ("retry-after" in got.headers) == may_help
    assert ("allow" in got.headers) == (status == 405)


async def until_read(http: aiohttp.ClientSession, api: str, items: Platform, item_id: str) -> None:
    """Wait until the service has read everything that was published of an item.

    A 404 for an item in the same partition is the evidence (invariant I6).
    """
    partitions = len(await items._producer.partitions_for(items.names.published))
    partition = java_partition(item_id.encode(), partitions)
    other = new_item_id()
    while java_partition(other.encode(), partitions) != partition:
        other = new_item_id()
    assert (await take_down(http, api, other)).status == 404
