"""Asks the admin API, over HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
import msgspec

from operations.observation.schemas.actors import ActorDetail
from operations.observation.schemas.takedowns import Timeline
from operations.top.query import VIEWS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from operations.top.query import Wanted

T = TypeVar("T")

_CONNECT = 5.0
_SILENCE = 25.0
"""Seconds of silence after which a stream counts as dead; the server sends something every 10."""

_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_LARGEST = 64 * 1024 * 1024


class Unreachable(Exception):
    """There is no answer, or none that helps; says why, for people."""


class Client:
    """One admin API. Use it as a context manager.

    Args:
        url: its address.
        worker: of a service with workers: which one; None finds out.
    """

    def __init__(self, url: str, worker: int | None = None) -> None:
        self.url = url.rstrip("/")
        self.worker = worker
        self.workers = 0
        self._looked = False
        self._session: aiohttp.ClientSession | None = None
        self._last_id: tuple[str, Wanted, int | None] | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT, sock_read=_SILENCE)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def next_worker(self) -> None:
        """Look at another worker."""
        if self.workers:
            self.worker = ((self.worker or 0) + 1) % self.workers

    async def events(self, wanted: Wanted) -> AsyncIterator[tuple[str, bytes]]:
        """The stream's events: kind and data; first `open`, when there is a stream at all.

        It begins where the last one ended, if it can.

        Raises:
            Unreachable: there is none, or it broke off.
        """
        self._looked = False  # it may be another service by now
        await self._find_worker()
        headers = {"Accept": "text/event-stream"}
        if self._last_id is not None and self._last_id[1:] == (wanted, self.worker):
            headers["Last-Event-ID"] = self._last_id[0]
        parameters = {"view": VIEWS, **wanted.parameters()}
        async with self._asking(f"{self._base}/stream", parameters, headers) as answer:
            yield "open", b""
            buffer = b""
            async for chunk in answer.content.iter_any():
                *frames, buffer = (buffer + chunk).split(b"\n\n")
                for frame in frames:
                    kind, name, data = _event(frame)
                    if kind:
                        yield kind, data
                        # Only now: what was not taken in must be said again.
                        self._last_id = (name, wanted, self.worker)
                if len(buffer) > _LARGEST:
                    raise Unreachable("the stream has events that are too large")
        raise Unreachable("the service has ended the stream")

    def begin_anew(self) -> None:
        """The next stream begins with everything."""
        self._last_id = None

    async def get(self, path: str, kind: type[T], parameters: Mapping[str, str] | None = None) -> T:
        """One answer.

        Raises:
            Unreachable: there is none of this kind.
        """
        await self._find_worker()
        async with self._asking(self._base + path, parameters or {}, {}) as answer:
            body = await answer.read()
        try:
            return msgspec.json.decode(body, type=kind)
        except _NO_JSON as error:
            raise Unreachable(f"what {path} answers is not understood: {error}") from None

    async def takedown(self, takedown_id: str) -> Timeline:
        """One takedown."""
        return await self.get(f"/takedowns/{takedown_id}", Timeline)

    async def actor(self, actor_id: str) -> ActorDetail:
        """One actor."""
        return await self.get(f"/actors/{actor_id}", ActorDetail)

    # -------------------------------------------------------------------------- inside

    @property
    def _base(self) -> str:
        return self.url if self.worker is None else f"{self.url}/workers/{self.worker}"

    async def _find_worker(self) -> None:
        """A service with workers has no actors at its own server: look at the first one then."""
        if self._looked:
            return
        try:
            async with self._asking(f"{self.url}/workers", {}, {}) as answer:
                self.workers = len(msgspec.json.decode(await answer.read())["workers"])
        except _NotThere:
            if self.worker is not None:
                raise Unreachable("this service has no workers: leave --worker out") from None
            self.workers, self._looked = 0, True
            return
        except (*_NO_JSON, KeyError, TypeError):
            raise Unreachable("that is not the admin API of takedown") from None
        self._looked = True
        if self.worker is None:
            self.worker = 0

    @asynccontextmanager
    async def _asking(
        self, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        try:
            async with self._session.get(
                url, params=parameters, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status != 200:  # noqa: PLR2004 - the status's own number reads best
                    kind = _NotThere if answer.status == 404 else Unreachable  # noqa: PLR2004
                    raise kind(f"{answer.status}: {await _detail(answer)}")
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(str(error) or type(error).__name__) from None


class _NotThere(Unreachable):
    """404."""


async def _detail(answer: aiohttp.ClientResponse) -> str:
    body: Any = None
    with suppress(*_NO_JSON):
        body = msgspec.json.decode(await answer.content.read(65536))
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail if isinstance(detail, str) else (answer.reason or "no reason given")


def _event(frame: bytes) -> tuple[str, str, bytes]:
    """Kind, id and data of one event; an empty kind for what is none."""
    fields: dict[bytes, bytes] = {}
    for line in frame.split(b"\n"):
        name, _, value = line.partition(b":")
        fields[name] = value.removeprefix(b" ")
    kind = fields.get(b"event", b"").decode("ascii", "replace")
    return kind, fields.get(b"id", b"").decode("ascii", "replace"), fields.get(b"data", b"")
