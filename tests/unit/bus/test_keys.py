"""Which item a record names, in whichever form a serializer wrote it, and in hostile input."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fakes import ITEM, OTHER_ITEM, item_id

from bus.kafka.keys import MOST_NAMED, item_id_from_key, named_by_key, named_by_value
from domain.errors import UnreadableRecord

ID = "abcdef00-2222-3333-4444-555555555555"
BOM = b"\xef\xbb\xbf"
FRAME = b"\x00\x00\x00\x00\x07"


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


KEYS = {
    "plain": ID.encode(),
    "in upper case": ID.upper().encode(),
    "behind a byte order mark": BOM + ID.encode(),
    "with white space around": b" \t" + ID.encode() + b"\r\n",
    "a JSON string": as_json(ID),
    "a JSON string in upper case": as_json(ID.upper()),
    "a JSON string with escapes": b'"\\u0061bcdef00-2222-3333-4444-555555555555"',
    "a JSON object": as_json({"itemId": ID}),
    "a JSON object with more in it": as_json({"tenant": 7, "itemId": ID.upper()}),
    "a JSON object behind a byte order mark": BOM + as_json({"itemId": ID}) + b"\n",
    "as Kafka Connect wraps it": as_json({"schema": {"type": "struct"}, "payload": {"itemId": ID}}),
    "a framed JSON string": FRAME + as_json(ID),
    "a framed JSON object": FRAME + as_json({"itemId": ID}),
    "a framed plain text": FRAME + ID.encode(),
    "a framed Avro string": FRAME + b"\x48" + ID.encode(),
}

NO_KEYS: dict[str, bytes | None] = {
    "none": None,
    "empty": b"",
    "a number": b"7",
    "another text": b"order 7",
    "in braces": f"{{{ID}}}".encode(),
    "as a URN": f"urn:uuid:{ID}".encode(),
    "two of them": f"{ID},{ID}".encode(),
    "a JSON string of something else": b'"7"',
    "a JSON object without it": b"{}",
    "a JSON object with a number": b'{"itemId": 7}',
    "a JSON object with null": b'{"itemId": null}',
    "a JSON object that was cut": b'{"itemId": "' + ID.encode() + b'"',
    "a frame and nothing else": FRAME,
    "not UTF-8": b"\xff\xfe",
    "very long": b'{"x":"' + b"x" * 100_000 + b'","itemId":"' + ID.encode() + b'"}',
    "deeply nested": b'{"data":' * 100_000,
}


@pytest.mark.parametrize("form", KEYS)
def test_a_key_names_its_item_in_each_form(form: str) -> None:
    assert named_by_key(KEYS[form]) == ID
    assert item_id_from_key(KEYS[form]) == ID


@pytest.mark.parametrize("form", NO_KEYS)
def test_what_is_not_an_item_names_none(form: str) -> None:
    assert named_by_key(NO_KEYS[form]) is None
    with pytest.raises(UnreadableRecord, match="not an itemId"):
        item_id_from_key(NO_KEYS[form])


def item(**changes: Any) -> dict[str, Any]:
    return {
        "itemId": ID,
        "containers": [{"containerId": "c0", "containerType": "group"}],
        "publishedAt": "2026-01-02T03:04:05Z",
        **changes,
    }


VALUES = {
    "containers null": as_json(item(containers=None)),
    "a numeric containerId": as_json(item(containers=[{"containerId": 7, "containerType": "g"}])),
    "publishedAt without a zone": as_json(item(publishedAt="2026-01-02T03:04:05")),
    "publishedAt in epoch milliseconds": as_json(item(publishedAt=1767323045000)),
    "a byte order mark": BOM + as_json(item()),
    "framing": FRAME + as_json(item()),
    "a CloudEvents envelope": as_json({"specversion": "1.0", "type": "x", "data": item()}),
    "Kafka Connect's envelope": as_json({"schema": None, "payload": item()}),
    "Debezium's envelope": as_json({"payload": {"before": None, "after": item()}}),
    "the itemId in upper case": as_json(item(itemId=ID.upper(), containers=7)),
    "cut": as_json(item())[:-1],
    "more behind it": as_json(item()) + b"}",
    "not a number": as_json(item(x=float("nan"))),
    "another encoding of a name": as_json(item(name="HERE")).replace(b"HERE", b"\xe9t\xe9"),
    "JSON in a JSON string": as_json(json.dumps(item())),
    "a list of one": as_json([item()]),
}


@pytest.mark.parametrize("form", VALUES)
def test_an_undecodable_value_still_names_its_item(form: str) -> None:
    assert named_by_value(VALUES[form]) == (ID,)


def test_the_objects_own_itemid_counts_and_not_one_within() -> None:
    value = {"related": [{"itemId": OTHER_ITEM}], "data": {"itemId": OTHER_ITEM}, "itemId": ITEM}
    assert named_by_value(as_json(value)) == (ITEM,)


def test_a_list_of_items_names_each_of_them() -> None:
    value = as_json([item(itemId=ITEM), item(itemId=OTHER_ITEM), item(itemId=ITEM)])
    assert named_by_value(value) == (ITEM, OTHER_ITEM)


def test_one_record_names_no_more_items_than_the_bound() -> None:
    value = as_json([item(itemId=item_id(number)) for number in range(1000)])
    assert len(named_by_value(value)) == MOST_NAMED


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 1_000_000,
        b'{"data":' * 200_000,
        b'{"itemId":' + b"[" * 1_000_000,
        b'"itemId"' * 1_000_000,
        b'"itemId":' + b" " * 10_000_000,
        b'"itemId":' * 100_000 + b'"' * 1_000_000,
        b'\\"itemId\\":\\"' * 500_000,
        b'{"data":{"payload":{"after":{"data":{"itemId":"' + ID.encode() + b'"}}}}}',
        b"\x00" * 10_000_000,
        b" " * 10_000_000,
    ],
    ids=range(10),
)
def test_hostile_input_takes_no_time_and_raises_nothing(value: bytes) -> None:
    began = time.thread_time()
    named_by_value(value)
    named_by_key(value)
    assert time.thread_time() - began < 0.25


@example(b'{"data":{"itemId":')
@settings(deadline=None)
@given(st.binary() | st.binary().map(lambda data: FRAME + b"{" + data))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    named_by_key(data)
    named_by_value(data)
