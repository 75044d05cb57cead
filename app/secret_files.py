"""Reads a secret setting from a file. No message holds the secret or the file's path."""

from __future__ import annotations

from pathlib import Path

from domain.errors import SettingsError

_LONGEST = 65_536


def read_secret(path: str, setting: str) -> str:
    """The file's text, without one line end after it.

    Args:
        path: the file.
        setting: the variable or flag that names it, for messages.

    Raises:
        SettingsError: the file cannot be read, is too long, is not UTF-8 text, or is empty.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: the text is not a path
        reason = getattr(error, "strerror", None) or "it is no path"
        raise SettingsError(f"{setting} names a file that cannot be read: {reason}") from None
    if len(data) > _LONGEST:
        raise SettingsError(f"{setting} names a file of more than {_LONGEST} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{setting} names a file that is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SettingsError(f"{setting} names a file that is empty")
    return text
