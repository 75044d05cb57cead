"""The client of the Items service against real sockets: a good server, and hostile ones."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trustme
from support.fakes import ITEM, places

from catalogue.http.client import ItemsClient
from catalogue.http.responses import LARGEST_BODY, Answer, Fault, Located, NoEvidence, judge

Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLACES = [{"containerId": "a", "containerType": "group"}]
LOCATED = json.dumps({"itemId": ITEM, "containers": PLACES}).encode()


def response(
    status: str = "200 OK", body: bytes = LOCATED, *headers: str, kind: str = "application/json"
) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def saying(data: bytes) -> Behaviour:
    async def behave(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behave


class Server:
    """Reads one request after the other from each connection, and does with it as told."""

    def __init__(self, behave: Behaviour, url: str) -> None:
        self.behave = behave
        self.url = url
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                await self.behave(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    behave: Behaviour, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Server, ItemsClient]]:
    server = Server(behave, "")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    client = ItemsClient(f"{'https' if tls else 'http'}://127.0.0.1:{port}/base")
    try:
        yield server, client
    finally:
        await client.close()
        listening.close()
        if tls:
            await asyncio.sleep(0.05)  # the transports of TLS hang up a moment later


async def ask(behave: Behaviour) -> Answer:
    async with serving(behave) as (_, client), asyncio.timeout(10):
        return await client.get(ITEM, None)


async def refused(behave: Behaviour) -> NoEvidence:
    with pytest.raises(NoEvidence) as raised:
        await ask(behave)
    assert str(raised.value)
    return raised.value


async def test_it_asks_on_the_route_of_the_contract_and_keeps_the_connection() -> None:
    async with serving(saying(response())) as (server, client):
        for _ in range(3):
            answer = await client.get(ITEM, TRACE)
            assert judge(answer, ITEM) == Located(places("a"))
        assert server.connections == 1
    line, *headers = server.requests[0].decode().lower().split("\r\n")
    route = rf"get /base/items/{ITEM}/containers\?request=[0-9a-f]{{16}} http/1\.1"
    assert re.fullmatch(route, line)
    assert len({request.partition(b" HTTP")[0] for request in server.requests}) == 3
    assert f"traceparent: {TRACE}" in headers
    assert "accept-encoding: identity" in headers
    assert "cache-control: no-cache" in headers


async def test_a_problem_is_handed_on_with_its_type_and_retry_after() -> None:
    data = response("503 Busy", b"{}", "Retry-After: 7", kind="Application/Problem+JSON; a=b")
    answer = await ask(saying(data))
    assert answer == Answer(503, "application/problem+json", b"{}", "7")


async def test_what_a_cache_says_of_itself_is_read_from_every_line_of_it() -> None:
    for headers in (["Age: 30"], ["Cache-Status: A; fwd=miss", "Cache-Status: B; hit"]):
        assert (await ask(saying(response("200 OK", LOCATED, *headers)))).cached
    fresh = ["Age: 0", "X-Cache: MISS", "Cache-Status: A; fwd=uri-miss"]
    assert (await ask(saying(response("200 OK", LOCATED, *fresh)))).cached is None


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Fri, 02 Jan 2026 03:04:05 GMT", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05 -0000", None),
        ("02/01/2026", None),
        ("Fri, 99 Jan 2026 03:04:05 GMT", None),
        ("Fri, 02 Jan 99999999 03:04:05 GMT", None),
    ],
)
async def test_the_date_is_read_where_it_can_be(text: str, date: datetime | None) -> None:
    assert (await ask(saying(response("200 OK", LOCATED, f"Date: {text}")))).date == date
    assert (await ask(saying(response()))).date is None


async def test_a_redirect_is_not_followed_and_no_cookie_is_kept() -> None:
    async with serving(
        saying(response("302 Found", b"", "Location: /elsewhere", "Set-Cookie: a=b"))
    ) as (server, client):
        # Of a host without a name, aiohttp would keep none anyway.
        client._url = client._url.replace("127.0.0.1", "localhost")
        assert (await client.get(ITEM, None)).status == 302
        assert (await client.get(ITEM, None)).status == 302
    assert len(server.requests) == 2
    assert not any(b"ookie" in request or b"elsewhere" in request for request in server.requests)


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert (await ask(saying(response()))).status == 200


async def test_a_compressed_body_is_not_blown_up() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    answer = await ask(saying(response("200 OK", bomb, "Content-Encoding: gzip")))
    assert answer.body == bomb
    with pytest.raises(NoEvidence):
        judge(answer, ITEM)


@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "chunked"])
async def test_a_body_without_end_is_read_to_the_bound_only(declared: bool) -> None:
    sent = 0

    async def endless(_request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        framing = "Content-Length: 1000000000" if declared else "Transfer-Encoding: chunked"
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()
        )
        block = b" " * 65536
        while True:
            writer.write(block if declared else b"10000\r\n" + block + b"\r\n")
            await writer.drain()
            sent += len(block)

    answer = await ask(endless)
    assert answer.body is None
    assert sent < LARGEST_BODY + (16 << 20)  # what the sockets hold comes on top


async def test_a_body_of_the_bound_is_read_whole() -> None:
    body = LOCATED + b" " * (LARGEST_BODY - len(LOCATED))
    assert judge(await ask(saying(response(body=body))), ITEM) == Located(places("a"))


async def test_a_server_that_drips_is_given_up_when_the_caller_says_so() -> None:
    gone = asyncio.Event()

    async def drip(_request: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            for byte in response():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            gone.set()
            raise

    async with serving(drip) as (_, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.get(ITEM, None)
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_refused_connection_may_pass() -> None:
    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        client = ItemsClient(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(NoEvidence) as raised:
            await client.get(ITEM, None)
        await client.close()
    assert raised.value.fault is Fault.PASSING


async def hang_up(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(response()[:-5])
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("behave", [hang_up, reset, half])
async def test_a_server_that_hangs_up_may_do_better_the_next_time(behave: Behaviour) -> None:
    assert (await refused(behave)).fault is Fault.PASSING


async def test_a_server_that_hangs_up_is_asked_once_in_an_attempt() -> None:
    """Where a retry belongs, and what the circuit counts, is its caller's business."""
    answers = [response()]

    async def answer_once(_request: bytes, writer: asyncio.StreamWriter) -> None:
        if answers:
            writer.write(answers.pop())
        else:
            writer.close()

    async with serving(answer_once) as (server, client):
        assert judge(await client.get(ITEM, None), ITEM) == Located(places("a"))
        for asked in (2, 3):  # on a connection that was kept, and on one of its own
            with pytest.raises(NoEvidence) as raised:
                await client.get(ITEM, None)
            assert raised.value.fault is Fault.PASSING
            assert len(server.requests) == asked


NOT_HTTP = {
    "a banner": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "noise": bytes(range(256)) * 10 + b"\r\n\r\n",
    "a broken header": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("what", NOT_HTTP)
async def test_what_does_not_speak_http_is_no_items_service(what: str) -> None:
    assert (await refused(saying(NOT_HTTP[what]))).fault is Fault.LASTING


async def test_a_chunk_that_is_none_is_no_evidence() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    await refused(saying(data))


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(saying(response()), tls=tls) as (server, client):
        with pytest.raises(NoEvidence, match="TLS") as raised:
            await client.get(ITEM, None)
    assert raised.value.fault is Fault.LASTING
    assert server.requests == []


async def test_https_to_a_server_that_speaks_none_is_refused() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(plain, "127.0.0.1", 0)
    client = ItemsClient(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    with pytest.raises(NoEvidence, match="TLS") as raised:
        await client.get(ITEM, None)
    await client.close()
    listening.close()
    assert raised.value.fault is Fault.LASTING


async def test_to_close_what_was_never_used_is_harmless() -> None:
    await ItemsClient("http://127.0.0.1:1").close()
