"""What the supervisor asks workers at their admin APIs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from coordinator.readiness import Health

if TYPE_CHECKING:
    from typing import Self

_WITHIN = 2.0


class _Check(msgspec.Struct):
    ok: bool
    detail: str = ""


class _Safeguard(msgspec.Struct):
    name: str
    why: str


class _Readyz(msgspec.Struct, rename="camel"):
    checks: dict[str, _Check]
    missing_safeguards: list[_Safeguard] = []


_readyz = msgspec.json.Decoder(_Readyz)


class Questions:
    """Asks; a worker that does not answer, or not what it should, has not answered.

    Args:
        within: seconds that an answer may take.
    """

    def __init__(self, *, within: float = _WITHIN) -> None:
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=within),
            # Answers are passed on as they are, and nobody gets one that it did not ask for.
            auto_decompress=False,
            skip_auto_headers={"Accept-Encoding", "User-Agent"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Hang up."""
        await self.http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def alive(self, admin: str) -> bool:
        """Whether the worker's loop answers."""
        try:
            async with self.http.get(f"{admin}/livez") as answer:
                return answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def health(self, admin: str) -> Health | None:
        """What the worker says of its readiness."""
        try:
            async with self.http.get(f"{admin}/readyz") as answer:
                body = _readyz.decode(await answer.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return None
        return Health(
            {name: None if check.ok else check.detail for name, check in body.checks.items()},
            {each.name: each.why for each in body.missing_safeguards},
        )

    async def metrics(self, admin: str) -> str | None:
        """The worker's metrics in Prometheus' text format."""
        try:
            headers = {"Accept": "text/plain; version=0.0.4"}
            async with self.http.get(f"{admin}/metrics", headers=headers) as answer:
                if answer.status != HTTPStatus.OK:
                    return None
                return (await answer.read()).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError):
            return None
