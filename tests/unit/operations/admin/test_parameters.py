"""Parameters and cursors: whatever is given is understood or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from operations.admin.openapi import ACTOR_PARAMETERS, RECENT_PARAMETERS, STREAM_PARAMETERS
from operations.admin.parameters import BadParameter, actors_query, parse, recent_query, watching
from operations.observation.paging import BadCursor, decode_cursor, encode_cursor


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=30), max_size=4))
def test_whatever_is_given_is_a_query_or_a_bad_parameter(given_: dict[str, str]) -> None:
    for parameters, use in (
        (ACTOR_PARAMETERS, actors_query),
        (RECENT_PARAMETERS, recent_query),
        (STREAM_PARAMETERS, watching),
    ):
        known = [parameter.name for parameter in parameters]
        for query in (given_, dict(zip(known, given_.values(), strict=False))):
            with suppress(BadParameter):
                hash(use(parse(MultiDict(query), parameters)))


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: b.hex()))
def test_whatever_is_given_for_a_cursor_is_a_key_or_a_bad_cursor(text: str) -> None:
    try:
        key = decode_cursor("-age", text)
    except BadCursor:
        return
    assert isinstance(key, tuple)


@given(st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20))
def test_a_cursor_comes_back_as_it_went(nothing: bool, value: float, name: str) -> None:
    assert decode_cursor("-age", encode_cursor("-age", (nothing, value, name))) == (
        nothing,
        value,
        name,
    )


def test_a_cursor_of_another_order_is_refused() -> None:
    cursor = encode_cursor("-age", (False, 1.0, "x"))
    for order in ("age", "recent", "state"):
        with pytest.raises(BadCursor):
            decode_cursor(order, cursor)
    with pytest.raises(BadCursor):
        decode_cursor("state", encode_cursor("state", (False, 1.0, "x")))
