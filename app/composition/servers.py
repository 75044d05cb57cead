"""The two HTTP servers of a service: the public API and the admin API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from app.open_files import admin_connections
from app.tracing import version
from operations.admin.api import AdminApi
from operations.admin.static import Pages
from web.api import PublicApi
from web.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from app.composition.observability import Observability
    from app.settings import Settings
    from app.tracing import Tracing
    from coordinator.readiness import Health, Readiness
    from web.api import Ask


class Servers:
    """Builds both servers; neither is opened.

    Args:
        settings: every setting.
        readiness: every check.
        observability: what the admin API shows.
        tracing: makes the spans of requests.
        ask: asks the coordinator.
        utc_now: the wall clock, for labels.
        shared: other processes listen on the callers' port, too.

    Attributes:
        public: the public API.
        admin: the admin API.
    """

    def __init__(
        self,
        settings: Settings,
        readiness: Readiness,
        observability: Observability,
        tracing: Tracing,
        *,
        ask: Ask,
        utc_now: Callable[[], datetime],
        shared: bool,
    ) -> None:
        self._readiness = readiness
        self.admin = HttpServer(
            AdminApi(
                health=self._health,
                metrics=observability.metrics,
                observatory=observability.observatory,
                broadcast=observability.broadcast,
                version=version(),
                pages=Pages(),
            ).application(),
            host=settings.admin_host,
            port=settings.admin_port,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=admin_connections(settings.http_max_connections),
            keepalive=settings.http_keepalive,
        )
        callers = PublicApi(
            ask=ask,
            timeout=settings.timeout,
            observe=observability.metrics.answered,
            utc_now=utc_now,
            traceparent=tracing.traceparent,
        )
        self.public = HttpServer(
            tracing.around(callers.handle),
            host=settings.http_host,
            port=settings.http_port,
            setting="TAKEDOWN_HTTP_PORT",
            max_connections=settings.http_max_connections,
            reuse_port=shared,
            keepalive=settings.http_keepalive,
        )

    def addresses(self) -> dict[str, str]:
        """The address of each, as fields of a log event."""
        return {"http": self.public.address, "admin": self.admin.address}

    def _health(self) -> Health:
        """What `/readyz` shows: a client that reads `ready` must also be able to connect."""
        health = self._readiness.health()
        if health.ready and not self.public.is_open:
            checks = {**health.checks, "running": "the callers' port is not open yet"}
            return replace(health, checks=checks)
        return health
