"""TLS files that are renewed while the service runs.

Certificates live for days or hours, and what renews them writes files. aiokafka has one
`SSLContext` for the whole life of a client, so it gets one that delegates to another one, which is
replaced: each new connection uses what the files held last. Existing connections are not affected.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bus.kafka.certificates import file_problem
from bus.kafka.credential_files import UnusableFile, read_file

if TYPE_CHECKING:
    from datetime import datetime

logger = logging.getLogger("takedown.kafka")

_KEY_MISMATCH = "KEY_VALUES_MISMATCH"

CHECK_EVERY = 2.0
"""Seconds between two checks whether a file has changed."""


class RenewableContext(ssl.SSLContext):
    """A client's context that makes connections by another one, which can be replaced.

    asyncio and uvloop call `wrap_bio` for each connection, and nothing else of it.

    Attributes:
        current: what makes connections.
    """

    current: ssl.SSLContext

    @classmethod
    def of(cls, current: ssl.SSLContext) -> RenewableContext:
        """One that begins with this."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.current = current
        return context

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """A connection by the current context."""
        return self.current.wrap_bio(*arguments, **options)

    def get_ca_certs(self, binary_form: bool = False) -> Any:
        """The authorities of the current context."""
        return self.current.get_ca_certs(binary_form)


class TlsFiles:
    """The files of one client's TLS. They are read when this is created.

    The broker's certificate and host name are always checked.

    Args:
        ca: PEM file of the trusted authorities; empty: those of the system.
        certificate: PEM file of our own certificate; empty: there is none.
        key: PEM file of its private key; empty: it is in the certificate's file.
        key_password: of the private key; empty: it has none.

    Raises:
        UnusableFile: a file cannot be read, is not what it should be, or does not fit.
    """

    def __init__(self, *, ca: str, certificate: str, key: str, key_password: str) -> None:
        self.ca = ca
        self.certificate = certificate
        self._key = key
        self._key_password = key_password
        self._seen = self._state()
        self.context = RenewableContext.of(self._load())
        self._complaint = ""

    def __repr__(self) -> str:
        return f"TlsFiles(ca={self.ca!r}, certificate={self.certificate!r}, key={self._key!r})"

    @property
    def named(self) -> bool:
        """Whether there is any file: otherwise nothing can be renewed."""
        return bool(self.ca or self.certificate)

    def problem(self, which: str, now: datetime) -> str | None:
        """Why a certificate in a file is not valid now; completes "our certificate". Reads it.

        Args:
            which: `ca` or `certificate`.
            now: the wall clock.
        """
        path = self.ca if which == "ca" else self.certificate
        return file_problem(path, now) if path else None

    async def reload(self) -> None:
        """Read the files again; new connections use what they hold.

        Raises:
            UnusableFile: they cannot be used; what was read before stays.
        """
        # Before they are read: a change during that is seen at the next check.
        seen, context = await asyncio.to_thread(lambda: (self._state(), self._load()))
        self._seen, self._complaint = seen, ""
        self.context.current = context

    async def run(self) -> None:
        """Reload them whenever one has changed, until cancelled."""
        failed: object = None
        while True:
            await asyncio.sleep(CHECK_EVERY)
            state = await asyncio.to_thread(self._state)
            if state == self._seen:
                failed = None
                continue
            try:
                await self.reload()
            except UnusableFile as error:
                # Certificate and key are two files: in between they do not fit.
                if state == failed:
                    self._complain(f"{_setting(error.which)} {error}")
                failed = state
            except Exception:
                logger.exception("Defect while reloading TLS files")
            else:
                failed = None
                logger.info("TLS files have changed and were reloaded")

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            logger.error("TLS files have changed and cannot be used; the old ones are: %s", text)
        self._complaint = text

    def _load(self) -> ssl.SSLContext:
        context = _context_with(self.ca)
        if self.certificate:
            _load_own(context, self.certificate, self._key, self._key_password)
        return context

    def _state(self) -> tuple[object, ...]:
        """Differs after a file was written, replaced, or is behind another symbolic link."""
        state: list[object] = []
        for path in filter(None, (self.ca, self.certificate, self._key)):
            try:
                found = Path(path).stat()
                state.append((path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError as error:
                state.append((path, error.errno))
        return tuple(state)


def _context_with(ca: str) -> ssl.SSLContext:
    """A context that trusts the authorities of this file, or of the system if it is empty."""
    if not ca:
        return ssl.create_default_context()
    authorities = _pem(ca, "ca", "CERTIFICATE").decode("ascii", "replace")
    try:
        return ssl.create_default_context(cadata=authorities)
    except ssl.SSLError as error:
        raise UnusableFile("ca", f"has no usable certificate: {error.reason}") from None


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
    data = read_file(Path(path), which)
    if f"{kind}-----".encode() not in data:
        raise UnusableFile(which, f"has no {kind} in PEM form")
    return data


def _setting(which: str) -> str:
    return f"TAKEDOWN_KAFKA_SSL_{which.upper()}"
