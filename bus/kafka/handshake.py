"""Connects to a server as a Kafka client does, step by step, and says at which step it failed.

aiokafka reports a server that does not speak Kafka as "closed", or not at all. Here each step is
made on its own: the name, the TCP connection, TLS, Kafka's first request (ApiVersions), and the
choice of a login (SaslHandshake). No password or token is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bus.kafka.certificates import PeerCertificate
    from bus.kafka.security import Security

_API_VERSIONS, _SASL_HANDSHAKE = 18, 17
_NAMES = {_API_VERSIONS: "ApiVersions", _SASL_HANDSHAKE: "SaslHandshake"}
_UNSUPPORTED_MECHANISM, _ILLEGAL_SASL_STATE = 33, 34
_LONGEST = 1_048_576
"""Bytes of an answer: more is no answer to what is asked here."""
SHOWN = 40
"""Bytes of an answer that is not Kafka's, as it is shown."""
_TLS_ALERT = b"\x15\x03"
_ADDRESSES = 4


class Kind(Enum):
    """What went wrong."""

    NAME = auto()  # it does not resolve
    NO_CONNECTION = auto()  # TCP: refused, unreachable, or no answer
    CERTIFICATE = auto()  # the server's certificate is not valid for us
    OURS = (
        auto()
    )  # the server ends TLS with an alert about us: our certificate, or that we have none
    TLS = auto()  # the TLS handshake failed otherwise
    NO_TLS = auto()  # we use TLS, and the port speaks Kafka without it
    TLS_NEEDED = auto()  # the port speaks TLS, and we do not use it
    HTTP = auto()
    NOT_KAFKA = auto()  # it answers something else
    CLOSED = auto()  # it closes the connection
    SILENT = auto()  # it accepts the connection and does not answer
    NO_LOGIN = auto()  # we log in, and the listener has no login
    LOGIN_NEEDED = auto()  # the listener wants a login, and we have none
    MECHANISM = auto()  # the listener does not offer our mechanism
    LOGIN = auto()  # the login is refused
    TOKEN = auto()  # there is no token to log in with


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Failure(Exception):
    """A step failed.

    Args:
        kind: what went wrong.
        seen: what came back, in words.
        mechanisms: of the logins that the listener offers; empty: it has none; None: not known.
        verify_code: OpenSSL's, about a certificate.
        certificate: the server's, if it could be read.
    """

    def __init__(
        self,
        kind: Kind,
        seen: str,
        *,
        mechanisms: tuple[str, ...] | None = None,
        verify_code: int = 0,
        certificate: PeerCertificate | None = None,
    ) -> None:
        super().__init__(seen)
        self.kind = kind
        self.seen = seen
        self.mechanisms = mechanisms
        self.verify_code = verify_code
        self.certificate = certificate


@dataclass(slots=True)
class Stream:
    """A connection, and how many requests were sent on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    asked: int = 0


async def shake_hands(server: Server, security: Security, *, within: float) -> None:
    """Connect, and go through everything that comes before a password or a token is sent.

    Args:
        server: where.
        security: what is demanded of it.
        within: seconds for each step.

    Raises:
        Failure: at which step it failed, and how.
    """
    async with connected(server, security.tls, within) as stream:
        await ask_versions(stream, within)
        if security.mechanism:
            await _choose_login(stream, security.mechanism, within)


async def offered_logins(
    server: Server, tls: ssl.SSLContext | None, *, within: float
) -> tuple[str, ...] | None:
    """The mechanisms that a listener offers; empty: it has no login; None: it did not answer."""
    with contextlib.suppress(Failure):
        async with connected(server, tls, within) as stream:
            await ask_versions(stream, within)
            # No listener has a mechanism of this name, and the refusal lists those that it has.
            code, mechanisms = await _handshake(stream, "?", within)
            return () if code == _ILLEGAL_SASL_STATE else mechanisms
    return None


# -------------------------------------------------------------------------------- connecting


@contextlib.asynccontextmanager
async def connected(
    server: Server, tls: ssl.SSLContext | None, within: float
) -> AsyncIterator[Stream]:
    """A connection for the block, which may raise `Failure` as well.

    Args:
        server: where.
        tls: with it, TLS is begun.
        within: seconds for each of name, TCP and TLS.

    Raises:
        Failure: it cannot be had.
    """
    connection = await _tcp(server, await _addresses(server, within), within)
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(
                sock=connection,
                ssl=tls,
                server_hostname=server.host if tls is not None else None,
                limit=_LONGEST,
            )
    except BaseException as error:
        connection.close()
        if not isinstance(error, Exception):
            raise
        raise _tls_failure(error, within) from error
    try:
        yield Stream(reader, writer)
    finally:
        writer.transport.abort()


async def _addresses(server: Server, within: float) -> list[tuple[socket.AddressFamily, Any]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise Failure(
            Kind.NAME, f"the resolver did not answer for the name {server.host} in {within:g} s"
        ) from None
    except (OSError, ValueError, OverflowError) as error:  # metadata may hold any text and number
        raise Failure(
            Kind.NAME, f"the name {server.host} does not resolve here ({_words(error)})"
        ) from None
    return [(family, address) for family, _, _, _, address in found[:_ADDRESSES]]


async def _tcp(
    server: Server,
    addresses: list[tuple[socket.AddressFamily, Any]],
    within: float,
) -> socket.socket:
    loop = asyncio.get_running_loop()
    failures: list[str] = []
    within /= max(1, len(addresses))
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(within):
                await loop.sock_connect(connection, address)
        except TimeoutError:
            failures.append(f"no answer to a TCP connection in {within:g} s")
        except (OSError, ValueError, OverflowError) as error:
            failures.append(_words(error))
        except BaseException:
            connection.close()
            raise
        else:
            return connection
        connection.close()
        if str(address[0]) != server.host:
            failures[-1] = f"{address[0]}: {failures[-1]}"
    raise Failure(Kind.NO_CONNECTION, "; ".join(dict.fromkeys(failures)) or "it has no address")


def _tls_failure(error: Exception, within: float) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(Kind.CERTIFICATE, error.verify_message, verify_code=error.verify_code)
    if _is_alert(error):
        return Failure(Kind.OURS, f"it ends TLS with the alert: {_words(error)}")
    if isinstance(error, TimeoutError):
        return Failure(Kind.SILENT, f"it did not answer the TLS handshake in {within:g} s")
    return Failure(Kind.TLS, f"the TLS handshake failed: {_words(error)}")


def _is_alert(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, socket.gaierror | ssl.SSLError) and error.strerror:
        return error.strerror
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio puts the address in front, in its own form
    return str(error) or {"ConnectionResetError": "connection reset by peer"}.get(
        type(error).__name__, type(error).__name__
    )


# ------------------------------------------------------------------------------- Kafka's requests


async def ask_versions(stream: Stream, within: float) -> None:
    """Make the first request of every client.

    Raises:
        Failure: the answer is not Kafka's.
    """
    await _ask(stream, _API_VERSIONS, 0, b"", within)


async def _choose_login(stream: Stream, mechanism: str, within: float) -> None:
    code, mechanisms = await _handshake(stream, mechanism, within)
    if code == _ILLEGAL_SASL_STATE:
        raise Failure(Kind.NO_LOGIN, "it answers the choice of a login with ILLEGAL_SASL_STATE")
    if code == _UNSUPPORTED_MECHANISM or mechanism not in mechanisms:
        offered = ", ".join(mechanisms) or "none"
        raise Failure(Kind.MECHANISM, f"it offers: {offered}", mechanisms=mechanisms)


async def _handshake(stream: Stream, mechanism: str, within: float) -> tuple[int, tuple[str, ...]]:
    body = struct.pack(">h", len(mechanism)) + mechanism.encode()
    answer = await _ask(stream, _SASL_HANDSHAKE, 1, body, within)
    try:
        code, count = struct.unpack_from(">hi", answer)
        mechanisms, at = [], 6
        for _ in range(count):
            (length,) = struct.unpack_from(">H", answer, at)  # a negative one would lead nowhere
            mechanisms.append(answer[at + 2 : at + 2 + length].decode())
            at += 2 + length
    except (struct.error, UnicodeDecodeError):
        raise Failure(
            Kind.NOT_KAFKA, f"its answer to the choice of a login is {_shown(answer)}"
        ) from None
    return code, tuple(mechanisms)


async def _ask(stream: Stream, key: int, version: int, body: bytes, within: float) -> bytes:
    client = b"takedown-first-contact"
    name = _NAMES[key]
    stream.asked += 1
    message = struct.pack(">hhih", key, version, stream.asked, len(client)) + client + body
    try:
        stream.writer.write(struct.pack(">i", len(message)) + message)
        async with asyncio.timeout(within):
            return await _answer(stream)
    except TimeoutError:
        raise Failure(
            Kind.SILENT,
            f"it accepted the connection and did not answer Kafka's {name} in {within:g} s",
        ) from None
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Failure(Kind.NOT_KAFKA, f"it sent {_shown(error.partial)} and closed") from None
        raise Failure(
            Kind.CLOSED, f"it accepted the connection and closed it at Kafka's {name}"
        ) from None
    except (OSError, RuntimeError) as error:  # uvloop's, about a transport that is closed already
        kind = Kind.OURS if _is_alert(error) else Kind.CLOSED
        seen = _words(error)
        raise Failure(
            kind,
            f"it ends TLS with the alert: {seen}"
            if kind is Kind.OURS
            else f"it closed the connection at Kafka's {name} ({seen})",
        ) from None


async def _answer(stream: Stream) -> bytes:
    reader = stream.reader
    head = await reader.readexactly(4)
    if head.startswith(_TLS_ALERT):
        raise Failure(Kind.TLS_NEEDED, "it answers with a TLS alert")
    (size,) = struct.unpack(">i", head)
    if not len(head) <= size <= _LONGEST:
        rest = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while len(rest) < SHOWN and (more := await reader.read(SHOWN)):
                    rest += more
        if head.startswith(b"HTTP"):
            raise http(head + rest)
        raise Failure(Kind.NOT_KAFKA, f"it sent {_shown(head + rest)}")
    answer = await reader.readexactly(size)
    if struct.unpack_from(">i", answer)[0] != stream.asked:
        raise Failure(Kind.NOT_KAFKA, f"it sent {_shown(head + answer)}")
    return answer[4:]


def http(data: bytes) -> Failure:
    """What an HTTP server's answer is."""
    line = data.split(b"\n")[0][:SHOWN].strip()
    return Failure(Kind.HTTP, f"it answers {line.decode('ascii', 'backslashreplace')!r}")


def without_verification() -> ssl.SSLContext:
    """For connections on which nothing is sent that matters."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _shown(data: bytes) -> str:
    return f"{data[:SHOWN]!r}{'...' if len(data) > SHOWN else ''}"
