"""Cursors: where a page ended, for whoever asks for the next one.

A cursor is the order's name and the last row's key, so that a page is right whatever came and
went meanwhile. It comes back from outside, and is trusted as little as anything else from there.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from msgspec import Struct

Key = tuple[bool, int | float | list[int], str]


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    order: str
    key: Key


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Cursor)


class BadCursor(ValueError):
    """It is none of ours, or of another order."""


def encode_cursor(order: str, key: Key) -> str:
    """The cursor of the page that ended with this key."""
    text = urlsafe_b64encode(_encoder.encode(_Cursor(order, key)))
    return text.decode().rstrip("=")


def decode_cursor(order: str, cursor: str) -> Key:
    """The key in a cursor of this order.

    Raises:
        BadCursor: it is none.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        decoded = _decoder.decode(urlsafe_b64decode(padded))
    except (ValueError, RecursionError):  # msgspec's errors and base64's are ValueErrors too
        raise BadCursor("a page's `next`") from None
    nothing, value, _ = decoded.key
    if decoded.order != order:
        raise BadCursor("of a page in the same order")
    if isinstance(value, list) is not order.endswith("state") and not nothing:
        raise BadCursor("a page's `next`")
    return decoded.key
