"""The dashboard's files, which a browser gets from the admin API.

They are read once and kept. Each has a strict policy for what it may load and run: nothing from
elsewhere, nothing inline; so text from outside, which the page shows, can never become a script.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "dashboard"

PREFIX = "/dashboard/"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A browser may keep it, but asks each time whether it is still the same: pages of two
    # versions of the service do not mix.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media: str
    etag: str


def read_files(folder: Path = FOLDER) -> Mapping[str, _File]:
    """Every file of the dashboard, by its name."""
    return {
        path.name: _File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
        for body in (path.read_bytes(),)
    }


class Pages:
    """Answers with the dashboard's files.

    Args:
        files: by name; `index.html` is at `/`.
    """

    def __init__(self, files: Mapping[str, _File] | None = None) -> None:
        self._files = read_files() if files is None else files

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self._index)
        app.router.add_get(PREFIX + "{name}", self._named)

    async def _index(self, request: web.Request) -> web.Response:
        return self._answer(request, "index.html")

    async def _named(self, request: web.Request) -> web.Response:
        return self._answer(request, request.match_info["name"])

    def _answer(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound
        headers = {**HEADERS, "ETag": f'"{file.etag}"'}
        known = request.if_none_match or ()
        if any(tag.value in {file.etag, "*"} for tag in known):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, headers={**headers, "Content-Type": file.media})
