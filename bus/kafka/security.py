"""How the service and Kafka authenticate each other: TLS and SASL."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import AuthenticationFailedError

from bus.kafka.credential_files import UnusableFile, read_file

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from bus.kafka.tls_files import TlsFiles


@dataclass(frozen=True, slots=True)
class Security:
    """How a client authenticates itself and the brokers; by default not at all.

    No secret is in its repr.

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
        """What may be wrong when a broker that can be reached does not answer; empty: unknown."""
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

    What renews it (a sidecar, Kubernetes, a cron job) writes the file, and no secret that could get
    new tokens is ever in this process.

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
        _token(read_file(self._path, "token_file"))

    async def token(self) -> str:
        """The token, for aiokafka.

        Raises:
            AuthenticationFailedError: there is none; aiokafka handles no other error well.
        """
        try:
            data = await asyncio.to_thread(read_file, self._path, "token_file")
            return _token(data)
        except UnusableFile as error:
            raise AuthenticationFailedError(f"the token in {self._path} {error}") from None


def _token(data: bytes) -> str:
    try:
        token = data.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    # Anything but a token's characters would end up as another field of the login.
    if not token or not token.isprintable() or " " in token:
        raise UnusableFile("token_file", "holds no token")
    return token
