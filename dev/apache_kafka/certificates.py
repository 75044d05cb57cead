"""Throw-away certificates for brokers and clients of one test."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from dev.apache_kafka.listeners import Tls
from dev.apache_kafka.ports import HOST

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and its certificate, in PEM files as OpenSSL and clients take them.

    Attributes:
        key: the private key.
        certificate: the certificate and what it was signed with.
    """

    key: Path
    certificate: Path


def _dates(ends: datetime | None) -> dict[str, Any]:
    if ends is None:
        return {}
    return {"not_before": ends - timedelta(days=2), "not_after": ends}


class Authority:
    """Signs certificates into a folder.

    Args:
        folder: where the files go; it must exist.
        name: of the files; two authorities need two names.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        self._ca = trustme.CA()
        self.certificate = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.certificate)

    def broker(self, *names: str, ends: datetime | None = None) -> Tls:
        """A broker's files.

        Args:
            names: host names and addresses the certificate is for; the loopback's by default.
            ends: when the certificate expires; None: never in a test.
        """
        issued = self._ca.issue_cert(*(names or (HOST, "localhost")), **_dates(ends))
        # Kafka takes a private key in no other form than PKCS #8.
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        store = self._folder / f"{self._name}-broker-{len(list(self._folder.iterdir()))}.pem"
        store.write_bytes(b"".join([key, *(pem.bytes() for pem in issued.cert_chain_pems)]))
        return Tls(key_and_certificate=store, authorities=self.certificate)

    def client(self, name: str, *, ends: datetime | None = None) -> Identity:
        """A client's files; Kafka knows it by the certificate's whole subject.

        Args:
            name: of the client, and of the files, which are replaced if they exist.
            ends: when the certificate expires; None: never in a test.
        """
        issued = self._ca.issue_cert(name, common_name=name, **_dates(ends))
        identity = Identity(
            key=self._folder / f"{self._name}-{name}.key.pem",
            certificate=self._folder / f"{self._name}-{name}.pem",
        )
        issued.private_key_pem.write_to_path(identity.key)
        identity.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        return identity

    def server_context(
        self, *names: str, ends: datetime | None = None, demands: bool = False
    ) -> ssl.SSLContext:
        """What a server needs that is no broker.

        Args:
            names: host names and addresses that its certificate is for.
            ends: when that expires; None: never in a test.
            demands: whether clients must show a certificate of this authority.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*names, **_dates(ends)).configure_cert(context)
        if demands:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, identity: Identity | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        return context
