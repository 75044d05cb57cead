"""The admin API of a service with several workers."""

from __future__ import annotations

import asyncio
import html
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from app.workers.metrics import BadExposition, merge, own, parse, registry_of
from app.workers.proxy import Passing, Unanswered
from app.workers.readiness import WorkerHealth, merged
from operations.admin.static import HEADERS
from operations.metrics.metrics import choose_encoder
from web.problems import json_response, problem_response
from web.server import new_takedown_id
from web.turns import Turns

if TYPE_CHECKING:
    from app.workers.child import Keeper
    from app.workers.client import Questions
    from app.workers.supervisor import Supervisor
    from coordinator.readiness import Health

logger = logging.getLogger("takedown.workers")

_NO_STORE = {"Cache-Control": "no-store"}
_STREAMS = 128


class WorkersApi:
    """The application behind that server.

    Args:
        supervisor: whose workers are spoken for.
        questions: asks them.
    """

    def __init__(self, supervisor: Supervisor, questions: Questions) -> None:
        self._supervisor = supervisor
        self._questions = questions
        self._turns = Turns()
        self._passing = Passing(questions.http, maximum=_STREAMS)

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/", self._index)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/workers", self._workers)
        app.router.add_get(r"/workers/{number:[0-9]{1,4}}{tail:/.*}", self._pass_on)
        return app

    async def healths(self) -> list[WorkerHealth]:
        """Ask every worker for its readiness, all at once."""

        async def ask(keeper: Keeper) -> WorkerHealth:
            worker = keeper.worker
            answered = None
            if worker is not None and worker.admin is not None:
                answered = await self._questions.health(worker.admin)
            # As it is now: it may have ended meanwhile, and another one be there.
            return WorkerHealth(
                number=keeper.number,
                state=keeper.state,
                listening=keeper.worker is not None and keeper.worker.listening,
                health=answered if keeper.worker is worker else None,
                ending=keeper.ending,
            )

        return list(await asyncio.gather(*(ask(keeper) for keeper in self._supervisor.keepers)))

    async def health(self) -> Health:
        """The readiness of the whole service."""
        return merged(await self.healths(), stopping=self._supervisor.stopping)

    async def _index(self, _request: web.Request) -> web.Response:
        # Each worker's takedowns are its own, and so is its dashboard.
        links = "".join(
            f'<li><a href="workers/{keeper.number}/">Worker {keeper.number}</a>: '
            f"{html.escape(keeper.state)}</li>"
            for keeper in self._supervisor.keepers
        )
        return web.Response(
            text=f'<!doctype html><html lang="en"><title>takedown</title><h1>Workers</h1>'
            f'<ul>{links}</ul><p>All of them: <a href="readyz">readiness</a>, '
            f'<a href="metrics">metrics</a>, <a href="workers">as JSON</a></p></html>',
            content_type="text/html",
            headers=HEADERS,
        )

    async def _livez(self, _request: web.Request) -> web.Response:
        # Of the supervisor alone: a worker that hangs is its business, and nobody else's.
        return json_response(200, {"status": "alive"}, headers=_NO_STORE)

    async def _readyz(self, _request: web.Request) -> web.Response:
        workers = await self.healths()
        health = merged(workers, stopping=self._supervisor.stopping)
        body = {
            "status": "ready" if health.ready else "not ready",
            "checks": _shown(health),
            "missingSafeguards": [
                {"name": name, "why": why}
                for name, why in sorted(health.missing_safeguards.items())
            ],
            "workers": [
                {
                    "worker": each.number,
                    "state": each.state,
                    "ready": each.problem is None,
                    "detail": each.problem or "ok",
                    "checks": _shown(each.health) if each.health else {},
                }
                for each in workers
            ],
        }
        return json_response(200 if health.ready else 503, body, headers=_NO_STORE)

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._turns.full:
            response = problem_response(
                503, "too-many-requests", "Too many requests", "Ask again in a moment",
                new_takedown_id(), headers={"Retry-After": "5"},
            )  # fmt: skip
            response.force_close()
            return response
        texts = await asyncio.gather(*(self._text(each) for each in self._supervisor.keepers))
        async with self._turns:
            return self._merged(request, texts)

    def _merged(self, request: web.Request, texts: list[str | None]) -> web.Response:
        parsed = {}
        for number, text in enumerate(texts):
            try:
                if text is not None:
                    parsed[number] = parse(text)
            except BadExposition as error:  # it counts as not up
                logger.warning("What worker %d shows are no metrics: %s", number, error)
        keepers = self._supervisor.keepers
        families = [
            *own(
                {each.number: each.number in parsed for each in keepers},
                {each.number: each.restarts for each in keepers},
            ),
            *merge(parsed),
        ]
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(
            body=encoder(registry_of(families)), headers={"Content-Type": content_type}
        )

    async def _text(self, keeper: Keeper) -> str | None:
        if keeper.worker is None or keeper.worker.admin is None:
            return None
        return await self._questions.metrics(keeper.worker.admin)

    async def _workers(self, _request: web.Request) -> web.Response:
        body = {
            "workers": [
                {
                    "worker": keeper.number,
                    "state": keeper.state,
                    "pid": keeper.worker.pid if keeper.worker else None,
                    "admin": keeper.worker.admin if keeper.worker else None,
                    "restarts": keeper.restarts,
                    "lastEnd": keeper.ending,
                }
                for keeper in self._supervisor.keepers
            ]
        }
        return json_response(200, body, headers=_NO_STORE)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        number = int(request.match_info["number"])
        keepers = self._supervisor.keepers
        if number >= len(keepers):
            return _problem(HTTPStatus.NOT_FOUND, f"The workers are 0 to {len(keepers) - 1}")
        worker = keepers[number].worker
        if worker is None or worker.admin is None:
            return _unavailable(f"Worker {number} is {keepers[number].state}")
        if self._passing.full:
            return _unavailable("Too many answers of workers are in flight")
        tail = "/" + request.rel_url.raw_path.split("/", 3)[3]
        try:
            return await self._passing.pass_on(request, worker.admin, tail)
        except Unanswered as error:
            return _problem(HTTPStatus.BAD_GATEWAY, f"Worker {number}: {error}")


def _shown(health: Health) -> dict[str, object]:
    return {
        name: {"ok": problem is None, "detail": problem or "ok"}
        for name, problem in health.checks.items()
    }


def _unavailable(detail: str) -> web.Response:
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "1"})


def _problem(
    status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None
) -> web.Response:
    code = status.phrase.lower().replace(" ", "-")
    return problem_response(
        status, code, status.phrase.capitalize(), detail, new_takedown_id(), headers=headers
    )
