"""Which item a record is about, also where the record itself cannot be decoded.

The contract's key is the item's UUID as text. Serializers in use write it in other ways as well: as
a JSON string, as a JSON object, behind a byte order mark, or framed for a schema registry (a zero
byte and four bytes of a schema's id). All of them name the same item: a null value under such a
key ends the item, and an undecodable value under it puts the item in doubt.

What comes in is hostile: nothing is raised for content but `UnreadableRecord`, at most
`MOST_NAMED` items are named by one record, and only the first `_SEARCHED` bytes of a value that
is not JSON are searched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from domain.errors import UnreadableRecord
from domain.messages import ItemId

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NAMED = 100
"""Items that one record can name. A record of the contract names one."""

_SEARCHED = 1 << 18
_LONGEST_KEY = 1 << 16
_DEEPEST = 3
"""Envelopes around the object with the itemId."""

# Not `uuid.UUID`: that accepts braces, missing hyphens and a "urn:uuid:" in front, too.
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_IN_BYTES = re.compile(
    rb'\\?"itemId\\?"\s*:\s*\\?"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\\?"'
)
"""Also within a JSON string, where each quotation mark has a backslash in front."""

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_FRAME = 5
"""Bytes in front of what a schema registry's serializer writes: a zero and the schema's id."""


class _Object(msgspec.Struct, rename="camel"):
    """Where an itemId can be: in the object, or in what CloudEvents, Connect or Debezium wrap."""

    item_id: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    payload: msgspec.Raw = msgspec.Raw()
    after: msgspec.Raw = msgspec.Raw()


_object = msgspec.json.Decoder(_Object).decode
_text = msgspec.json.Decoder(str).decode

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse_item_id(text: str) -> ItemId | None:
    """`text` as an item id in canonical form, or None if it is not a UUID's usual text."""
    if _UUID.fullmatch(text) is None:
        return None
    return ItemId(text.lower())


def item_id_from_key(key: bytes | None) -> ItemId:
    """The item that a record without a value is about.

    Raises:
        UnreadableRecord: the key names no item.
    """
    item_id = named_by_key(key)
    if item_id is None:
        raise UnreadableRecord("a null value under a key that is not an itemId")
    return item_id


def named_by_key(key: bytes | None) -> ItemId | None:
    """The item that a record's key names, in any of the forms above; None if it names none."""
    if key is None or len(key) > _LONGEST_KEY:
        return None
    for content in _contents(key):
        match content[:1]:
            case b'"':
                item_id = _named_by_text(content)
            case b"{":
                item_id = _named_by_object(content)
            case b"\x48":  # the length of a UUID's text, as Avro writes it in front of a string
                item_id = _named_by_plain(content[1:])
            case _:
                item_id = _named_by_plain(content)
        if item_id is not None:
            return item_id
    return None


def named_by_value(value: bytes) -> tuple[ItemId, ...]:
    """The items that an undecodable value still names; none if it names none.

    A JSON object names the item of its `itemId`, or of the object that it wraps. In anything else
    (JSON that was cut, another encoding, a list of objects) each `"itemId": "<UUID>"` counts.
    """
    for content in _contents(value):
        if content[:1] == b"{" and (item_id := _named_by_object(content)) is not None:
            return (item_id,)
    found: dict[ItemId, None] = {}
    for match in _IN_BYTES.finditer(value[:_SEARCHED]):
        found[ItemId(match[1].decode("ascii").lower())] = None
        if len(found) == MOST_NAMED:
            break
    return tuple(found)


def _contents(data: bytes) -> Iterator[bytes]:
    """What may have been serialized, without what can be around it."""
    yield data.removeprefix(_BOM).strip(_SPACE)
    if len(data) > _FRAME and data[0] == 0:
        yield data[_FRAME:].removeprefix(_BOM).strip(_SPACE)


def _named_by_plain(content: bytes) -> ItemId | None:
    return parse_item_id(content.decode("utf-8", "replace"))


def _named_by_text(content: bytes | msgspec.Raw) -> ItemId | None:
    try:
        return parse_item_id(_text(content))
    except _NOT_JSON:
        return None


def _named_by_object(content: bytes | msgspec.Raw, depth: int = 0) -> ItemId | None:
    try:
        found = _object(content)
    except _NOT_JSON:
        return None
    if len(found.item_id) and (item_id := _named_by_text(found.item_id)) is not None:
        return item_id
    if depth < _DEEPEST:
        for wrapped in (found.data, found.payload, found.after):
            if len(wrapped) and (item_id := _named_by_object(wrapped, depth + 1)) is not None:
                return item_id
    return None
