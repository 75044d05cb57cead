"""Bytes that could be read in two ways: one request is executed, or none, and the rest is dropped.

Raw sockets, both servers. `TARGET` exists in the platform: any takedown of it that is started by
mistake is published, and is found at the end.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from support import wire
from support.observed import scrape
from support.platform import Names, containers, platform, read_topic
from support.processes import Process
from support.wire import connected, exchange

TARGET = "7d3c6c0e-3c83-4a7e-8f0e-5a1b7d7f9e01"
WITHIN = 1.0
"""Seconds in which what fails before a request is complete is answered or closed."""

CHUNKED = "Transfer-Encoding: chunked"
UNKNOWN = "/items/00000000-0000-4000-8000-000000000000"
SMUGGLED = wire.request("DELETE", f"/items/{TARGET}")


@pytest.fixture(scope="module", autouse=True)
def target(service: Process, bootstrap: str, names: Names) -> None:  # noqa: ARG001 - its topics
    async def publish() -> None:
        async with platform(bootstrap, names) as items:
            await items.publish_item(TARGET, containers(1))

    asyncio.run(publish())


@pytest.fixture(autouse=True)
async def the_service_goes_on_and_reports_no_defect(
    api: str, admin: str, service: Process
) -> AsyncIterator[None]:
    yield
    answer = await exchange(api, wire.request("DELETE", f"/items/{uuid.uuid4()}"))
    assert answer.status == 404
    assert (await exchange(admin, wire.request("GET", "/livez"))).status == 200
    assert not [e for e in service.events() if e["level"] in {"error", "critical"}]
    assert "Traceback" not in service.text()


async def statuses(address: str, *segments: bytes, half_close: bool = False) -> list[int]:
    """The status of each answer to these segments, sent one after the other, until it closes."""
    found = []
    async with connected(address) as connection:
        for segment in segments:
            await connection.send(segment)
            await asyncio.sleep(0.1)
        if half_close:
            connection.end()
        while (answer := await connection.answer(within=5)) is not None:
            found.append(answer.status)
    return found


# ----------------------------------------------------------------- what cannot be a request

REFUSED = {
    "an IDNA name that cannot be decoded": b"DELETE http://xn--/items/%b HTTP/1.1",
    "another one": b"DELETE http://xn--a/items/%b HTTP/1.1",
    "a port that is none": b"DELETE http://a:b/items/%b HTTP/1.1",
    "a port that is too large": b"DELETE http://a:99999/items/%b HTTP/1.1",
    "an address that is none": b"DELETE http://[::z]/items/%b HTTP/1.1",
    "an address that does not end": b"DELETE http://[::1/items/%b HTTP/1.1",
    "a password": b"DELETE http://a:b@c/items/%b HTTP/1.1",
    "another scheme": b"DELETE ftp://a/items/%b HTTP/1.1",
    "no host": b"DELETE http:///items/%b HTTP/1.1",
    "a label that is too long": b"DELETE http://" + b"a" * 70 + b".xn--x/items/%b HTTP/1.1",
    "HTTP/2.0": b"DELETE /items/%b HTTP/2.0",
    "HTTP/1.2": b"DELETE /items/%b HTTP/1.2",
    "HTTP/0.9": b"DELETE /items/%b HTTP/0.9",
    "a version in lower case": b"DELETE /items/%b http/1.1",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("server", ["api", "admin"])
async def test_a_request_line_that_cannot_be_right_is_a_400_and_closed_within_a_second(
    request: pytest.FixtureRequest, server: str, line: bytes
) -> None:
    address = request.getfixturevalue(server)
    async with connected(address) as connection:
        await connection.send(line.replace(b"%b", TARGET.encode()) + b"\r\nHost: x\r\n\r\n")
        answer = await connection.answer(within=WITHIN)

        assert answer is not None
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert await connection.closed(within=WITHIN)


async def test_no_number_of_broken_requests_makes_the_admin_server_unreachable(admin: str) -> None:
    data = b"DELETE http://xn--/ HTTP/1.1\r\nHost: x\r\n\r\n"
    open_ones = [await asyncio.open_connection(*_place(admin)) for _ in range(260)]
    try:
        for _, writer in open_ones:
            writer.write(data)
        await asyncio.sleep(WITHIN)
        assert (await exchange(admin, wire.request("GET", "/livez"))).status == 200
    finally:
        for _, writer in open_ones:
            writer.close()


async def test_no_number_of_silent_connections_makes_the_admin_server_unreachable(
    admin: str,
) -> None:
    open_ones = [await asyncio.open_connection(*_place(admin)) for _ in range(260)]
    try:
        for _, writer in open_ones[::2]:
            writer.write(b"GET /livez HTTP/1.1\r\nHos")
        await asyncio.sleep(0.1)
        assert (await exchange(admin, wire.request("GET", "/livez"))).status == 200
    finally:
        for _, writer in open_ones:
            writer.close()


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


# --------------------------------------------------- the end of a request that is not certain


@pytest.mark.parametrize("server", ["api", "admin"])
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0", "x", ""])
async def test_the_body_of_a_request_behind_an_upgrade_is_never_a_request(
    request: pytest.FixtureRequest, server: str, protocol: str
) -> None:
    address = request.getfixturevalue(server)
    first = _request("DELETE", UNKNOWN, "Connection: Upgrade", f"Upgrade: {protocol}")
    second = _request("POST", "/nowhere", f"Content-Length: {len(SMUGGLED)}")

    found = await statuses(address, first + second, SMUGGLED)

    assert len(found) <= 2
    assert 200 not in found


@pytest.mark.parametrize(
    "first",
    [
        wire.request("DELETE", "/nowhere", "Content-Length: 3", body="abc", close=False),
        wire.request("DELETE", "/nowhere", CHUNKED, body="3\r\nabc\r\n0\r\n\r\n", close=False),
        wire.request("DELETE", "/nowhere", CHUNKED, body="0\r\nA: b\r\n\r\n", close=False),
        wire.request("DELETE", "/nowhere", CHUNKED, body="3;x=y\r\nabc\r\n0\r\n\r\n", close=False),
        wire.request("CONNECT", "a:80", close=False),
    ],
    ids=["length", "chunked", "a trailer", "a chunk extension", "CONNECT"],
)
@pytest.mark.parametrize("server", ["api", "admin"])
@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "two segments"])
async def test_what_follows_a_body_or_a_change_of_protocol_is_dropped_and_the_connection_closed(
    request: pytest.FixtureRequest, server: str, first: bytes, apart: bool
) -> None:
    address = request.getfixturevalue(server)

    found = await statuses(address, *([first, SMUGGLED] if apart else [first + SMUGGLED]))

    assert len(found) == 1
    assert found[0] in {400, 404, 405}


async def test_a_takedown_whose_body_does_not_come_to_its_end_is_not_begun(
    api: str, admin: str
) -> None:
    begun = (await scrape(admin)).value("takedown_accepted_total")
    length = wire.request(
        "DELETE", f"/items/{TARGET}", "Content-Length: 10", body="abc", close=False
    )
    chunks = wire.request("DELETE", f"/items/{TARGET}", CHUNKED, body="5\r\nab", close=False)
    for data in (length, chunks):
        assert await statuses(api, data, half_close=True) == [400]
    assert await statuses(api, chunks, b"c\r\nrubbish\r\n") == [400]
    assert (await scrape(admin)).value("takedown_accepted_total") == begun


async def test_a_good_request_before_rubbish_is_answered_and_the_rubbish_is_a_400(
    api: str,
) -> None:
    good = _request("DELETE", UNKNOWN)
    assert await statuses(api, good + good + b"\x16\x03\x01rubbish\r\n\r\n") == [404, 404, 400]
    assert await statuses(api, good, b"BREW / HTTP/1.1\r\n\r\n", SMUGGLED) == [404, 400]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_where_segments_begin_and_end_makes_no_difference(api: str, size: int) -> None:
    data = b"\r\n" + _request("DELETE", UNKNOWN) + _request("GET", UNKNOWN)
    async with connected(api) as connection:
        for start in range(0, len(data), size):
            await connection.send(data[start : start + size])
            await asyncio.sleep(0)
        first, second = [await connection.answer() for _ in range(2)]

    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (404, 405)


async def test_http_1_0_with_chunks_is_refused(api: str) -> None:
    data = f"DELETE {UNKNOWN} HTTP/1.0\r\n{CHUNKED}\r\n\r\n0\r\n\r\n".encode()
    assert await statuses(api, data + SMUGGLED) == [400]


# ------------------------------------------------------------------------------ half-closed


@pytest.mark.parametrize("server", ["api", "admin"])
@pytest.mark.parametrize("count", [1, 3])
async def test_a_caller_that_half_closes_after_its_requests_gets_its_answers(
    request: pytest.FixtureRequest, server: str, count: int
) -> None:
    address = request.getfixturevalue(server)
    data, status = (_request("DELETE", UNKNOWN), 404) if server == "api" else (b"", 200)
    data = data or _request("GET", "/livez")
    async with connected(address) as connection:
        await connection.send(data * count)
        connection.end()
        for _ in range(count):
            answer = await connection.answer(within=3)
            assert answer is not None
            assert answer.status == status
        assert await connection.closed(within=WITHIN)


async def test_a_caller_that_half_closes_while_its_takedown_is_in_flight_gets_the_answer(
    api: str, bootstrap: str, names: Names
) -> None:
    async with platform(bootstrap, names) as items, connected(api) as connection:
        item_id = str(uuid.uuid4())
        await items.publish_item(item_id, containers(1))
        await connection.send(_request("DELETE", f"/items/{item_id}", "Prefer: wait=1"))
        await items.wait_for_requests(item_id, 1)
        connection.end()
        answer = await connection.answer(within=3)

    assert answer is not None
    assert answer.status == 504


@pytest.mark.parametrize("server", ["api", "admin"])
async def test_a_request_that_ends_before_its_head_does_is_refused_and_closed(
    request: pytest.FixtureRequest, server: str
) -> None:
    address = request.getfixturevalue(server)
    assert await statuses(address, b"DELETE / HTTP/1.1\r\nHost: x\r\n", half_close=True) == [400]
    assert await statuses(address, b"", half_close=True) == []


# ------------------------------------------------------------------------------ never a 500


@pytest.mark.parametrize("value", ["café", "caf\xe9".encode().decode("latin-1"), "\xff", "x" * 900])
@pytest.mark.parametrize("server", ["api", "admin"])
@pytest.mark.parametrize("path", [UNKNOWN, "/livez", "/nowhere"])
async def test_an_expectation_in_any_encoding_is_a_417(
    request: pytest.FixtureRequest, server: str, path: str, value: str
) -> None:
    address = request.getfixturevalue(server)
    answer = await exchange(address, _request("GET", path, f"Expect: {value}"))
    assert answer.status == 417
    assert answer.json()["type"] == "urn:takedown:problem:expectation-failed"


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=x",
        "application/openmetrics-text;version=1.0.0;version=",
        "application/openmetrics-text;escaping=x;version=9",
        "application/openmetrics-text; version = 1.0.0",
        "application/openmetrics-text;version=-1.0",
        "text/plain;version=x",
        "\xff;\xff=\xff",
        ";;;,,,===",
        "",
    ],
)
async def test_metrics_are_shown_whatever_format_is_asked_for(admin: str, accept: str) -> None:
    answer = await exchange(admin, _request("GET", "/metrics", f"Accept: {accept}"))
    assert answer.status in {200, 406}
    assert answer.status == 406 or b"takedown_accepted_total" in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/actors/%ff", "/actors/%00", "/actors/%ed%a0%80", "/takedowns/%ff", "/machines/%c3%28",
        "/actors?%ff=%ff", "/actors?limit=%ff", "/history?minutes=%ff", "/stream?%ed%a0%80=1",
        "/takedowns/recent?limit=%d9%a3", "/actors?limit=" + "9" * 5000, "/history?minutes=1e999",
        "/%ff", "/dashboard/%ff", "//livez", "/livez/../livez", "/?%ff", "*", "/.%2e/", "/a?b?c#d",
        "http://[::1]/livez", "http://x/livez", "HTTP://USER:PASS@x:80/actors?x=%ff", "/%",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "HEAD", "DELETE", "TRACE", "M-SEARCH"])
async def test_no_target_is_a_500(api: str, admin: str, method: str, path: str) -> None:
    for address in (api, admin):
        if path.startswith("/stream") and method == "GET" and address == api:
            continue
        answer = await exchange(address, _request(method, path), head=method == "HEAD")
        assert answer.status < 500, answer


def _request(method: str, path: str, *headers: str) -> bytes:
    return wire.request(method, path, *headers, close=False)


# ------------------------------------------------------------------------------ at the end


async def test_of_all_this_no_takedown_was_published_but_the_one_that_was_asked_for(
    bootstrap: str, names: Names
) -> None:
    records = await read_topic(bootstrap, names.reported)
    assert not [record for record in records if TARGET in repr(record)]
