"""`Prefer` and `traceparent`, as callers write them and as they should not."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import CallerError
from web.headers import parse_wait, take_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([""], None),
        (["wait=5"], 5),
        (["Wait=5"], 5),
        (["WAIT=5"], 5),
        (['wait="5"'], 5),
        (["wait = 5"], 5),
        (["wait\t=\t5"], 5),
        (["  wait=5  "], 5),
        (["wait=005"], 5),
        (["wait=1"], 1),
        (["respond-async"], None),
        (["respond-async, wait=5"], 5),
        (["wait=5, respond-async"], 5),
        (["wait=5,respond-async"], 5),
        (["handling=lenient; x=1, wait=5"], 5),
        (['foo; bar=", wait=9", wait=5'], 5),
        (['foo="\\", wait=9", wait=5'], 5),
        (["foo;;bar; , wait=5"], 5),
        (["wait=5; reason=busy"], 5),
        (["wait=5;"], 5),
        (["respond-async", "wait=5"], 5),
        (["", "wait=5"], 5),
    ],
)
def test_the_wait_is_found_wherever_the_rfc_allows_it(
    headers: list[str], seconds: int | None
) -> None:
    assert parse_wait(headers) == seconds


@pytest.mark.parametrize("header", [",wait=5", "wait=5,", ", ,wait=5", "foo,,wait=5", "\t,wait=5"])
def test_empty_elements_of_the_list_are_passed_over(header: str) -> None:
    assert parse_wait([header]) == 5


@pytest.mark.parametrize("headers", [["wait=5, wait=7"], ["wait=5", "wait=7"], ["wait=5, wait=x"]])
def test_only_the_first_wait_counts(headers: list[str]) -> None:
    assert parse_wait(headers) == 5


@pytest.mark.parametrize("digits", [9, 10, 19, 400, 5000])
def test_a_wait_beyond_all_bounds_is_a_long_wait_and_no_mistake(digits: int) -> None:
    seconds = parse_wait(["wait=" + "9" * digits])

    assert seconds is not None
    assert seconds >= 999_999_999


@pytest.mark.parametrize(
    "header",
    [
        "wait",
        "wait=",
        'wait=""',
        "wait;x=5",
        "wait=0",
        "wait=000",
        "wait=-1",
        "wait=+1",
        "wait=1.5",
        "wait=1e3",
        "wait=0x10",
        "wait=five",
        'wait=" 5"',
        "wait=5 6",
        "wait=5=6",
        "=5",
        "wait 5",
        "wait=٣",
        "wait=\uff15",
        "\uff57ait=5",
        "wait=5\udcff",
        "wait=5\x1f",
        "wait=5\x00",
        'foo="bar',
        'foo="bar\\"',
        "foo bar",
        "foo=(bar)",
        "<wait>",
    ],
)
def test_a_header_that_cannot_be_understood_is_the_callers_error(header: str) -> None:
    with pytest.raises(CallerError) as raised:
        parse_wait([header])

    assert raised.value.code == "invalid-prefer"
    assert "Prefer" in raised.value.detail


@given(st.lists(st.text(max_size=60), max_size=4))
@example(["wait=" + "9" * 8000])
@example(['a;b="'])
@example(["\udcff"])
def test_whatever_is_sent_is_a_number_or_nothing_or_the_callers_error(headers: list[str]) -> None:
    try:
        seconds = parse_wait(headers)
    except CallerError:
        return
    assert seconds is None or seconds >= 1


_PIECES = ["wait", "=", '"', "\\", ";", ",", " ", "\t", "5", "0", "foo", "\udcff", "a=b", '"x"']


@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_whatever_is_built_from_the_grammars_pieces_too(header: str) -> None:
    try:
        seconds = parse_wait([header])
    except CallerError:
        return
    assert seconds is None or seconds >= 1


_TOKENS = st.text("AZaz09!#$%&'*+.^_`|~-", min_size=1, max_size=4)
_QUOTED = st.lists(st.sampled_from(["a", " ", ",", ";", "=", "wait=9", '\\"', "\\\\"]), max_size=4)
_WORDS = _TOKENS | _QUOTED.map("".join).map('"{}"'.format)


@given(
    st.lists(
        st.tuples(_TOKENS, st.none() | _WORDS, st.lists(st.tuples(_TOKENS, _WORDS), max_size=3)),
        max_size=4,
    ),
    st.integers(1, 10**6),
    st.integers(0, 5),
)
def test_any_other_preferences_around_it_do_not_hide_the_wait(
    others: list[tuple[str, str | None, list[tuple[str, str]]]], wait: int, at: int
) -> None:
    texts = [
        (name if word is None else f"{name}={word}")
        + "".join(f"; {parameter}={value}" for parameter, value in parameters)
        for name, word, parameters in others
    ]
    texts.insert(at, f"wait={wait}")

    assert parse_wait([", ".join(texts)]) == wait


@pytest.mark.parametrize(
    "header",
    [
        "a" + ";bbb" * 2000 + '"',
        "a" + "; " * 4000 + '"',
        "a" + " " * 8000 + '"',
        "a=" + '"' + "\\" * 7999,
        'a;b="' + "c" * 8000,
        "," * 8000 + '"',
        "a;" * 4000 + '"',
        'a="b"' + ';c="d"' * 1000 + '"',
    ],
)
def test_no_header_keeps_the_loop_busy(header: str) -> None:
    began = time.thread_time()
    with pytest.raises(CallerError):
        parse_wait([header])
    # Thousands of times what it takes; a pattern that backtracks takes hours.
    assert time.thread_time() - began < 1.0


# ------------------------------------------------------------------------- traceparent


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-brings",
    ],
)
def test_a_valid_trace_context_is_taken_over_as_it_is(header: str) -> None:
    assert take_traceparent(header) == header


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        GOOD.upper(),
        f" {GOOD}",
        f"{GOOD} ",
        f"{GOOD}\n",
        f"{GOOD}-more",
        f"{GOOD}, {GOOD}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}",
        f"01-{TRACE}-{SPAN}-01.more",
        f"01-{TRACE}-{SPAN}-01-\udcff",
        f"01-{TRACE}-{SPAN}-01-é",
        f"01-{TRACE}-{SPAN}-01-{'a' * 300}",
    ],
)
def test_without_a_valid_trace_context_a_new_one_is_made(header: str | None) -> None:
    made = take_traceparent(header)

    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", made)
    assert made != header
    assert made != take_traceparent(header), "each request has a trace of its own"


@given(st.text(max_size=80))
@example(f"01-{TRACE}-{SPAN}-01-\udcff")
def test_what_is_taken_over_can_always_be_sent_on(header: str) -> None:
    assert take_traceparent(header).encode("ascii")
