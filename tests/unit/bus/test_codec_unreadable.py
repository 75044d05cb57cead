"""Whatever is in a record, reading it raises `UnreadableRecord` or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fakes import ITEM

from bus.kafka.codec import (
    decode_item_deleted,
    decode_item_published,
    decode_item_reported,
    encode,
    item_id_from_key,
)
from domain.errors import UnreadableRecord
from domain.messages import ItemDeleted, ItemPublished, ItemReported

TIME = "2026-01-02T03:04:05.678Z"

Decode = Callable[[bytes], ItemDeleted | ItemPublished | ItemReported]
Fields = dict[str, Any]

RECORDS: dict[str, tuple[Decode, Fields]] = {
    "item_deleted": (
        decode_item_deleted,
        {"itemId": ITEM, "containerId": "c", "containerType": "group", "deletedAt": TIME},
    ),
    "item_published": (
        decode_item_published,
        {
            "itemId": ITEM,
            "containers": [{"containerId": "c", "containerType": "group"}],
            "publishedAt": TIME,
        },
    ),
    "item_reported": (
        decode_item_reported,
        {
            "takedownId": "t",
            "itemId": ITEM,
            "containerId": "c",
            "containerType": "group",
            "reportedAt": TIME,
            "deadline": TIME,
        },
    ),
}

FIELDS = [(record, name) for record, (_, fields) in RECORDS.items() for name in fields]
each_record = pytest.mark.parametrize("record", RECORDS)


def refused(record: str, value: bytes) -> str:
    """The reason for which this record's decoder refuses the value."""
    with pytest.raises(UnreadableRecord) as raised:
        RECORDS[record][0](value)
    assert str(raised.value)
    return str(raised.value)


def changed(record: str, **changes: Any) -> bytes:
    return json.dumps(RECORDS[record][1] | changes).encode()


@each_record
def test_the_record_that_the_others_are_made_of_can_be_read(record: str) -> None:
    decode, fields = RECORDS[record]
    assert decode(json.dumps(fields).encode()).item_id == ITEM


@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_a_missing_field_is_named(record: str, name: str) -> None:
    fields = {key: value for key, value in RECORDS[record][1].items() if key != name}
    assert name in refused(record, json.dumps(fields).encode())


@pytest.mark.parametrize("wrong", [None, 1, 1.5, True, {}, [1], {"x": []}])
@pytest.mark.parametrize(("record", "name"), FIELDS)
def test_a_field_of_a_wrong_type_is_refused(record: str, name: str, wrong: Any) -> None:
    assert refused(record, changed(record, **{name: wrong}))


@pytest.mark.parametrize("record", ["item_deleted", "item_reported"])
def test_an_empty_container_id_is_refused(record: str) -> None:
    assert refused(record, changed(record, containerId=""))


@pytest.mark.parametrize(
    "container",
    [
        {"containerId": "", "containerType": "group"},
        {"containerId": "c"},
        {"containerType": "group"},
        {"containerId": 1, "containerType": "group"},
        None,
        "c",
        [],
    ],
)
def test_a_container_that_is_none_is_refused_with_the_whole_list(container: Any) -> None:
    good = {"containerId": "c", "containerType": "group"}
    assert refused("item_published", changed("item_published", containers=[good, container]))


def test_null_is_not_a_list_of_containers() -> None:
    """Only a null *value* says that an item is gone."""
    assert refused("item_published", changed("item_published", containers=None))


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04",
        "2026-13-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2026-01-02T03:04:05+99:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "1767323045",
    ],
)
@pytest.mark.parametrize(("record", "name"), [f for f in FIELDS if f[1].endswith(("At", "ine"))])
def test_a_time_that_is_none_or_has_no_zone_is_refused(record: str, name: str, time: str) -> None:
    assert refused(record, changed(record, **{name: time}))


NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "space": b"  ",
    "text": b"hello",
    "null": b"null",
    "a number": b"17",
    "a list": b"[]",
    "a string": b'"' + ITEM.encode() + b'"',
    "an empty object": b"{}",
    "half an object": b'{"itemId":',
    "two objects": b"{}{}",
    "a trailing comma": b'{"itemId":"x",}',
    "single quotes": b"{'itemId': 'x'}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"itemId":"x"}'.encode("utf-16"),
    "zero bytes": b"\x00" * 100,
    "brackets, deep": b"[" * 100_000,
    "brackets, deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "objects, deep": b'{"a":' * 100_000,
    "NaN": b"NaN",
    "Avro": b"\x00\x00\x00\x00\x01\x48aaaa",
    "a megabyte of it": b"x" * 1_000_000,
    "a megabyte of a string": b'"' + b"x" * 1_000_000 + b'"',
}


@pytest.mark.parametrize("what", NOT_JSON)
@each_record
def test_what_is_no_object_of_ours_is_refused(record: str, what: str) -> None:
    assert len(refused(record, NOT_JSON[what])) < 600


@pytest.mark.parametrize(
    "unknown",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"NaN",
        b"Infinity",
        b'"\xff\xfe"',
        b'"half',
    ],
    ids=["deep", "deep, closed", "deep objects", "NaN", "Infinity", "not UTF-8", "half"],
)
@each_record
def test_an_unknown_field_may_hold_anything_but_what_is_no_json(
    record: str, unknown: bytes
) -> None:
    value = changed(record)[:-1] + b',"unknown":' + unknown + b"}"
    try:
        read = RECORDS[record][0](value)
    except UnreadableRecord:
        return
    assert read == RECORDS[record][0](changed(record))


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
@pytest.mark.parametrize("name", ["itemId", "containerId", "containerType", "deletedAt"])
def test_text_that_is_not_utf_8_is_refused(name: str, bad: bytes) -> None:
    value = changed("item_deleted", **{name: "HERE"}).replace(b"HERE", bad)
    assert refused("item_deleted", value)


@pytest.mark.parametrize("name", ["containerId", "containerType"])
def test_what_is_read_can_always_be_written_again(name: str) -> None:
    """A lone surrogate is valid in JSON and cannot be written as UTF-8."""
    value = changed("item_deleted", **{name: "HERE"}).replace(b"HERE", rb"\ud800")
    assert refused("item_deleted", value)


def test_the_value_null_is_refused_where_it_has_no_meaning() -> None:
    with pytest.raises(UnreadableRecord, match="the value is null"):
        decode_item_deleted(None)
    with pytest.raises(UnreadableRecord, match="the value is null"):
        decode_item_reported(None)


@example(b"[" * 10_000)
@settings(deadline=None)
@given(st.binary())
def test_arbitrary_bytes_raise_nothing_else(value: bytes) -> None:
    for decode, _ in RECORDS.values():
        with suppress(UnreadableRecord):
            encode(decode(value))
    with suppress(UnreadableRecord):
        item_id_from_key(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.sampled_from(FIELDS), json_values)
def test_any_json_in_any_field_raises_nothing_else(field: tuple[str, str], value: Any) -> None:
    record, name = field
    with suppress(UnreadableRecord):
        encode(RECORDS[record][0](changed(record, **{name: value})))


@settings(deadline=None)
@given(st.sampled_from(list(RECORDS)), st.data())
def test_a_record_with_bytes_changed_raises_nothing_else(record: str, data: st.DataObject) -> None:
    value = bytearray(changed(record))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not value:
            break
    with suppress(UnreadableRecord):
        encode(RECORDS[record][0](bytes(value)))
