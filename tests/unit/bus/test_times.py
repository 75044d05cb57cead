"""Times are read as RFC 3339 and Java's `OffsetDateTime` write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fakes import ITEM

from bus.kafka.codec import decode_item_deleted, decode_item_published
from bus.kafka.times import parse_time
from domain.errors import UnreadableRecord

times = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - the zone is given below
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001 - the same
    timezones=st.integers(-64_800, 64_800).map(lambda s: timezone(timedelta(seconds=s))),
)


def as_java_prints(time: datetime, digits: int = 0) -> str:
    """What `OffsetDateTime.toString()` gives.

    Args:
        digits: of the fraction, with zeros for nanoseconds; 0: as few groups of three as it takes.
    """
    text = time.strftime("%H:%M")
    if time.second or time.microsecond or digits:
        text += time.strftime(":%S")
    if time.microsecond or digits:
        fraction = f"{time.microsecond:06}000"
        digits = digits or (3 if fraction.endswith("000000") else 6)
        text += "." + fraction[:digits]
    date = f"{time.year:04}-{time.month:02}-{time.day:02}"
    offset = time.utcoffset() or timedelta()
    if not offset:
        return f"{date}T{text}Z"
    sign, seconds = "-" if offset < timedelta() else "+", abs(offset) // timedelta(seconds=1)
    zone = f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return f"{date}T{text}{sign}{zone}" + (f":{seconds % 60:02}" if seconds % 60 else "")


@given(times, st.sampled_from([0, 9]))
@example(datetime(2024, 1, 1, 10, 15, tzinfo=UTC), 0)
def test_what_java_prints_is_the_same_time(time: datetime, digits: int) -> None:
    text = as_java_prints(time, digits)
    assert parse_time(text) == time
    deleted = {"itemId": ITEM, "containerId": "c", "containerType": "group", "deletedAt": text}
    assert decode_item_deleted(json.dumps(deleted).encode()).deleted_at == time
    published = {"publishedAt": text, "itemId": ITEM, "containers": []}
    assert decode_item_published(json.dumps(published).encode()).published_at == time


@given(times, st.sampled_from("Tt "), st.booleans(), st.integers(0, 12))
def test_rfc_3339_in_any_spelling_is_the_same_time(
    time: datetime, between: str, lower: bool, digits: int
) -> None:
    time = time.replace(microsecond=0)
    text = time.strftime("%H:%M:%S") + ("." + "0" * digits if digits else "")
    date = f"{time.year:04}-{time.month:02}-{time.day:02}"
    utc = f"{date}{between}{text}{'z' if lower else 'Z'}"
    assert parse_time(utc) == time.replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ["+01", "+01:00", "+0100", "+01:00:00", "+010000"])
def test_an_hour_to_the_east_in_any_spelling(zone: str) -> None:
    assert parse_time("2024-01-01T10:15:30" + zone) == datetime(2024, 1, 1, 9, 15, 30, tzinfo=UTC)


@given(st.text(st.sampled_from("0123456789-:.TtZz+ ")) | st.text())
@example("2024-01-01T10:15:30.1234567890123456789Z")
@example("0001-01-01T00:00:00+01:00")
@example("9999-12-31T23:59:60-01")
@example("2024-01-01T10:15:30+99:99:99")
@example("2024-02-30T10:15:30Z")
def test_any_text_is_a_time_as_msgspec_reads_it_or_is_none(text: str) -> None:
    time = parse_time(text)
    assert time is None or time.tzinfo is UTC
    try:
        other = msgspec.convert(text, datetime, strict=True)
    except msgspec.ValidationError:
        return
    if other.tzinfo is not None and time is not None:
        assert abs(time - other) <= timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text", ["2024-01-01T10:15", "2024-01-01T10:15:30", "2024-01-01", "10:15Z", "2024-01-01T10Z"]
)
def test_without_a_zone_or_a_time_of_day_it_is_none(text: str) -> None:
    assert parse_time(text) is None
    with pytest.raises(UnreadableRecord, match="publishedAt"):
        decode_item_published(
            json.dumps({"itemId": ITEM, "containers": [], "publishedAt": text}).encode()
        )


def test_escapes_and_other_members_change_nothing() -> None:
    value = (
        b'{"note":"\\"publishedAt\\":\\"2024-01-01T10:15+01\\"","publishedAt":"2024-01-01T10:15'
        b'\\u002b01","nested":{"publishedAt":"x"},"containers":[],"itemId":"%b"}' % ITEM.encode()
    )
    assert decode_item_published(value).published_at == datetime(2024, 1, 1, 9, 15, tzinfo=UTC)
