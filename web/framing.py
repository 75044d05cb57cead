"""Where one request ends and the next one begins.

aiohttp's parser receives the head of one request at a time, so nothing is parsed as a request
before it is certain where it begins. It is certain only behind a request without a body: any
other request is the last one of its connection, and what follows it is dropped. A request to change
the protocol, which is never granted, is the last one if anything follows it before it is answered.
A proxy that reads the same bytes in another way can then at worst lose a connection; it cannot be
made to pass on a request that its client did not send.

Errors are answered in order: the requests in front of a malformed one get their answers first.
"""

from __future__ import annotations

import asyncio
import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion10, HttpVersion11, hdrs
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE, RequestPayloadError, _ErrInfo

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage
    from yarl import URL

_END_OF_HEAD = b"\r\n\r\n"
_LINE_END = (b"\r", b"\n")
_LARGEST_HEAD = 256 * 1024
_LONGEST_LINE = 16 * 1024
"""Bytes; aiohttp's own limit is lower."""

_VERSIONS = (HttpVersion11, HttpVersion10)
_HOST = re.compile(
    r"(?:\[[0-9A-Za-z:.%_~!$&'()*+,;=-]++\]|[0-9A-Za-z._~!$&'()*+,;=%-]*+)(?::[0-9]{0,5})?"
)
_SCHEMES = frozenset({"", "http", "https"})  # CONNECT names none
_CONTINUE = "100-continue"

Parsed = tuple[Any, Any]
"""A message (or what is wrong with it) and its payload, as aiohttp's `RequestHandler` queues it."""


class RequestFraming:
    """Stands in front of aiohttp's request parser, with the methods that its protocol calls.

    Args:
        parser: aiohttp's parser of this connection.
        refuses_expectations: answer an `Expect` that cannot be met with a 417 here, and not in the
            handler.
    """

    __slots__ = (
        "_body_ended",
        "_ended",
        "_eof",
        "_head_size",
        "_in_flight",
        "_line",
        "_parser",
        "_payload",
        "_refusals",
        "_refuses_expectations",
        "_tail",
        "_unanswered_upgrade",
        "_unparsed",
    )

    def __init__(self, parser: Any, *, refuses_expectations: bool = False) -> None:
        self._refuses_expectations = refuses_expectations
        self._parser = parser
        self._unparsed = b""
        self._tail = b""
        self._line = b""
        self._head_size = 0
        self._in_flight = 0
        self._ended = False
        self._eof = False
        self._unanswered_upgrade = False
        self._refusals: list[Parsed] = []
        self._payload: Any = None
        self._body_ended = False

    @property
    def ended(self) -> bool:
        """Whether no other request will follow."""
        return self._ended

    @property
    def unparsed(self) -> bool:
        """Whether more was received than is parsed so far."""
        return bool(self._unparsed or self._refusals)

    @property
    def in_head(self) -> bool:
        """Whether a request has begun whose head is not complete."""
        return bool(self._tail)

    def feed_data(self, data: bytes) -> tuple[list[Parsed], bool, bytes]:
        """Parse `data`; returns the requests that it completes, like aiohttp's parser.

        Nothing is ever raised, and no protocol is ever changed: the second and third value say so.
        """
        if self._is_one_head(data):  # as almost always
            self._line = data
            parsed = self._parse(data)
            if not self._refusals:
                return parsed, False, b""
        else:
            parsed = []
            self._feed(data, parsed)
        parsed += self._refusals
        self._refusals = []
        return parsed, False, b""

    def _is_one_head(self, data: bytes) -> bool:
        """Whether this is a whole head, and nothing came before it or with it."""
        return (
            data.endswith(_END_OF_HEAD)
            and data.find(_END_OF_HEAD) == len(data) - len(_END_OF_HEAD)
            and not (self._in_flight or self._ended or self._tail or self._unparsed)
            and not (self._unanswered_upgrade or self._refusals or data.startswith(_LINE_END))
        )

    def _feed(self, data: bytes, parsed: list[Parsed]) -> None:
        if self._unanswered_upgrade and data:
            self._ended = True
        if not self._ended:
            data = self._feed_heads(self._unparsed + data, parsed)
        if self._ended:
            self._feed_body(data)

    def refuse(self, status: int, reason: str) -> None:
        """The next `feed_data` returns this answer, which is the connection's last one."""
        self._ended = True
        self._unparsed = self._tail = b""
        error = HttpProcessingError(code=status, message=reason)
        self._refusals = [(_ErrInfo(status, error, reason), EMPTY_PAYLOAD)]

    def end(self) -> None:
        """The peer sends nothing more; a request that is not complete is refused."""
        self._eof = True
        self._break_body("The connection ended before the body did")

    def drop_body(self) -> None:
        """Nothing reads the body any more: it counts as complete."""
        self._ended = self._body_ended = True
        if self._payload is not None and not self._payload.is_eof():
            self._payload.feed_eof()

    def answered(self) -> None:
        """An answer was sent, so no change of protocol is pending."""
        self._unanswered_upgrade = False

    def message_consumed(self) -> None:
        """One of the requests has left the protocol's queue."""
        self._in_flight = max(0, self._in_flight - 1)
        self._parser.message_consumed()

    def pause_reading(self) -> None:
        """The body is not read as fast as it comes."""
        self._parser.pause_reading()

    # ------------------------------------------------------------------------------- heads

    def _feed_heads(self, data: bytes, parsed: list[Parsed]) -> bytes:
        """Parse heads; returns what lies behind the last request of the connection."""
        while data and self._in_flight < MAX_MSG_QUEUE_SIZE:
            if not self._tail:
                data = data.lstrip(b"\r\n")  # allowed in front of a request line
                if not data:
                    break
                self._line = b""
            head, data = self._split(data)
            if b"\r\n" not in self._line:
                self._line += head[:_LONGEST_LINE]
            parsed += self._parse(head)
            if data and self._unanswered_upgrade:
                self._ended = True
            if self._ended:
                self._unparsed = b""
                return data
        self._unparsed = data
        if self._eof and self._tail and not data:
            self.refuse(400, "The connection ended before the request did")
        return b""

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """Up to the end of the head, if that is there, and the rest."""
        end = (self._tail + data).find(_END_OF_HEAD)
        if end < 0:
            self._head_size += len(data)
            self._tail = (self._tail + data)[1 - len(_END_OF_HEAD) :]
            return data, b""
        cut = end + len(_END_OF_HEAD) - len(self._tail)
        self._tail = b""
        self._head_size = 0
        return data[:cut], data[cut:]

    def _parse(self, data: bytes) -> list[Parsed]:
        """Parse a part of one head; returns its request once it is complete."""
        refusal: tuple[int, str] | None = None
        messages: Any = ()
        if self._head_size > _LARGEST_HEAD:
            refusal = 400, f"The request's head is larger than {_LARGEST_HEAD} bytes"
        else:
            try:
                messages, upgraded, _ = self._parser.feed_data(data)
                if upgraded:  # aiohttp would support it, we do not
                    self._parser.set_upgraded(False)
                if len(messages) != (0 if self._tail else 1):
                    refusal = 400, "Where the request ends is not certain"
                elif messages:
                    refusal = self._problem(messages[0][0])
            except HttpProcessingError as error:
                refusal = 400, error.message
            except Exception as error:  # noqa: BLE001 - of the peer's bytes, whatever it is
                refusal = 400, f"The request line cannot be read: {error}"
        if refusal is not None:
            self.refuse(*refusal)
            return []
        return [self._accept(*messages[0])] if messages else []

    def _accept(self, message: RawRequestMessage, payload: Any) -> Parsed:
        """One request; the last one, unless it is certain where it ends."""
        self._in_flight += 1
        if payload is EMPTY_PAYLOAD:
            self._unanswered_upgrade = message.upgrade
            return message, payload
        self._ended = True
        if message.method == hdrs.METH_CONNECT:
            payload = EMPTY_PAYLOAD  # what follows is not a body, and has no end
        self._payload = None if payload is EMPTY_PAYLOAD else payload
        return message._replace(should_close=True), payload

    def _problem(self, message: RawRequestMessage) -> tuple[int, str] | None:
        """The status and reason for which a request that was parsed is refused."""
        problem = None
        if message.version not in _VERSIONS:
            # aiohttp takes a request line without a version, such as one that was cut off, for 0.9.
            problem = 400, "Only HTTP/1.1 and HTTP/1.0 are understood here"
        elif self._line.partition(b"\r\n")[0] != _line(message):
            problem = 400, "The request line is not method, one space, target, one space, version"
        elif message.chunked and message.version == HttpVersion10:
            problem = 400, "HTTP/1.0 has no chunks"
        elif not message.chunked and hdrs.TRANSFER_ENCODING in message.headers:
            # aiohttp ignores an empty one, and others perhaps do not.
            problem = 400, "The only transfer coding that is understood here is chunked"
        elif _HOST.fullmatch(message.headers.get(hdrs.HOST, "")) is None:
            problem = 400, "The Host header is not a host and perhaps a port"
        elif message.url.absolute and not _is_usable(message.url):
            problem = 400, "The request's target cannot be used"
        elif self._refuses_expectations and message.version == HttpVersion11:
            expect = message.headers.get(hdrs.EXPECT)
            if expect is not None and expect.lower() != _CONTINUE:
                problem = 417, "Only 100-continue can be expected"
        return problem

    # -------------------------------------------------------------------------------- bodies

    def _feed_body(self, data: bytes) -> None:
        if self._payload is None or self._body_ended:
            return
        try:
            self._parser.feed_data(data)  # what it returns lies behind the body
        except Exception as error:  # noqa: BLE001 - as for a head
            self._break_body(f"The body cannot be read: {error}")
        if self._payload.is_eof():
            self._body_ended = True

    def _break_body(self, reason: str) -> None:
        if self._payload is not None and not self._body_ended and not self._payload.is_eof():
            error = RequestPayloadError(reason)
            self._payload.set_exception(error)
            # The end of a chunk may just have woken the one who reads. aiohttp has him wait again
            # without a look at the exception, so that it is set again when he does.
            asyncio.get_running_loop().call_soon(self._payload.set_exception, error)
        self._body_ended = True


def _line(message: RawRequestMessage) -> bytes:
    """The request line, if aiohttp's parser was not lenient with it."""
    version = message.version
    line = f"{message.method} {message.path} HTTP/{version.major}.{version.minor}"
    return line.encode("utf-8", "surrogateescape")


def _is_usable(url: URL) -> bool:
    """Whether aiohttp can handle it, which decodes it outside of all of its error handling."""
    try:
        host = url.with_scheme("http").host if url.scheme in _SCHEMES else None
        if host is not None and ":" in host:
            IPv6Address(host)
        usable = host is not None and url.port != 0 and not url.user and not url.password
    except ValueError:
        return False
    return usable
