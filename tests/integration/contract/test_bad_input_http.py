"""Whatever comes in at the public API: a clear 4xx, nothing published, and the server goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest
from support.answers import assert_deleted, take_down
from support.observed import scrape
from support.platform import Names, confirm, containers, platform, read_topic
from support.processes import Process
from support.wire import Answer, connected, exchange, request

TARGET = "6f1a1f5e-8c8a-4a43-9d5b-0d4a6f0c7b22"
"""An item that exists: what is taken for a takedown of it by mistake publishes something."""


@pytest.fixture(scope="module", autouse=True)
def target(service: Process, bootstrap: str, names: Names) -> None:  # noqa: ARG001 - its topics
    async def publish() -> None:
        async with platform(bootstrap, names) as items:
            await items.publish_item(TARGET, containers(1))

    asyncio.run(publish())


@pytest.fixture(autouse=True)
async def nothing_is_begun_and_the_server_goes_on(api: str, admin: str) -> AsyncIterator[None]:
    begun = (await scrape(admin)).value("takedown_accepted_total")
    yield
    assert (await scrape(admin)).value("takedown_accepted_total") == begun
    answer = await exchange(api, request("DELETE", f"/items/{uuid.uuid4()}"))
    assert answer.status == 404


def assert_refused(answer: Answer, status: int, code: str) -> None:
    takedown_id = answer.headers["takedown-id"]
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert answer.status == body["status"] == status, body
    assert body["type"] == f"urn:takedown:problem:{code}"
    assert body["instance"] == f"urn:uuid:{takedown_id}"
    assert body["takedownId"] == takedown_id
    assert body["title"]
    assert body["detail"]


# -------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "item",
    [
        "",
        "42",
        "null",
        "*",
        "%00",
        f"{TARGET}%00",
        f"%00{TARGET}",
        f"{TARGET}%20",
        f"%20{TARGET}",
        f"{TARGET}%09",
        f"{TARGET}/",
        f"{TARGET}%2f",
        f"%2f{TARGET}",
        f"{TARGET}/{TARGET}",
        f"..%2fitems%2f{TARGET}",
        f"../items/{TARGET}",
        f"./{TARGET}",
        TARGET.replace("-", ""),
        TARGET.replace("-", "%2f"),
        TARGET.replace("-", "_"),
        TARGET.replace("-", "%E2%80%90"),  # another hyphen
        TARGET.replace("6", "%EF%BC%96"),  # full-width digits
        TARGET.replace("6", "%D9%A6"),  # Arabic ones
        TARGET.replace("a", "%D0%B0"),  # Cyrillic letters
        TARGET.replace("f", "%EF%BD%86"),
        f"%EF%BB%BF{TARGET}",
        f"{{{TARGET}}}",
        f"%7B{TARGET}%7D",
        f"urn:uuid:{TARGET}",
        f"0x{TARGET}",
        TARGET[:-1],
        f"{TARGET}0",
        TARGET.replace("6", "g"),
        f"{TARGET},{TARGET}",
        f"{TARGET};x=1",
        f"%zz{TARGET}",
        f"%ff{TARGET}",
        f"{TARGET}%",
        "a" * 4000,
        f"{TARGET}{'%20' * 2000}",
        "%00" * 2000,
    ],
    ids=lambda item: repr(item)[:50],
)
async def test_an_id_that_is_not_the_usual_text_of_a_uuid_is_refused(api: str, item: str) -> None:
    assert_refused(await exchange(api, request("DELETE", f"/items/{item}")), 400, "invalid-item-id")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/items",
        f"/item/{TARGET}",
        f"/Items/{TARGET}",
        f"//items/{TARGET}",
        f"/v1/items/{TARGET}",
        f"/x/../items/{TARGET}",
        f"/items%2f{TARGET}",
        f"/{TARGET}",
        "/livez",
        "/items/%0d%0a",
        f"/items/{TARGET}%0d%0aX: y",
        f"/items/{TARGET}%0a",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["DELETE", "GET"])
async def test_a_path_that_does_not_exist_is_a_400_and_never_evidence_that_an_item_does_not(
    api: str, method: str, path: str
) -> None:
    answer = await exchange(api, request(method, path))

    assert answer.status == 400
    assert answer.json()["type"] != "urn:takedown:problem:item-not-found"
    assert_refused(answer, 400, answer.json()["type"].rpartition(":")[2])


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE"]
)
@pytest.mark.parametrize("path", [f"/items/{TARGET}", "/items/nonsense"])
async def test_another_method_is_a_405(api: str, method: str, path: str) -> None:
    head = method == "HEAD"
    answer = await exchange(api, request(method, path), head=head)

    assert answer.headers["allow"] == "DELETE"
    if head:
        assert answer.status == 405
        assert answer.headers["takedown-id"]
    else:
        assert_refused(answer, 405, "method-not-allowed")


@pytest.mark.parametrize("method", ["CONNECT", "BREW", "delete", "DELETE2", "D\xcbLETE", ""])
async def test_a_method_that_nobody_knows_is_a_400(api: str, method: str) -> None:
    answer = await exchange(api, request(method, f"/items/{TARGET}"))

    assert_refused(answer, 400, answer.json()["type"].rpartition(":")[2])


# --------------------------------------------------------------------------- not HTTP


CHUNKED = "Transfer-Encoding: chunked"
DELETE = f"DELETE /items/{TARGET} HTTP/1.1\r\n"

MALFORMED = {
    "TLS": bytes.fromhex("1603010200010001fc0303") + b"\xaa" * 300,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": f"DELETE /items/{TARGET}\r\n\r\n".encode(),
    "HTTP/3.0": f"DELETE /items/{TARGET} HTTP/3.0\r\nHost: x\r\n\r\n".encode(),
    "every byte": bytes(range(256)),
    "zeros": b"\x00" * 1000,
    "an SSH client": b"SSH-2.0-OpenSSH_9.6\r\n",
    "JSON": b'{"itemId": 1}\r\n\r\n',
    "a bare line feed": f"DELETE /items/{TARGET} HTTP/1.1\nHost: x\n\n".encode(),
    "no host": f"{DELETE}\r\n".encode(),
    "two hosts": request("DELETE", f"/items/{TARGET}", "Host: other"),
    "a space in the path": request("DELETE", f"/items/ {TARGET}"),
    "raw bytes in the path": request("DELETE", f"/items/{TARGET}\xff"),
    "a line that never ends": request("DELETE", "/items/" + "a" * 10_000),
    "a header without a name": request("DELETE", f"/items/{TARGET}", ": x"),
    "a header without a colon": request("DELETE", f"/items/{TARGET}", "x"),
    "a space before the colon": request("DELETE", f"/items/{TARGET}", "Prefer : wait=1"),
    "a space in a name": request("DELETE", f"/items/{TARGET}", "Pre fer: wait=1"),
    "a raw byte in a name": request("DELETE", f"/items/{TARGET}", "Pref\xebr: wait=1"),
    "a zero in a value": request("DELETE", f"/items/{TARGET}", "X: a\x00b"),
    "a bare carriage return": request("DELETE", f"/items/{TARGET}", "X: a\rPrefer: wait=1"),
    "a folded line": request("DELETE", f"/items/{TARGET}", "X: a", " b"),
    "a huge header": request("DELETE", f"/items/{TARGET}", "X: " + "a" * 10_000),
    "a header of a megabyte": request("DELETE", f"/items/{TARGET}", "X: " + "a" * 2**20),
    "a thousand headers": request("DELETE", f"/items/{TARGET}", *(["X: y"] * 1000)),
    "a negative length": request("DELETE", f"/items/{TARGET}", "Content-Length: -1"),
    "a length with a sign": request("DELETE", f"/items/{TARGET}", "Content-Length: +1", body="a"),
    "a length that is none": request("DELETE", f"/items/{TARGET}", "Content-Length: ten"),
    "a list of lengths": request("DELETE", f"/items/{TARGET}", "Content-Length: 1, 1", body="a"),
    "a length without end": request("DELETE", f"/items/{TARGET}", "Content-Length: " + "9" * 40),
    # What a proxy before us might read in another way than we do.
    "two lengths": request(
        "DELETE", f"/items/{TARGET}", "Content-Length: 0", "Content-Length: 9", body="smuggled!"
    ),
    "the same length twice": request(
        "DELETE", f"/items/{TARGET}", "Content-Length: 1", "Content-Length: 1", body="a"
    ),
    "length and chunks": request(
        "DELETE", f"/items/{TARGET}", "Content-Length: 5", CHUNKED, body="0\r\n\r\n"
    ),
    "chunks and length": request(
        "DELETE", f"/items/{TARGET}", CHUNKED, "Content-Length: 5", body="0\r\n\r\n"
    ),
    "chunked and more": request(
        "DELETE", f"/items/{TARGET}", f"{CHUNKED}, identity", body="0\r\n\r\n"
    ),
    "nearly chunked": request(
        "DELETE", f"/items/{TARGET}", "Transfer-Encoding: xchunked", body="0\r\n\r\n"
    ),
    "only compressed": request("DELETE", f"/items/{TARGET}", "Transfer-Encoding: gzip"),
    "a chunk without a size": request("DELETE", f"/items/{TARGET}", CHUNKED, body="zz\r\n\r\n"),
    "a chunk too large to count": request(
        "DELETE", f"/items/{TARGET}", CHUNKED, body="f" * 17 + "\r\nabc"
    ),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_not_http_is_refused_and_hung_up(api: str, data: bytes) -> None:
    async with connected(api) as connection:
        sending = asyncio.ensure_future(connection.send(data))
        answer = await connection.answer()
        await sending

        assert answer is not None
        assert_refused(answer, 400, "malformed-request")
        assert await connection.closed()


@pytest.mark.parametrize("path", [f"/items/{TARGET}", "/nowhere"])
async def test_an_expectation_that_nobody_can_meet_is_refused(api: str, path: str) -> None:
    answer = await exchange(api, request("DELETE", path, "Expect: miracles"))

    assert_refused(answer, 417, "expectation-failed")


# ------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", f"/items/{TARGET}", 413),
        ("PUT", f"/items/{TARGET}", 405),
        ("POST", "/elsewhere", 400),
    ],
)
@pytest.mark.parametrize("sent", [0, 10 * 2**20], ids=["only announced", "really sent"])
async def test_a_huge_body_is_not_taken(
    api: str, method: str, path: str, status: int, sent: int
) -> None:
    length = f"Content-Length: {sent or 100_000_000}"
    async with connected(api) as connection:
        data = request(method, path, length, body=b"x" * sent, close=False)
        sending = asyncio.ensure_future(connection.send(data))
        answer = await connection.answer(within=3)

        assert answer is not None
        assert_refused(answer, status, answer.json()["type"].rpartition(":")[2])
        assert answer.headers["connection"] == "close"
        assert await connection.closed()
        await sending


async def test_a_request_in_the_body_of_another_is_no_request(api: str) -> None:
    inner = request("DELETE", f"/items/{TARGET}").decode()
    bad = [f"Content-Length: {len(inner)}"], [CHUNKED]
    bodies = inner, f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
    for headers, body in zip(bad, bodies, strict=True):
        async with connected(api) as connection:
            await connection.send(
                request("DELETE", "/items/nonsense", *headers, body=body, close=False)
            )
            answer = await connection.answer()

            assert answer is not None
            assert_refused(answer, 400, "invalid-item-id")
            assert await connection.closed()


async def test_a_good_request_behind_a_bad_one_is_answered_for_itself(api: str) -> None:
    async with connected(api) as connection:
        await connection.send(
            request("DELETE", "/items/nonsense", close=False)
            + request("GET", f"/items/{TARGET}", close=False)
            + request("DELETE", "/nowhere")
        )
        answers = [await connection.answer() for _ in range(3)]
        assert await connection.closed()

    assert [answer.status for answer in answers if answer] == [400, 405, 400]


async def test_slow_callers_do_not_keep_others_waiting(api: str) -> None:
    whole = request("GET", f"/items/{TARGET}")
    async with (
        connected(api) as silent,
        connected(api) as slow,
        connected(api) as half,
    ):
        await slow.send(whole[:10])
        await half.send(whole[:-4])
        for _ in range(20):
            answer = await exchange(api, request("DELETE", "/items/nonsense"))
            assert answer.status == 400

        # And they are served when they come to the point.
        await silent.send(whole)
        await half.send(whole[-4:])
        await slow.send(whole[10:])
        for connection in (silent, slow, half):
            late = await connection.answer()
            assert late is not None
            assert late.status == 405


async def test_connections_that_say_nothing_can_come_and_go(api: str) -> None:
    for _ in range(100):
        async with connected(api) as connection:
            connection.abort()


# -------------------------------------------------------------------------- at the end


@pytest.mark.usefixtures("nothing_is_begun_and_the_server_goes_on")
async def test_of_all_this_nothing_was_published(
    bootstrap: str, names: Names, service: Process
) -> None:
    assert await read_topic(bootstrap, names.reported) == []
    assert not [e for e in service.events() if e["level"] in {"error", "critical"}]
    assert "Traceback" not in service.text()


class TestWithABody:
    """A body that is small does no harm, and what it says does not matter."""

    @pytest.fixture
    def nothing_is_begun_and_the_server_goes_on(self) -> None:
        """Here something is begun."""

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            (["Content-Length: 0"], ""),
            (["Content-Length: 3"], "abc"),
            (["Content-Length: 65536"], "x" * 65536),
            ([CHUNKED], "3\r\nabc\r\n0\r\n\r\n"),
            ([CHUNKED], "0\r\nTrailer: x\r\n\r\n"),
            (["Content-Type: application/json", "Content-Length: 1"], "{"),
            (["Content-Encoding: gzip", "Content-Length: 3"], "abc"),
            (["Expect: 100-continue", "Content-Length: 3"], "abc"),
        ],
    )
    async def test_a_small_body_is_ignored(
        self, api: str, bootstrap: str, names: Names, headers: list[str], body: str
    ) -> None:
        async with platform(bootstrap, names, on_request=confirm):
            answer = await exchange(api, request("DELETE", f"/items/{TARGET}", *headers, body=body))

        assert answer.status == 200

    async def test_headers_that_mean_nothing_to_us_do_no_harm(
        self, http: aiohttp.ClientSession, api: str, bootstrap: str, names: Names
    ) -> None:
        async with platform(bootstrap, names, on_request=confirm):
            got = await take_down(
                http,
                api,
                TARGET,
                [
                    *((f"X-{number}", "y" * 4000) for number in range(40)),
                    ("If-Match", "*"),
                    ("Range", "bytes=0-1"),
                    ("Upgrade", "h2c"),
                    ("Cookie", "ü"),
                    ("X-HTTP-Method-Override", "GET"),
                    ("Accept", "text/html"),
                    ("Accept-Encoding", "gzip"),
                ],
            )

        assert_deleted(got, TARGET, containers(1))
        assert "content-encoding" not in got.headers
