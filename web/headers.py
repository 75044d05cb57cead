"""The two request headers that mean something: `Prefer` and `traceparent`."""

from __future__ import annotations

import re
import secrets

from domain.errors import CallerError

# RFC 7240: [ token [ = word ] *( ; [ token [ = word ] ] ) ] in a list; a list may have empty
# elements (RFC 9110). Every repetition is possessive: without that, a header of a few hundred
# bytes could keep the loop busy for hours.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105 - grammar, not a secret
_WORD = rf'(?:{_TOKEN}|"(?:[^"\\]|\\.)*+")'
_PREFERENCE = re.compile(
    rf"[ \t]*+(?:(?P<name>{_TOKEN})[ \t]*+(?:=[ \t]*+(?P<value>{_WORD})[ \t]*+)?+"
    rf"(?:;[ \t]*+(?:{_TOKEN}[ \t]*+(?:=[ \t]*+{_WORD}[ \t]*+)?+)?+)*+)?+(?:,|\Z)"
)
_SECONDS = re.compile(r"0*+(?P<seconds>[1-9][0-9]*+)")
_FOREVER = 999_999_999
"""Seconds that a longer wait is taken for, as RFC 9111 has it for its own delta-seconds."""

# W3C trace context; version ff and all-zero ids are invalid, later versions may say more.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?"
)
_LONGEST_TRACEPARENT = 256
_LENGTH_OF_VERSION_00 = 55


def parse_wait(headers: list[str]) -> int | None:
    """The seconds of `Prefer: wait=N`, or None without one; other preferences are ignored.

    Args:
        headers: the values of every `Prefer` header of the request.

    Raises:
        CallerError: a `wait` that is no whole number of seconds of at least 1.
    """
    for header in headers:
        position = 0
        while position < len(header):
            match = _PREFERENCE.match(header, position)
            if match is None:
                raise CallerError("invalid-prefer", "The Prefer header is not a list (RFC 7240)")
            position = match.end()
            if match["name"] is not None and match["name"].lower() == "wait":
                # Only the first one counts, says the RFC.
                return _seconds((match["value"] or "").strip('"'))
    return None


def _seconds(text: str) -> int:
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise CallerError(
            "invalid-prefer",
            "Prefer: wait=N takes the seconds to wait as a whole number of at least 1",
        )
    digits = match["seconds"]
    return int(digits) if len(digits) < len(str(_FOREVER)) else _FOREVER


def is_traceparent(header: str) -> bool:
    """Whether this is a valid trace context."""
    return (
        len(header) <= _LONGEST_TRACEPARENT
        and _TRACEPARENT.fullmatch(header) is not None
        and (not header.startswith("00-") or len(header) == _LENGTH_OF_VERSION_00)
    )


def take_traceparent(header: str | None) -> str:
    """The caller's trace context if it is valid, else a new one."""
    if header is not None and is_traceparent(header):
        return header
    digits = secrets.token_hex(24)
    return f"00-{digits[:32]}-{digits[32:]}-01"
