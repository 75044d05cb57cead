"""Finds out what a failed handshake means, by further connections.

A port that closes a connection without TLS is asked for TLS, and the other way round. A server that
is silent may wait for a line of HTTP. The dates and names of a certificate that is not trusted are
read.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bus.kafka.certificates import OTHER_NAME, peer_certificate
from bus.kafka.handshake import (
    SHOWN,
    Failure,
    Kind,
    ask_versions,
    connected,
    http,
    offered_logins,
    without_verification,
)

if TYPE_CHECKING:
    from bus.kafka.handshake import Server
    from bus.kafka.security import Security

_FOLLOW_UP = 1.0
"""Seconds for each further connection."""


async def closer_look(server: Server, security: Security, failure: Failure) -> Failure:
    """The same failure, or what further connections show to be its cause.

    They take one second each at most, and two or three are made.
    """
    if failure.kind is Kind.CERTIFICATE and security.tls is not None:
        other_name = failure.verify_code in OTHER_NAME
        certificate = await peer_certificate(
            server.host,
            server.port,
            authorities=security.tls.get_ca_certs(binary_form=True) if other_name else None,
        )
        return Failure(
            Kind.CERTIFICATE,
            failure.seen,
            verify_code=failure.verify_code,
            certificate=certificate,
        )
    if security.tls is None and failure.kind in {Kind.TLS_NEEDED, Kind.CLOSED, Kind.SILENT}:
        return await _is_it_tls(server, failure) or await _is_it_http(server, failure) or failure
    if security.tls is not None and failure.kind in {Kind.TLS, Kind.SILENT, Kind.CLOSED}:
        return await _is_it_plain(server, failure) or failure
    return failure


async def _is_it_tls(server: Server, failure: Failure) -> Failure | None:
    tls = without_verification()
    try:
        async with connected(server, tls, _FOLLOW_UP):
            pass
    except Failure as other:
        if failure.kind is Kind.TLS_NEEDED:
            return failure
        if other.kind is not Kind.OURS:
            return None
        return Failure(Kind.TLS_NEEDED, f"asked for TLS, {other.seen}")
    if failure.kind is Kind.TLS_NEEDED:
        seen = failure.seen
    else:
        seen = f"{failure.seen}; with TLS, it completes a handshake"
    return Failure(
        Kind.TLS_NEEDED, seen, mechanisms=await offered_logins(server, tls, within=_FOLLOW_UP)
    )


async def _is_it_plain(server: Server, failure: Failure) -> Failure | None:
    try:
        async with connected(server, None, _FOLLOW_UP) as stream:
            await ask_versions(stream, _FOLLOW_UP)
    except Failure as other:
        if other.kind in {Kind.HTTP, Kind.NOT_KAFKA}:
            return Failure(other.kind, f"{failure.seen}; without TLS, {other.seen}")
        if other.kind in {Kind.SILENT, Kind.CLOSED}:
            return await _is_it_http(server, failure)
        return None
    return Failure(
        Kind.NO_TLS,
        f"{failure.seen}; without TLS, it answers as Kafka does",
        mechanisms=await offered_logins(server, None, within=_FOLLOW_UP),
    )


async def _is_it_http(server: Server, failure: Failure) -> Failure | None:
    """Some HTTP servers wait for the end of a line, which a request to Kafka does not have."""
    with contextlib.suppress(Failure, OSError, RuntimeError, TimeoutError):
        async with connected(server, None, _FOLLOW_UP) as stream, asyncio.timeout(_FOLLOW_UP):
            stream.writer.write(b"GET / HTTP/1.0\r\n\r\n")
            data = await stream.reader.read(SHOWN)
            if data.startswith(b"HTTP/"):
                return Failure(Kind.HTTP, f"{failure.seen}; asked by HTTP, {http(data).seen}")
    return None
