"""Times as other people's programs write them.

RFC 3339, and what Java's `OffsetDateTime` prints, which leaves out seconds that are zero and writes
offsets with seconds: `2024-01-01T10:15Z`, `2024-01-01T10:15:30+01:00:00`. Also an offset in hours
only, as of PostgreSQL. msgspec reads most of this at once; `parse_time` reads the rest.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})"
    r"(?::([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:[Zz]|([+-])([0-9]{2})(?::?([0-5][0-9])(?::?([0-5][0-9]))?)?)"
)
_LONGEST = 100
_LEAP_SECOND = 60
_LAST_MICROSECOND = 999_999
_DIGITS = 6


def parse_time(text: str) -> datetime | None:
    """A time in UTC; None if it is none, has no zone, or is outside of what can be represented.

    A leap second is read as the end of the second before, so that a list and the deletions before
    and after it stay in their order. What is finer than microseconds is cut off.
    """
    found = _TIME.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    year, month, day, hour, minute = map(int, found.group(1, 2, 3, 4, 5))
    second, micros = int(found[6] or 0), int((found[7] or "")[:_DIGITS].ljust(_DIGITS, "0"))
    if second == _LEAP_SECOND:
        second, micros = _LEAP_SECOND - 1, _LAST_MICROSECOND
    hours, minutes, seconds = (int(part or 0) for part in found.group(9, 10, 11))
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    try:
        zone = timezone(-offset if found[8] == "-" else offset)
        time = datetime(year, month, day, hour, minute, second, micros, zone)
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


def with_plain_times(value: bytes, names: frozenset[str]) -> bytes | None:
    """A JSON object with its times as msgspec reads them.

    Args:
        value: the object.
        names: its fields that are times.

    Returns:
        None if it is no object, or there is nothing that can be written in another way.
    """
    try:
        fields = _fields.decode(value)
        changed = False
        for name in names & fields.keys():
            time = parse_time(_text.decode(fields[name]))
            if time is not None:
                fields[name] = msgspec.Raw(_encode(time))
                changed = True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _encode(fields) if changed else None
