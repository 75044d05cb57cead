"""Durations, bars, hostile text, and filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from operations.admin.openapi import ACTOR_PARAMETERS, STREAM_PARAMETERS
from operations.admin.parameters import parse
from operations.top.query import SORTS, BadFilter, next_sort, parse_filter, reversed_sort
from operations.top.words import bar, count, rate, seconds, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0 ms"),
        (0.1204, "120 ms"),
        (3.21, "3.2 s"),
        (42.4, "42 s"),
        (245, "4m05s"),
        (3725, "1h02m"),
        (180_000, "2d02h"),
        (-1.5, "-1.5 s"),
    ],
)
def test_durations(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_numbers() -> None:
    assert (count(1234567), rate(3.14159), rate(1234.5)) == ("1 234 567", "3.1", "1 234")


@given(st.floats(allow_nan=False), st.integers(1, 40))
def test_a_bar_is_always_as_wide_as_it_should_be(fraction: float, width: int) -> None:
    assert len(bar(fraction, width)) == width


@given(st.text())
def test_nothing_that_is_shown_moves_the_cursor_or_turns_the_text(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text, 10)) <= 10
    shown(text).encode()


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        ("act loc", {"state": "Active,Locating"}),
        ("1f-AB", {"item": "1f-AB"}),
        ("t:1f >2.5 stuck", {"takedown": "1f", "olderThan": "2.5", "stuck": "true"}),
        ("itemcensor coord", {"kind": "ItemCensor,Coordinator"}),
    ],
)
def test_filters_are_what_the_server_takes(text: str, parameters: dict[str, str]) -> None:
    found = dict(parse_filter(text))
    assert found == parameters
    parse(MultiDict(found), ACTOR_PARAMETERS)


@pytest.mark.parametrize(
    "text", ["x", "?", "state=", "ab cd", ">x", "stuck stuck", "t:", "ac\x00t"]
)
def test_filters_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(BadFilter):
        parse_filter(text)


def test_every_order_is_one_that_the_server_takes() -> None:
    sort, seen = SORTS[0], set()
    for _ in SORTS:
        for each in (sort, reversed_sort(sort)):
            seen.add(each)
            parse(MultiDict({"sort": each}), STREAM_PARAMETERS)
        sort = next_sort(reversed_sort(sort))
    assert sort == SORTS[0]
    assert len(seen) == 2 * len(SORTS)
