"""Records of `item_published` that cannot be decoded, and that still name their item."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from datetime import datetime

_BOM = b"\xef\xbb\xbf"
_FRAME = b"\x00\x00\x00\x00\x2a"
"""A schema registry's serializer writes this before the value: zero, and the schema's id."""


def undecodable(
    item_id: str, containers: Sequence[str], now: datetime, rng: random.Random
) -> tuple[bytes | None, bytes]:
    """A key and a value; at least one of them names the item."""
    places = [{"containerId": one, "containerType": "group"} for one in containers]
    good = {"itemId": item_id, "containers": places, "publishedAt": now.isoformat()}
    plain: tuple[dict[str, Any], ...] = (
        {"publishedAt": now.replace(tzinfo=None).isoformat()},
        {"publishedAt": round(now.timestamp() * 1000)},
        {"containers": None},
        {"containers": [{"containerId": 7, "containerType": "group"}]},
    )
    if rng.random() < 0.5:
        value = json.dumps(good | rng.choice(plain)).encode()
        # Whatever the key is, the value names the item.
        return rng.choice((*_keys(item_id), None, b"another")), value
    text = json.dumps(good).encode()
    event = {"specversion": "1.0", "id": "1", "type": "item.published", "source": "/items"}
    values = (
        _BOM + text,
        _FRAME + text,
        json.dumps(event | {"data": good}).encode(),
        text[: len(text) // 2],
        b"",
    )
    return rng.choice(_keys(item_id)), rng.choice(values)


def key_of(item_id: str, rng: random.Random) -> bytes:
    """A key that names an item, as one of several serializers writes it."""
    return rng.choice(_keys(item_id))


def _keys(item_id: str) -> tuple[bytes, ...]:
    return (
        item_id.encode(),
        item_id.upper().encode(),
        json.dumps(item_id).encode(),
        json.dumps({"itemId": item_id}).encode(),
    )
