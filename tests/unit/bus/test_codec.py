"""What is written can be read back, and what is kept of it is canonical."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import ITEM, T0, place, takedown

from bus.kafka.codec import (
    decode_item_deleted,
    decode_item_published,
    decode_item_reported,
    encode,
    headers_of_request,
    item_id_from_key,
    item_key,
    parse_item_id,
    request_for,
)
from domain.errors import UnreadableRecord
from domain.messages import (
    Container,
    ContainerId,
    ItemDeleted,
    ItemId,
    ItemPublished,
    ItemReported,
    TakedownId,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
item_ids = st.uuids().map(str).map(ItemId)
container_ids = texts.filter(bool).map(ContainerId)
times = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - the zone is given below
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)
containers = st.builds(Container, container_ids, texts)


@settings(deadline=None)
@given(st.builds(ItemDeleted, item_ids, container_ids, texts, times))
def test_a_deletion_that_was_written_is_read_back(message: ItemDeleted) -> None:
    assert decode_item_deleted(encode(message)) == message


@settings(deadline=None)
@given(st.builds(ItemPublished, item_ids, st.lists(containers).map(tuple), times))
def test_an_item_that_was_written_is_read_back(message: ItemPublished) -> None:
    assert decode_item_published(encode(message)) == message


@settings(deadline=None)
@given(st.builds(ItemReported, texts.map(TakedownId), item_ids, container_ids, texts, times, times))
def test_a_request_that_was_written_is_read_back(message: ItemReported) -> None:
    assert decode_item_reported(encode(message)) == message


def test_what_is_written_is_the_contracts_json() -> None:
    request = request_for(takedown(name="t"), place("c", "timeline"), T0)
    assert json.loads(encode(request)) == {
        "takedownId": "t",
        "itemId": ITEM,
        "containerId": "c",
        "containerType": "timeline",
        "reportedAt": "2026-01-02T03:04:05.678000Z",
        "deadline": "2026-01-02T03:04:15.678000Z",
    }
    assert json.loads(encode(ItemPublished(ITEM, (place("c"),), T0))) == {
        "itemId": ITEM,
        "containers": [{"containerId": "c", "containerType": "group"}],
        "publishedAt": "2026-01-02T03:04:05.678000Z",
    }
    assert set(json.loads(encode(ItemDeleted(ITEM, ContainerId("c"), "group", T0)))) == {
        "itemId",
        "containerId",
        "containerType",
        "deletedAt",
    }


def test_what_is_written_is_utf_8() -> None:
    value = encode(ItemDeleted(ITEM, ContainerId("grüße-👋"), "group", T0))
    assert "grüße-👋".encode() in value


def test_a_request_carries_the_contracts_headers() -> None:
    assert headers_of_request(TakedownId("t"), "00-aa-bb-01") == [
        ("takedown-id", b"t"),
        ("traceparent", b"00-aa-bb-01"),
        ("content-type", b"application/json"),
    ]


def deleted(**changes: Any) -> bytes:
    fields = {
        "itemId": ITEM,
        "containerId": "c",
        "containerType": "group",
        "deletedAt": "2026-01-02T03:04:05.678Z",
    }
    return json.dumps(fields | changes).encode()


def test_unknown_fields_are_ignored() -> None:
    extra = deleted(takedownId="t", more={"deep": [1, {"x": None}]}, itemid="not this")
    assert decode_item_deleted(extra) == decode_item_deleted(deleted())


def test_a_value_of_a_megabyte_in_an_unknown_field_is_no_obstacle() -> None:
    assert decode_item_deleted(deleted(padding="x" * 1_000_000)) == decode_item_deleted(deleted())


def test_a_container_id_of_a_megabyte_is_free_text_like_any_other() -> None:
    assert len(decode_item_deleted(deleted(containerId="x" * 1_000_000)).container_id) == 1_000_000


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678901Z", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678901234Z", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
        ("2026-01-02T05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-01T21:34:05-05:30", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02t05:04+02", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02T04:04:05+01", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 04:04:05.678+01", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("2026-01-02T04:04:05+01:00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T04:04:06+01:00:01", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T04:04:05.123456789+01", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T04:04:05+0100", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2016-12-31T23:59:60z", datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2017-01-01T05:29:60.5+05:30", datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_time_of_any_zone_is_read_as_utc(written: str, read: datetime) -> None:
    time = decode_item_deleted(deleted(deletedAt=written)).deleted_at
    assert time == read
    assert time.tzinfo is UTC


def test_a_list_of_a_leap_second_can_be_read() -> None:
    value = {"itemId": ITEM, "containers": [], "publishedAt": "2016-12-31T23:59:60.25Z"}
    item = decode_item_published(json.dumps(value).encode())
    assert item.published_at == datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_every_time_of_every_record_is_read_as_utc() -> None:
    east = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    request = decode_item_reported(
        encode(ItemReported(TakedownId("t"), ITEM, ContainerId("c"), "group", east, east))
    )
    assert request.reported_at.tzinfo is request.deadline.tzinfo is UTC
    assert request.deadline == east
    item = decode_item_published(encode(ItemPublished(ITEM, (), east)))
    assert item.published_at.tzinfo is UTC


def test_an_item_id_is_read_in_canonical_form_in_every_record() -> None:
    upper = ItemId("ABCDEF00-2222-3333-4444-555555555555")
    lower = upper.lower()
    assert decode_item_deleted(deleted(itemId=upper)).item_id == lower
    assert decode_item_published(encode(ItemPublished(upper, (), T0))).item_id == lower
    request = ItemReported(TakedownId("t"), upper, ContainerId("c"), "group", T0, T0)
    assert decode_item_reported(encode(request)).item_id == lower


@settings(deadline=None)
@given(st.uuids())
def test_a_uuid_in_its_usual_text_form_is_an_item_id(value: Any) -> None:
    text = str(value)
    assert parse_item_id(text) == text
    assert parse_item_id(text.upper()) == text


NOT_UUIDS = [
    "",
    "x",
    " ",
    ITEM + " ",
    " " + ITEM,
    ITEM + "\n",
    ITEM[:-1],
    ITEM + "0",
    ITEM.replace("-", ""),
    "{" + ITEM + "}",
    "urn:uuid:" + ITEM,
    ITEM.replace("1", "g", 1),
    ITEM.replace("-", "\u2010"),
    ITEM.replace("1", "\uff11"),
    ITEM.replace("1", "\u0661"),
    ITEM + "\x00",
    "11111111222-2-3333-4444-555555555555",
    "1" * 100_000,
]


@pytest.mark.parametrize("text", NOT_UUIDS, ids=lambda text: repr(text[:50]))
def test_anything_else_is_no_item_id(text: str) -> None:
    assert parse_item_id(text) is None
    with pytest.raises(UnreadableRecord, match="itemId is not a UUID") as raised:
        decode_item_deleted(deleted(itemId=text))
    assert len(str(raised.value)) < 600


@settings(deadline=None)
@given(texts)
def test_an_item_id_is_lower_case_ascii_of_fixed_length_or_none(text: str) -> None:
    item_id = parse_item_id(text)
    assert item_id is None or (len(item_id) == 36 and item_id.isascii() and item_id.islower())


def test_the_key_of_a_record_is_the_item_id() -> None:
    assert item_key(ITEM) == ITEM.encode()
    assert item_id_from_key(item_key(ITEM)) == ITEM
    assert item_id_from_key(b"ABCDEF00-2222-3333-4444-555555555555").startswith("abcdef00")


@pytest.mark.parametrize("key", [None, b"", b"x", b"\xff\xfe", ITEM.encode() + b"\x00"])
def test_a_null_value_under_any_other_key_cannot_be_read(key: bytes | None) -> None:
    with pytest.raises(UnreadableRecord, match="key that is not an itemId"):
        item_id_from_key(key)
