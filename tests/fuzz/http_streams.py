"""What one client sends on one connection: requests, broken ones, and bytes cut at odd places.

Every stream knows what must not come of it: the items that no request of it names, though their
ids (and whole requests for them) stand in bodies, in headers, in front of and behind what is
malformed.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from enum import Enum

METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PURGE",
    "M-SEARCH",
    "CONNECT",
)
PATHS = (
    "/", "/livez", "/readyz", "/metrics", "/actors", "/history?minutes=1", "/items/", "/nowhere",
    "/%ff", "/actors?%ff=%ff", "/takedowns/%00", "*", "//", "/items/%2e%2e", "/stream?x=1", "/a#b",
)  # fmt: skip
HEADERS = (
    "Accept: */*", "X: y", "Accept: application/openmetrics-text;version=x", "Cookie: \xff\xfe",
    "Prefer: wait=1", "Prefer: ,,;=", "traceparent: x", "Content-Length: 0", "X-Empty:", "Range: x",
    "Connection: keep-alive", "TE: trailers", "If-None-Match: \xe9", "Accept: \xff;q=\xff",
    "Expect: caf\xe9", "Expect: 100-continue", "Content-Encoding: gzip", "Prefer: wait=\xb2",
)  # fmt: skip
_DELETE = b"DELETE /items/%b HTTP/1.1\r\nHost: x\r\n"

MALFORMED = (
    b"DELETE /items/%b HTTP/2.0\r\nHost: x\r\n\r\n",
    b"DELETE /items/%b HTTP/0.9\r\n\r\n",
    b"DELETE /items/%b\r\n\r\n",
    b"DELETE /items/%b HTTP/1.1\r\n\r\n",
    b"DELETE http://xn--/items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE http://[::z]/items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE http://a:b@c/items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE ftp://c/items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"delete /items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE  /items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE\t/items/%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE /items/%b HTTP/1.1\nHost: x\n\n",
    _DELETE + b"Host: y\r\n\r\n",
    b"DELETE /items/%b HTTP/1.1\r\nHost : x\r\n\r\n",
    _DELETE + b" folded\r\n\r\n",
    _DELETE + b"A: \x00\r\n\r\n",
    _DELETE + b"A: b\rC: d\r\n\r\n",
    _DELETE + b"Content-Length: -1\r\n\r\n",
    _DELETE + b"Content-Length: 1, 1\r\n\r\na",
    _DELETE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    _DELETE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    _DELETE + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    _DELETE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"DELETE /items/%b HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _DELETE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    _DELETE + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    _DELETE + b"A: " + b"x" * 9000 + b"\r\n\r\n",
    _DELETE + b"" + b"A: b\r\n" * 100 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03%b\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%b",
    b"\x00\x00\x00%b\r\n\r\n",
)


INSERTED = (b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n")


class End(Enum):
    """How the client ends."""

    WAIT = "waits for what is sent"
    HALF = "half-closes"
    ABORT = "resets the connection"


@dataclass
class Stream:
    """One connection.

    Attributes:
        segments: what is sent, with a pause behind each.
        end: how the client ends.
        named: items that a well-formed request names.
        forbidden: items that must not be taken down.
        requests: how many well-formed requests there are in front of what ends the connection.
        closes: the server must close the connection.
        exact: nothing is malformed, cut or mutated: the number of answers is known.
    """

    segments: list[bytes] = field(default_factory=list)
    end: End = End.WAIT
    named: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    requests: int = 0
    closes: bool = False
    exact: bool = True


class Generator:
    """Makes streams.

    Args:
        seed: the same one makes the same stream.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._stream = Stream()

    def stream(self) -> Stream:
        rng, stream = self._rng, self._stream
        data = b"\r\n" * (rng.random() < 0.1)
        for _ in range(rng.randint(1, 5)):
            data += self._piece()
        if rng.random() < 0.25:
            data = self._mutate(data)
        elif rng.random() < 0.15:
            data = data[: rng.randrange(len(data) + 1)]
            self._unsure()
        stream.end = rng.choices(list(End), (5, 4, 1))[0]
        if stream.end is End.WAIT and not stream.exact:
            stream.end = End.HALF  # what is incomplete is waited for, for longer than we would
        stream.segments = self._cut(data)
        return stream

    def _piece(self) -> bytes:
        make = self._rng.choices(
            (self._delete, self._other, self._with_body, self._upgrade, self._malformed),
            (6, 3, 3, 2, 3),
        )[0]
        return make()

    def _id(self, *, named: bool) -> str:
        item = str(uuid.UUID(int=self._rng.getrandbits(128)))
        (self._stream.named if named and not self._stream.closes else self._stream.forbidden).add(
            item
        )
        return item

    def _count(self) -> None:
        if not self._stream.closes:
            self._stream.requests += 1

    def _unsure(self) -> None:
        self._stream.exact = False

    def _head(self, method: str, target: str, *more: str) -> bytes:
        rng = self._rng
        lines = [f"{method} {target} HTTP/1.1", "Host: x", *more]
        chosen = rng.sample(HEADERS, rng.randint(0, 3))
        if rng.random() < 0.2:
            chosen.append(f"X-Smuggled: DELETE /items/{self._id(named=False)} HTTP/1.1")
        names = {line.partition(":")[0].lower() for line in more}
        for line in chosen:
            name = line.partition(":")[0].lower()
            if name not in names:
                names.add(name)
                lines.append(line)
                if name == "expect":
                    self._unsure()
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")

    def _delete(self) -> bytes:
        item = self._id(named=True)
        self._count()
        target = f"/items/{item}"
        if self._rng.random() < 0.1:
            target = (
                f"http://{self._rng.choice(('x', '[::1]:80', 'xn--bcher-kva.example'))}{target}"
            )
        return self._head("DELETE", target)

    def _other(self) -> bytes:
        method, path = self._rng.choice(METHODS), self._rng.choice(PATHS)
        self._count()
        if method == "CONNECT" or (path == "*" and method != "OPTIONS"):
            self._unsure()
            self._end()
        return self._head(method, path)

    def _end(self) -> None:
        """Nothing behind this piece is a request any more."""
        self._stream.closes = True

    def _body(self) -> bytes:
        item = self._id(named=False)
        smuggled = f"DELETE /items/{item} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        return self._rng.choice(
            (smuggled, smuggled * 3, b"\r\n\r\n" + smuggled, b"0\r\n" + smuggled)
        )

    def _with_body(self) -> bytes:
        rng, body = self._rng, self._body()
        if rng.random() < 0.5:
            method, target = "DELETE", f"/items/{self._id(named=True)}"
        else:
            method, target = rng.choice(("POST", "GET", "PUT")), rng.choice(PATHS[:8])
        self._count()
        if rng.random() < 0.5:
            head = self._head(method, target, f"Content-Length: {len(body)}")
        else:
            head = self._head(method, target, "Transfer-Encoding: chunked")
            extension = rng.choice(("", ";a", ";a=b", ';a="b"'))
            trailer = rng.choice(("", "X: y\r\n", f"X: {self._id(named=False)}\r\n"))
            body = b"%x%b\r\n%b\r\n0\r\n%b\r\n" % (
                len(body), extension.encode(), body, trailer.encode()
            )  # fmt: skip
        self._end()
        return head + body

    def _upgrade(self) -> bytes:
        rng = self._rng
        protocol = rng.choice(("h2c", "websocket", "TLS/1.0", "x"))
        lines = (
            f"Connection: {rng.choice(('Upgrade', 'keep-alive, upgrade'))}",
            f"Upgrade: {protocol}",
        )
        self._count()
        self._unsure()  # what follows is dropped, unless it comes behind the answer
        return self._head("DELETE", f"/items/{self._id(named=True)}", *lines)

    def _malformed(self) -> bytes:
        data = self._rng.choice(MALFORMED)
        self._end()
        self._unsure()
        return data.replace(b"%b", self._id(named=False).encode())

    def _mutate(self, data: bytes) -> bytes:
        """Change a few bytes. What it requests is unknown then: only the rest is checked."""
        rng, changed = self._rng, bytearray(data)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(changed) or 1)
            kind = rng.randrange(4)
            if kind == 0:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            elif kind == 1:
                changed[place:place] = rng.choice(
                    (b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n")
                )
            elif kind == 2:
                del changed[place : place + rng.randint(1, 8)]
            else:
                changed[place:place] = changed[place : place + rng.randint(1, 40)]
        self._unsure()
        self._stream.named |= self._stream.forbidden
        self._stream.forbidden = set()
        self._stream.closes = False
        return bytes(changed)

    def _cut(self, data: bytes) -> list[bytes]:
        rng = self._rng
        kind = rng.random()
        if kind < 0.4:
            return [data]
        if kind < 0.5 and len(data) < 300:
            return [data[i : i + 1] for i in range(len(data))]
        places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 6)))
        return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if b > a]
