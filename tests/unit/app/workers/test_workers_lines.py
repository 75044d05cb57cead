"""A log line that has to fit into one write of a pipe."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from app.workers.stdout import fitting, pieces

LIMIT = 4096
FACTS = st.dictionaries(
    st.text(max_size=40),
    st.one_of(
        st.none(),
        st.integers(),
        st.text(max_size=10),
        st.text(max_size=50).map(lambda text: text * 400),
        st.lists(st.text(max_size=20), max_size=300),
    ),
    max_size=20,
)


def as_line(facts: dict[str, object]) -> bytes:
    return json.dumps(facts, ensure_ascii=False).encode() + b"\n"


@given(FACTS)
def test_a_line_of_json_fits_and_is_still_json(facts: dict[str, object]) -> None:
    short = fitting(as_line({"event": "It failed", **facts}), LIMIT)
    assert len(short) <= LIMIT
    assert short.endswith(b"\n")
    assert short.count(b"\n") == 1
    json.loads(short)


def test_of_a_long_trace_the_end_is_kept_and_so_is_every_short_fact() -> None:
    trace = "Traceback:\n" + "  in a file\n" * 2000 + "ValueError: this is why"
    facts = {"event": "It failed", "level": "error", "worker": 3, "exception": trace, "n": 1}
    short = json.loads(fitting(as_line(facts), LIMIT))
    exception = short.pop("exception")
    assert short == {key: fact for key, fact in facts.items() if key != "exception"}
    assert exception.startswith("Traceback:\n")
    assert exception.endswith("ValueError: this is why")
    assert "characters left out" in exception


def test_of_hundreds_of_facts_what_happened_is_kept() -> None:
    many = {f"fact{number}": "x" * 20 for number in range(1000)}
    short = json.loads(fitting(as_line({"event": "E", "worker": 1, **many}), LIMIT))
    assert short == {"event": "E", "worker": 1, "leftOut": 1000}


@given(st.lists(st.integers(min_value=0, max_value=150), max_size=30))
def test_lines_go_together_as_far_as_they_fit_and_none_is_cut_in_two(sizes: list[int]) -> None:
    lines = [b"x" * size + b"\n" for size in sizes]
    cut = list(pieces(b"".join(lines), 200))
    assert b"".join(cut) == b"".join(lines)
    assert all(len(piece) <= 200 for piece in cut)
    assert all(piece.endswith(b"\n") for piece in cut if piece)
    for one, other in itertools.pairwise(cut):
        assert len(one) + len(other.splitlines(keepends=True)[0]) > 200, "it would have fitted"


def test_a_line_for_people_fits_too() -> None:
    line = ("2026 [error] It failed " + "é" * 10_000 + " the end\n").encode()
    short = fitting(line, LIMIT)
    assert len(short) <= LIMIT
    assert short.endswith(b" the end\n")
