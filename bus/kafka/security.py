"""How Kafka knows that it is us, and we that it is Kafka: TLS and SASL."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError

from domain.errors import TakedownError

if TYPE_CHECKING:
    from bus.kafka.tls_files import TlsFiles

_KEY_MISMATCH = "KEY_VALUES_MISMATCH"


class UnusableFile(TakedownError):
    """A file with a certificate, a key or a token that cannot be used.

    Args:
        which: `ca`, `certificate`, `key`, `key_password` or `token_file`.
        reason: completes "the file ...".
    """

    def __init__(self, which: str, reason: str) -> None:
        super().__init__(reason)
        self.which = which


@dataclass(frozen=True, slots=True)
class Security:
    """What a client shows and demands; by default nothing. No secret is in its repr.

    Attributes:
        protocol: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
        tls: for the two with SSL.
        mechanism: for the two with SASL: `SCRAM-SHA-512`, `SCRAM-SHA-256`, `PLAIN`, `OAUTHBEARER`.
        username: for all mechanisms but the last.
        password: the same.
        tokens: for `OAUTHBEARER`.
        files: what `tls` was made of, for explanations.
    """

    protocol: str = "PLAINTEXT"
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    mechanism: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tokens: TokenFile | None = None
    files: TlsFiles | None = None

    @property
    def shows_certificate(self) -> bool:
        """Whether we show a certificate of our own."""
        return self.files is not None and bool(self.files.certificate)

    @property
    def doubt(self) -> str:
        """What may be the matter when a broker that can be reached says nothing; empty: unknown."""
        return f"{self.tokens} may hold a token that is refused" if self.tokens is not None else ""

    def client_options(self) -> dict[str, Any]:
        """Options that every aiokafka client takes."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.tls is not None:
            options["ssl_context"] = self.tls
        if self.mechanism:
            options["sasl_mechanism"] = self.mechanism
        if self.tokens is not None:
            options["sasl_oauth_token_provider"] = self.tokens
        elif self.mechanism:
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options


class TokenFile(AbstractTokenProvider):  # type: ignore[misc] # aiokafka carries no types
    """The token in a file, read anew for each connection.

    Whoever renews it (a sidecar, Kubernetes, a cron job) writes the file, and no secret that
    could get new tokens is ever in this process.

    Args:
        path: the file; it holds the token and nothing else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def check(self) -> None:
        """Read it now.

        Raises:
            UnusableFile: it cannot be read or holds no token.
        """
        _token(_read(self._path, "token_file"))

    async def token(self) -> str:
        """The token, for aiokafka.

        Raises:
            AuthenticationFailedError: there is none; aiokafka takes nothing else well.
        """
        try:
            data = await asyncio.to_thread(_read, self._path, "token_file")
            return _token(data)
        except UnusableFile as error:
            raise AuthenticationFailedError(f"the token in {self._path} {error}") from None


def tls_context(*, ca: str, certificate: str, key: str, key_password: str) -> ssl.SSLContext:
    """A client's TLS: the broker's certificate and host name are always checked.

    Args:
        ca: PEM file of the authorities that are believed; empty: those of the system.
        certificate: PEM file of our own certificate; empty: we show none.
        key: PEM file of its private key; empty: it is in the certificate's file.
        key_password: of the private key; empty: it has none.

    Raises:
        UnusableFile: a file cannot be read, is not what it should be, or does not fit.
    """
    context = ssl.create_default_context()
    if ca:
        authorities = _pem(ca, "ca", "CERTIFICATE")
        context = ssl.create_default_context(cadata=authorities.decode("ascii", "replace"))
    if certificate:
        _load_own(context, certificate, key, key_password)
    return context


def _load_own(context: ssl.SSLContext, certificate: str, key: str, password: str) -> None:
    _pem(certificate, "certificate", "CERTIFICATE")
    own = _pem(key or certificate, "key" if key else "certificate", "PRIVATE KEY")
    try:
        # Always with a password: without one OpenSSL asks for it on the terminal.
        context.load_cert_chain(certificate, key or None, lambda: password)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        if isinstance(error, ssl.SSLError) and error.reason == _KEY_MISMATCH:
            raise UnusableFile("key", "does not belong to the certificate") from None
        if b"ENCRYPTED" in own:
            which = "is wrong" if password else "is missing: the key is encrypted"
            raise UnusableFile("key_password", which) from None
        raise UnusableFile("certificate", f"or its key cannot be used: {error}") from None


def _pem(path: str, which: str, kind: str) -> bytes:
    data = _read(Path(path), which)
    if f"{kind}-----".encode() not in data:
        raise UnusableFile(which, f"has no {kind} in PEM form")
    if which == "ca":
        try:
            ssl.create_default_context(cadata=data.decode("ascii", "replace"))
        except ssl.SSLError as error:
            raise UnusableFile(which, f"has no usable certificate: {error.reason}") from None
    return data


def _read(path: Path, which: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableFile(which, f"cannot be read: {error.strerror}") from None


def _token(data: bytes) -> str:
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    # Anything but a token's characters would end up as another field of the login.
    if not token or not token.isprintable() or " " in token:
        raise UnusableFile("token_file", "holds no token")
    return token
