"""What certificates say: until when they are valid, and for which names.

Python's `ssl` reports these only of a certificate that was verified. What is not valid is what we
want to know about here, so the dates are read from the DER form (RFC 5280, section 4.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x17, 0x18, 0xA0
_WITHIN = 1.0
OTHER_NAME = frozenset({62, 63, 64})
"""OpenSSL's codes for a certificate that is for another host name, mail address or IP address."""


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate is valid, in UTC."""

    begins: datetime
    ends: datetime

    def problem(self, now: datetime) -> str | None:
        """Why it is not valid now, in words that complete "the certificate"; None if it is."""
        if now > self.ends:
            return f"expired at {_shown(self.ends)}"
        if now < self.begins:
            return f"is not valid before {_shown(self.begins)}, and it is {_shown(now)} here"
        return None


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a server showed.

    Attributes:
        validity: of its own certificate.
        names: for which it is; empty if that could not be read.
    """

    validity: Validity | None
    names: tuple[str, ...]


def _shown(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def validity_of(der: bytes) -> Validity:
    """When a certificate is valid.

    Raises:
        ValueError: this is no certificate.
    """
    try:
        _, at, _ = _element(der, 0)  # the certificate
        _, at, _ = _element(der, at)  # what is signed of it
        tag, _, end = _element(der, at)
        if tag == _VERSION:
            _, _, end = _element(der, end)  # the serial number
        for _skipped in ("algorithm", "issuer"):
            _, _, end = _element(der, end)
        _, at, _ = _element(der, end)
        tag, start, end = _element(der, at)
        begins = _time(tag, der[start:end])
        tag, start, end = _element(der, end)
        return Validity(begins, _time(tag, der[start:end]))
    except (IndexError, ValueError):
        raise ValueError("this is no certificate") from None


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """The tag of the element there, and where its content begins and ends."""
    tag, length = der[at], der[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(der[at : at + count], "big")
        at += count
    return tag, at, at + length


def _time(tag: int, data: bytes) -> datetime:
    text = data.decode("ascii")
    if tag == _UTC_TIME:
        century = "20" if text < "50" else "19"
        text = century + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("this is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def file_problem(path: str, now: datetime) -> str | None:
    """Why a certificate of this PEM file is not valid now; None if all are, or none can be read."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return None
    for pem in _PEM.findall(data):
        with contextlib.suppress(ValueError):
            problem = validity_of(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).problem(now)
            if problem is not None:
                return problem
    return None


async def peer_certificate(
    host: str, port: int, *, authorities: list[bytes] | None = None
) -> PeerCertificate | None:
    """The certificate that a server shows, whether it is valid or not; None: it cannot be had.

    Args:
        host: its host.
        port: its port.
        authorities: who is trusted, in DER form. With them its names are read, too: Python reads
            these of a certificate that was verified only.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    der, _ = await _shown_by(host, port, context)
    validity = None
    with contextlib.suppress(ValueError):
        validity = validity_of(der)
    names: tuple[str, ...] = ()
    if authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=b"".join(authorities))
        _, names = await _shown_by(host, port, context)
    return PeerCertificate(validity, names) if der or names else None


async def _shown_by(host: str, port: int, tls: ssl.SSLContext) -> tuple[bytes, tuple[str, ...]]:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_WITHIN):
            _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)
            try:
                shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
                names: Any = (shown.getpeercert() or {}).get("subjectAltName", ())
                texts = tuple(str(name) for _, name in names)
                return shown.getpeercert(binary_form=True) or b"", texts
            finally:
                writer.transport.abort()
    return b"", ()
