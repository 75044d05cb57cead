"""The dashboard's files at the admin API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from support.wire import exchange, request

from operations.admin.static import FOLDER, PREFIX, Pages, read_files
from web.server import HttpServer


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages(read_files())


@pytest.fixture
async def address(pages: Pages) -> AsyncIterator[str]:
    app = web.Application()
    pages.add_to(app)
    server = HttpServer(app, host="127.0.0.1", port=0, setting="PORT", max_connections=10)
    await server.open()
    yield server.address
    await server.close()


NAMES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    return {name: (FOLDER / name).read_bytes() for name in NAMES}


@pytest.mark.parametrize("path", ["/", *(PREFIX + name for name in NAMES)])
async def test_each_file_is_served_with_its_type_and_a_strict_policy(
    address: str, bodies: dict[str, bytes], path: str
) -> None:
    answer = await exchange(address, request("GET", path))

    assert answer.status == 200
    assert answer.body == bodies[path.rpartition("/")[2] or "index.html"]
    kind = {"": "text/html", "html": "text/html", "css": "text/css", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].startswith(
        kind.get(path.rpartition(".")[2].strip("/"), "text/javascript")
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert {"script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not any("unsafe" in rule or "*" in rule or "data:" in rule for rule in policy)


async def test_a_browser_that_has_the_file_is_told_so(address: str) -> None:
    tag = (await exchange(address, request("GET", "/"))).headers["etag"]

    for known in (tag, f'"other", W/{tag}', "*"):
        again = await exchange(address, request("GET", "/", f"If-None-Match: {known}"))
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag

    other = await exchange(address, request("GET", "/", 'If-None-Match: "other"'))
    assert other.status == 200


@pytest.mark.parametrize(
    "name", ["none.js", "..%2fpages.py", "%2e%2e/pages.py", "index.html/", "", "%00", "INDEX.HTML"]
)
async def test_nothing_else_can_be_had(address: str, name: str) -> None:
    answer = await exchange(address, request("GET", PREFIX + name))

    assert answer.status == 404


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_an_outside_address(name: str) -> None:
    text = (FOLDER / name).read_text()

    found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", text))
    assert found <= {"http://www.w3.org/2000/svg"}  # a name, from which nothing is loaded


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_no_script_parses_text_as_markup_or_code(name: str) -> None:
    text = (FOLDER / name).read_text()

    parsers = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|Function\("
    )
    assert re.findall(parsers + r"|setHTML|srcdoc|createContextualFragment", text) == []


def test_the_page_has_nothing_inline() -> None:
    text = (FOLDER / "index.html").read_text()

    assert "<style" not in text
    assert re.findall(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|javascript:", text) == []


def luminance(colour: str) -> float:
    """Of `#rrggbb`, as WCAG has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


SHADES = "text muted faint accent ok warn bad idle locating active deleted notfound timedout"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [*SHADES.split(), "refused", "unavailable", "failed"])
def test_every_text_stands_out_from_what_is_under_it(name: str, theme: str) -> None:
    css = (FOLDER / "base.css").read_text()
    colours = {
        each: pair[theme == "dark"]
        for each, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    }

    for under in ("surface", "bg"):
        assert contrast(colours[name], colours[under]) >= 4.5, under
