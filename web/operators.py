"""The operators' door: is it alive, is it ready, and what does it count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import exposition

from web.problems import json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from health import Health
    from web.metrics import Metrics


class OperatorsDoor:
    """The application behind the operators' door.

    Args:
        health: looks at every readiness check.
        metrics: what `/metrics` shows.
    """

    def __init__(self, *, health: Callable[[], Health], metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)
        return app

    async def _livez(self, _request: web.Request) -> web.Response:
        return json_response(200, {"status": "alive"}, headers={"Cache-Control": "no-store"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._health()
        body = {
            "status": "ready" if health.ready else "not ready",
            "checks": {
                name: {"ok": problem is None, "detail": problem or "ok"}
                for name, problem in health.checks.items()
            },
        }
        status = 200 if health.ready else 503
        return json_response(status, body, headers={"Cache-Control": "no-store"})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        body = encoder(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})
