"""Records of the three topics, from bytes to frozen messages and back.

JSON in UTF-8. Unknown fields are ignored. Times are read as `bus.kafka.times` says. What does not
fit the contract (no JSON, a missing field, a wrong type, an item id that is no UUID, a time without
its zone) raises `UnreadableRecord` with the reason; nothing else is ever raised for a record's
content.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.structs import replace

from bus.kafka.keys import item_id_from_key, parse_item_id
from bus.kafka.times import with_plain_times
from domain.errors import UnreadableRecord
from domain.messages import ItemDeleted, ItemId, ItemPublished, ItemReported

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.messages import Container, Takedown, TakedownId

__all__ = [
    "decode_item_deleted",
    "decode_item_published",
    "decode_item_reported",
    "encode",
    "headers_of_request",
    "item_id_from_key",
    "item_key",
    "parse_item_id",
    "request_for",
]

Headers = list[tuple[str, bytes]]

_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIMES = frozenset({"publishedAt", "deletedAt", "reportedAt", "deadline"})

_NO_TIME = "datetime"
"""In msgspec's words for a time that it cannot read."""

_LONGEST_EXCERPT = 80

_CONTENT_TYPE = b"application/json"

_published = msgspec.json.Decoder(ItemPublished)
_reported = msgspec.json.Decoder(ItemReported)
_deleted = msgspec.json.Decoder(ItemDeleted)
_encoder = msgspec.json.Encoder()

M = TypeVar("M", ItemPublished, ItemReported, ItemDeleted)


def item_key(item_id: ItemId) -> bytes:
    """The key of every record about an item."""
    return item_id.encode()


def encode(message: ItemPublished | ItemReported | ItemDeleted) -> bytes:
    """A message as the value of a record."""
    return _encoder.encode(message)


def request_for(takedown: Takedown, container: Container, now: datetime) -> ItemReported:
    """The request to delete a takedown's item from one container, reported at `now` (UTC)."""
    return ItemReported(
        takedown_id=takedown.takedown_id,
        item_id=takedown.item_id,
        container_id=container.container_id,
        container_type=container.container_type,
        reported_at=now,
        deadline=takedown.deadline_utc,
    )


def headers_of_request(takedown_id: TakedownId, traceparent: str) -> Headers:
    """The headers of a record of `item_reported`."""
    return [
        ("takedown-id", takedown_id.encode()),
        ("traceparent", traceparent.encode()),
        ("content-type", _CONTENT_TYPE),
    ]


def decode_item_published(value: bytes) -> ItemPublished:
    """A record of `item_published` that has a value; without one, see `item_id_from_key`."""
    message = _decode(_published.decode, value)
    return replace(
        message, item_id=_canonical(message.item_id), published_at=_utc(message.published_at)
    )


def decode_item_reported(value: bytes | None) -> ItemReported:
    """A record of `item_reported`."""
    message = _decode(_reported.decode, value)
    return replace(
        message,
        item_id=_canonical(message.item_id),
        reported_at=_utc(message.reported_at),
        deadline=_utc(message.deadline),
    )


def decode_item_deleted(value: bytes | None) -> ItemDeleted:
    """A record of `item_deleted`."""
    message = _decode(_deleted.decode, value)
    if _CANONICAL.fullmatch(message.item_id) and message.deleted_at.tzinfo is UTC:
        return message  # as nearly always; this is the one decoder that is called all the time
    item_id, deleted_at = _canonical(message.item_id), _utc(message.deleted_at)
    return replace(message, item_id=item_id, deleted_at=deleted_at)


def _decode(decode: Callable[[bytes], M], value: bytes | None) -> M:
    if value is None:
        raise UnreadableRecord("the value is null")
    try:
        return decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        plain = with_plain_times(value, _TIMES) if _NO_TIME in reason else None
    if plain is not None:
        try:
            return decode(plain)
        except msgspec.DecodeError as error:
            reason = str(error)
    raise UnreadableRecord(reason)


def _canonical(text: str) -> ItemId:
    item_id = parse_item_id(text)
    if item_id is None:
        raise UnreadableRecord(f"itemId is not a UUID: {text[:_LONGEST_EXCERPT]!r}")
    return item_id


def _utc(time: datetime) -> datetime:
    if time.tzinfo is UTC:
        return time
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise UnreadableRecord(f"{time.isoformat()} is no time in UTC") from None
