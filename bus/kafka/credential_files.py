"""Files with certificates, keys and tokens: reading one, and the error that it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.errors import TakedownError

if TYPE_CHECKING:
    from pathlib import Path


class UnusableFile(TakedownError):
    """A file with a certificate, a key or a token that cannot be used.

    Args:
        which: `ca`, `certificate`, `key`, `key_password` or `token_file`.
        reason: completes "the file ...".
    """

    def __init__(self, which: str, reason: str) -> None:
        super().__init__(reason)
        self.which = which


def read_file(path: Path, which: str) -> bytes:
    """What the file holds.

    Raises:
        UnusableFile: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableFile(which, f"cannot be read: {error.strerror}") from None
