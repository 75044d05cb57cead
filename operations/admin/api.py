"""The admin API: is it alive, is it ready, what does it count, and what is it doing.

Everything is GET and read-only. What each path takes and answers is in `operations.admin.openapi`,
from which also the parameters are checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import json as msgspec_json

from operations.admin.openapi import (
    ACTOR_PARAMETERS,
    DOUBTS_PARAMETERS,
    HISTORY_PARAMETERS,
    RECENT_PARAMETERS,
    STREAM_PARAMETERS,
    document,
)
from operations.admin.parameters import BadParameter, actors_query, parse, recent_query, watching
from operations.admin.sse import CUT, stream
from operations.metrics.metrics import choose_encoder
from operations.observation.overview import checks_of, safeguards_of
from operations.observation.schemas.health import Alive, BadRequest, Ready
from web.problems import json_response
from web.server import new_takedown_id
from web.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coordinator.readiness import Health
    from operations.admin.openapi import Parameter
    from operations.admin.static import Pages
    from operations.metrics.metrics import Metrics
    from operations.observation.live_updates import Broadcast
    from operations.observation.views import Observatory

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class AdminApi:
    """The application behind the admin API.

    Args:
        health: looks at every readiness check.
        metrics: what `/metrics` shows.
        observatory: everything else that there is to see.
        broadcast: the same as it changes.
        version: of the service.
        cut: seconds after which a viewer who does not read is cut off.
        pages: the dashboard, at `/`.
    """

    def __init__(
        self,
        *,
        health: Callable[[], Health],
        metrics: Metrics,
        observatory: Observatory,
        broadcast: Broadcast,
        version: str = "0",
        cut: float = CUT,
        pages: Pages | None = None,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._observatory = observatory
        self._broadcast = broadcast
        self._version = version
        self._cut = cut
        self._pages = pages
        self._openapi: bytes | None = None
        self._turns = Turns()

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=1024, middlewares=[_name_bad_parameters])
        get = app.router.add_get
        costly = self._in_turn
        get("/livez", self._livez)
        get("/readyz", self._readyz)
        get("/metrics", costly(self._show_metrics))
        get("/openapi.json", self._show_openapi)
        get("/overview", costly(self._overview))
        get("/actors", costly(self._actors))
        get("/actors/{id}", costly(self._actor))
        get("/takedowns/recent", costly(self._recent))
        get("/takedowns/{takedownId}", costly(self._takedown))
        get("/machines", costly(self._machines))
        get("/machines/{name}", costly(self._machine))
        get("/statistics", costly(self._statistics))
        get("/history", costly(self._history))
        get("/incidents", costly(self._incidents))
        get("/losses", costly(self._losses))
        get("/catalogue/doubts", costly(self._doubts))
        get("/stream", self._stream, allow_head=False)
        if self._pages is not None:
            self._pages.add_to(app)
        return app

    def _in_turn(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self._turns.full:
                response = _problem(
                    503, "too-many-requests", "Too many requests", "Ask again in a moment"
                )
                response.force_close()  # else its next requests wait here
                return response
            async with self._turns:
                return await handler(request)

        return handle

    # ------------------------------------------------------------ for machines that ask

    async def _livez(self, _request: web.Request) -> web.Response:
        return _answer(Alive(status="alive"))

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._health()
        body = Ready(
            status="ready" if health.ready else "not ready",
            checks=checks_of(health.checks),
            missing_safeguards=safeguards_of(health.missing_safeguards),
        )
        return _answer(body, 200 if health.ready else 503)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encoder(self._metrics.registry)
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": content_type})

    async def _show_openapi(self, request: web.Request) -> web.Response:
        _require(request)
        if self._openapi is None:
            self._openapi = msgspec_json.encode(document(self._version))
        return web.Response(body=self._openapi, headers=_HEADERS, content_type="application/json")

    # ------------------------------------------------------------- for people who look

    async def _overview(self, request: web.Request) -> web.Response:
        _require(request)
        return _answer(self._observatory.overview(await self._observatory.snapshot()))

    async def _actors(self, request: web.Request) -> web.Response:
        query = actors_query(_require(request, ACTOR_PARAMETERS))
        return _answer(await self._observatory.actors(query))

    async def _actor(self, request: web.Request) -> web.Response:
        _require(request)
        detail = self._observatory.actor(request.match_info["id"])
        return _not_there("No such actor is alive") if detail is None else _answer(detail)

    async def _recent(self, request: web.Request) -> web.Response:
        query = recent_query(_require(request, RECENT_PARAMETERS))
        return _answer(self._observatory.recent(query))

    async def _takedown(self, request: web.Request) -> web.Response:
        _require(request)
        timeline = self._observatory.takedown(request.match_info["takedownId"].lower())
        if timeline is None:
            return _not_there("No such takedown is in flight or stored")
        return _answer(timeline)

    async def _machines(self, request: web.Request) -> web.Response:
        _require(request)
        return _answer(self._observatory.machines(await self._observatory.snapshot()))

    async def _machine(self, request: web.Request) -> web.Response:
        _require(request)
        snapshot = await self._observatory.snapshot()
        machine = self._observatory.machine(request.match_info["name"], snapshot)
        return _not_there("There is no such machine") if machine is None else _answer(machine)

    async def _statistics(self, request: web.Request) -> web.Response:
        _require(request)
        return _answer(self._observatory.statistics())

    async def _history(self, request: web.Request) -> web.Response:
        minutes = _require(request, HISTORY_PARAMETERS).get("minutes", 15)
        return _answer(self._observatory.history(minutes))

    async def _incidents(self, request: web.Request) -> web.Response:
        _require(request)
        return _answer(self._observatory.incidents())

    async def _losses(self, request: web.Request) -> web.Response:
        _require(request)
        return _answer(self._observatory.lost())

    async def _doubts(self, request: web.Request) -> web.Response:
        limit = _require(request, DOUBTS_PARAMETERS).get("limit", 50)
        return _answer(self._observatory.doubts(limit))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        wanted = watching(_require(request, STREAM_PARAMETERS))
        if self._broadcast.full:
            return _problem(
                503, "too-many-viewers", "Too many viewers", "Close another one and try again"
            )
        return await stream(request, self._broadcast, wanted, cut=self._cut)


def _require(request: web.Request, parameters: tuple[Parameter, ...] = ()) -> dict[str, Any]:
    return parse(request.query, parameters)


def _answer(body: object, status: int = 200) -> web.Response:
    return json_response(status, body, headers=_HEADERS)


def _not_there(detail: str) -> web.Response:
    return _problem(404, "not-found", "Not found", detail)


def _problem(
    status: int, code: str, title: str, detail: str, parameter: str | None = None
) -> web.Response:
    name = new_takedown_id()
    body = BadRequest(
        type=f"urn:takedown:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        instance=f"urn:uuid:{name}",
        takedown_id=name,
        parameter=parameter,
    )
    headers = {**_HEADERS, "Takedown-Id": name}
    if status == 503:  # noqa: PLR2004 - the status's own number reads best
        headers["Retry-After"] = "5"
    return json_response(status, body, headers=headers, problem=True)


@web.middleware
async def _name_bad_parameters(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadParameter as error:
        return _problem(400, "invalid-parameter", "Invalid parameter", error.detail, error.name)
