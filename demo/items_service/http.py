"""The Items service's own HTTP API. JSON in and out; errors are problem details (RFC 9457).

A change is answered when Kafka has acknowledged the item's new list. If Kafka takes too long the
answer is 503: the change is made all the same, and is published when Kafka is back.
"""

from __future__ import annotations

import asyncio
import http
import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from bus.kafka.codec import parse_item_id
from demo.items_service.faults import Faults
from domain.errors import CallerError
from domain.messages import Container, ContainerId, ItemId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from demo.items_service.faults import FaultInjector
    from demo.items_service.link import Link
    from demo.items_service.outbox import Outbox
    from demo.items_service.store import ItemStore, StoredItem

logger = logging.getLogger("takedown.items_service")

LARGEST_BODY = 1 << 20
PUBLISH_TIMEOUT = 5.0
DEFAULT_PAGE = 50
LARGEST_PAGE = 500

T = TypeVar("T")


class _PlacedIn(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    container_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    container_type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _ItemBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    containers: Annotated[list[_PlacedIn], msgspec.Meta(max_length=1000)]


class _FaultsBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    latency: float = 0.0
    jitter: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: bool = False
    never_delete: frozenset[str] = frozenset()
    work: float = 0.0
    slow: frozenset[str] = frozenset()
    slow_work: float = 3.0
    seed: int | None = None


class _UnknownItem(Exception):
    def __init__(self, item_id: ItemId) -> None:
        super().__init__(f"there is no item {item_id}")
        self.item_id = item_id


class Api:
    """The routes, over the rooms of the service that they open onto.

    Args:
        store: the items.
        outbox: what Kafka has not acknowledged yet.
        link: the link to Kafka.
        injector: the faults.
        publish_timeout: seconds until a change is answered with 503.
    """

    def __init__(
        self,
        *,
        store: ItemStore,
        outbox: Outbox,
        link: Link,
        injector: FaultInjector,
        publish_timeout: float | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._link = link
        self._injector = injector
        self._publish_timeout = PUBLISH_TIMEOUT if publish_timeout is None else publish_timeout

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_problems])
        app.add_routes(
            [
                web.get("/livez", self.livez),
                web.get("/faults", self.get_faults),
                web.put("/faults", self.put_faults),
                web.get("/items", self.list_items),
                web.post("/items", self.post_item),
                web.get("/items/{item_id}", self.get_item),
                web.put("/items/{item_id}", self.put_item),
                web.get("/items/{item_id}/containers", self.get_containers),
                web.delete("/items/{item_id}/containers/{container_id}", self.leave_container),
            ]
        )
        return app

    async def livez(self, _: web.Request) -> web.Response:
        """The loop answers. Kafka is only told about: without it, this service still lives."""
        return _json({"status": "ok", "kafkaConnected": self._link.connected.is_set()})

    async def get_faults(self, _: web.Request) -> web.Response:
        """The faults in force."""
        return _json(_faults_body(self._injector.faults))

    async def put_faults(self, request: web.Request) -> web.Response:
        """Replace the faults in force; what is left out is off."""
        body = _decode(await request.read(), _FaultsBody)
        try:
            self._injector.faults = Faults(**msgspec.structs.asdict(body))
        except ValueError as error:
            raise CallerError("invalid-faults", str(error)) from None
        logger.info("Faults are now %s", self._injector.faults)
        return _json(_faults_body(self._injector.faults))

    async def list_items(self, request: web.Request) -> web.Response:
        """A page of the items, in the order of their ids."""
        limit = _whole_number(request, "limit", DEFAULT_PAGE, 1, LARGEST_PAGE)
        offset = _whole_number(request, "offset", 0, 0, (1 << 63) - 1)
        items = await self._store.page(limit, offset)
        return _json(
            {
                "total": await self._store.count(),
                "limit": limit,
                "offset": offset,
                "items": [_item_body(item) for item in items],
            }
        )

    async def post_item(self, request: web.Request) -> web.Response:
        """Publish a new item under an id of ours."""
        containers = _containers(await request.read())
        if not containers:
            raise CallerError("no-containers", "a new item needs at least one container")
        return await self._publish(ItemId(str(uuid.uuid4())), containers)

    async def put_item(self, request: web.Request) -> web.Response:
        """Publish an item in exactly these containers."""
        return await self._publish(_item_id(request), _containers(await request.read()))

    async def _publish(self, item_id: ItemId, containers: list[Container]) -> web.Response:
        is_new, entry_id = await self._store.publish(item_id, containers, datetime.now(UTC))
        await self._until_published(entry_id)
        return _json(
            _item_body(await self._found(item_id)),
            status=http.HTTPStatus.CREATED if is_new else http.HTTPStatus.OK,
            headers={"Location": f"/items/{item_id}"} if is_new else None,
        )

    async def get_item(self, request: web.Request) -> web.Response:
        """One item, with the containers that it was deleted from."""
        return _json(_item_body(await self._found(_item_id(request))))

    async def get_containers(self, request: web.Request) -> web.Response:
        """The containers that an item is in now, in the shape of a record of `item_published`.

        Of an unknown item, a 404 that names it in `itemId`: unlike one from a proxy or for a path
        that we do not have, it can be taken for evidence.
        """
        item = await self._found(_item_id(request))
        return _json(
            {
                "itemId": item.item_id,
                "containers": [
                    placement.container
                    for placement in item.placements
                    if placement.deleted_at is None
                ],
            }
        )

    async def leave_container(self, request: web.Request) -> web.Response:
        """The item vanishes from a container without anybody's request."""
        item_id, container_id = _item_id(request), request.match_info["container_id"]
        entry_id = await self._store.leave(item_id, container_id, datetime.now(UTC))
        if entry_id is None:
            raise web.HTTPNotFound(text=f"item {item_id} is not in container {container_id}")
        await self._until_published(entry_id)
        return web.Response(status=http.HTTPStatus.NO_CONTENT)

    async def _found(self, item_id: ItemId) -> StoredItem:
        item = await self._store.find(item_id)
        if item is None:
            raise _UnknownItem(item_id)
        return item

    async def _until_published(self, entry_id: int) -> None:
        try:
            async with asyncio.timeout(self._publish_timeout):
                await self._outbox.until_settled(entry_id)
        except TimeoutError:
            raise web.HTTPServiceUnavailable(
                text=f"the change is made, but Kafka did not take it within"
                f" {self._publish_timeout:g} s; it is published when Kafka is back",
                headers={"Retry-After": "1"},
            ) from None


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except CallerError as error:
        return _problem(request, http.HTTPStatus.BAD_REQUEST, error.detail, code=error.code)
    except _UnknownItem as error:
        return _problem(
            request,
            http.HTTPStatus.NOT_FOUND,
            str(error),
            code="unknown-item",
            more={"itemId": error.item_id},
        )
    except web.HTTPException as error:
        headers = {
            name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers
        }
        return _problem(request, error.status, error.text or error.reason, headers=headers)
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return _problem(
            request, http.HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of the Items service"
        )


def _problem(
    request: web.Request,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    more: dict[str, str] | None = None,
) -> web.Response:
    body = {
        "type": f"urn:takedown:items-service:{code}" if code else "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        **(more or {}),
    }
    return _json(body, status=status, headers=headers, content_type="application/problem+json")


def _json(
    body: object,
    *,
    status: int = http.HTTPStatus.OK,
    headers: dict[str, str] | None = None,
    content_type: str = "application/json",
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, headers=headers, content_type=content_type
    )


def _item_body(item: StoredItem) -> dict[str, Any]:
    containers = []
    for placement in item.placements:
        container: dict[str, Any] = msgspec.to_builtins(placement.container)
        if placement.deleted_at is not None:
            container["deletedAt"] = placement.deleted_at
        containers.append(container)
    return {
        "itemId": item.item_id,
        "publishedAt": item.published_at,
        "containers": containers,
    }


def _faults_body(faults: Faults) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(
        _FaultsBody(**{name: getattr(faults, name) for name in _FaultsBody.__struct_fields__})
    )
    body["neverDelete"] = sorted(faults.never_delete)
    body["slow"] = sorted(faults.slow)
    return body


def _item_id(request: web.Request) -> ItemId:
    text = request.match_info["item_id"]
    item_id = parse_item_id(text)
    if item_id is None:
        raise CallerError("invalid-item-id", f"not a UUID: {text[:80]!r}")
    return item_id


def _containers(body: bytes) -> list[Container]:
    placed = _decode(body, _ItemBody).containers
    containers = [Container(ContainerId(at.container_id), at.container_type) for at in placed]
    seen: set[str] = set()
    for container in containers:
        if container.container_id in seen:
            raise CallerError(
                "repeated-container", f"containerId {container.container_id!r} comes twice"
            )
        seen.add(container.container_id)
    return containers


def _decode(body: bytes, body_type: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=body_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CallerError("invalid-body", str(error) or "the body cannot be read") from None


def _whole_number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    # Not just `int`: that takes "1_0", " 7 " and other scripts' digits, too.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        raise CallerError("invalid-query", f"{name} is not a whole number: {text[:80]!r}")
    number = int(text)
    if not least <= number <= most:
        raise CallerError("invalid-query", f"{name} is not between {least} and {most}: {number}")
    return number
