"""Framing by itself, with aiohttp's real parser; and what it needs of aiohttp's insides."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp.http import HttpRequestParser
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from web.framing import RequestFraming

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def framing() -> RequestFraming:
    loop = asyncio.get_running_loop()
    return RequestFraming(HttpRequestParser(Mock(), loop, 2**16, max_msg_queue_size=32))


def heads(parsed: Any) -> list[str]:
    """The method of each request, or the status of what is refused."""
    return [str(m.status) if isinstance(m, _ErrInfo) else m.method for m, _ in parsed[0]]


@pytest.mark.parametrize("first", [b"", b"\r\n"], ids=["at once", "behind an empty line"])
async def test_requests_come_out_as_they_went_in_however_they_are_cut(first: bytes) -> None:
    data = first + GET + GET.replace(b"GET", b"PUT") + GET
    for size in range(1, len(data) + 1):
        own, found = framing(), []
        for start in range(0, len(data), size):
            found += heads(own.feed_data(data[start : start + size]))
        assert found == ["GET", "PUT", "GET"]
        assert not own.in_head


async def test_more_requests_than_the_queue_holds_are_parsed_when_it_drains() -> None:
    own = framing()
    found = heads(own.feed_data(GET * 100))
    assert len(found) == 32
    assert own.unparsed
    for _ in range(100):
        own.message_consumed()
        found += heads(own.feed_data(b""))
    assert found == ["GET"] * 100


async def test_behind_a_body_nothing_is_a_request() -> None:
    own = framing()
    body = GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")
    ((message, payload),), _, _ = own.feed_data(body + GET)
    assert message.should_close
    assert await payload.read() == b"abc"
    assert own.ended
    assert heads(own.feed_data(GET)) == []


async def test_behind_an_upgrade_requests_are_accepted_only_once_it_was_answered() -> None:
    upgrade = GET.replace(b"Host: x", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket")
    for more in (b"", GET):
        own = framing()
        assert heads(own.feed_data(upgrade + more)) == ["GET"]
        assert own.ended == bool(more)
        if not more:
            own.answered()
            assert heads(own.feed_data(GET)) == ["GET"]
    own = framing()
    own.feed_data(upgrade)
    assert heads(own.feed_data(GET)) == []


@pytest.mark.parametrize("line", ["GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/1.01"])
async def test_a_request_line_is_taken_literally(line: str) -> None:
    own = framing()
    assert heads(own.feed_data(f"{line}\r\nHost: x\r\n\r\n".encode())) == ["400"]
    assert heads(own.feed_data(GET)) == []


@pytest.mark.parametrize(
    "header",
    [
        "Transfer-Encoding:",
        "Transfer-Encoding: \t",
        "Transfer-Encoding:\r\nTransfer-Encoding:",
        "transfer-encoding: ,",
        "Transfer-Encoding:\r\nContent-Length: 3",
        "Content-Length: 3\r\nTransfer-Encoding:",
    ],
)
async def test_a_transfer_encoding_that_is_not_chunked_makes_the_end_uncertain(header: str) -> None:
    own = framing()
    head = GET.replace(b"Host: x", b"Host: x\r\n" + header.encode())
    assert heads(own.feed_data(head)) == ["400"]
    assert heads(own.feed_data(GET)) == []


@pytest.mark.parametrize(
    "host",
    ["x y", "x:99999999999", "x:y", "[::1", "::1", "a@b", "/items", "\xff", "a\tb", "x#", "x?y"],
)
async def test_a_host_that_is_none_is_refused(host: str) -> None:
    own = framing()
    assert heads(own.feed_data(GET.replace(b"Host: x", b"Host: " + host.encode("latin-1")))) == [
        "400"
    ]


@pytest.mark.parametrize(
    "host",
    ["", "x", "x:", "x:80", "a-b.c_d:8080", "127.0.0.1", "[::1]", "[::1]:80", "[fe80::1%25eth0]",
     "[v1.a:b]", "xn--bcher-kva.example", "%41", "a!$&'()*+;=~"],
)  # fmt: skip
async def test_a_host_in_any_form_that_the_rfc_has_is_accepted(host: str) -> None:
    own = framing()
    assert heads(own.feed_data(GET.replace(b"Host: x", b"Host: " + host.encode()))) == ["GET"]


async def test_the_peers_end_in_a_head_is_refused_and_between_requests_it_is_not() -> None:
    for data, status in ((GET + b"GET", ["GET", "400"]), (GET, ["GET"])):
        own = framing()
        found = heads(own.feed_data(data))
        own.end()
        assert found + heads(own.feed_data(b"")) == status


def test_aiohttp_has_what_is_relied_on() -> None:
    """None of this is public: an upgrade may change it, and then `web.connection` must follow."""
    slots = {name for each in RequestHandler.__mro__ for name in getattr(each, "__slots__", ())}
    assert slots >= {
        "_loop",
        "_manager",
        "_messages",
        "_parser",
        "_paused",
        "_request_count",
        "_task_handler",
        "_upgraded",
        "_waiter",
    }
    for method in ("_drain_helper", "_resume_transport_reading", "finish_response", "force_close"):
        assert callable(getattr(RequestHandler, method))
    assert _ErrInfo(400, ValueError(), "").status == 400
