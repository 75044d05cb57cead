"""The checker of the invariants fails when lists changed and an answer does not fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.answers import Got
from support.invariants import Asked, _check, _List, _Written
from support.platform import container

A, B, C = (container(name) for name in "abc")
ASKED, ANSWERED = 100.0, 110.0


def asked(status: int, **lists: list[dict[str, str]]) -> Asked:
    got = Got(status, {"takedown-id": "t"}, lists, ANSWERED - ASKED)
    return Asked("i", 10.0, ASKED, ANSWERED, got)


def written(
    lists: Mapping[float, str], deleted: Mapping[str, float], requested: str = ""
) -> _Written:
    requests: list[dict[str, Any]] = [{"itemId": "i", "containerId": name} for name in requested]
    return _Written(
        {"t": requests},
        {("i", name): [at] for name, at in deleted.items()},
        {"i": [_List(at, dict.fromkeys(names, "group")) for at, names in lists.items()]},
    )


def check(each: Asked, there: _Written) -> None:
    _check(each, [A, B], there, kept=True)


STEADY = {90.0: "ab"}
GROWN = {90.0: "ab", 105.0: "abc"}
SHRUNK = {90.0: "ab", 105.0: "a"}
TOO_LATE = {90.0: "ab", 111.0: "abc", 112.0: "a"}
OLD = {80.0: "abc", 90.0: "ab"}


def refused(*, unacknowledged: Sequence[dict[str, str]] = (), **lists: Any) -> Asked:
    """A 502 of which nothing is deleted yet."""
    more = {"unacknowledged": list(unacknowledged), **lists}
    return asked(502, deleted=[], outstanding=[A, B, C], **more)


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (asked(200, containers=[A, B]), written(STEADY, {"a": 101, "b": 102}, "ab")),
        (asked(200, containers=[B, A, C]), written(GROWN, {"a": 101, "b": 102, "c": 106}, "abc")),
        (asked(200, containers=[A, B]), written(GROWN, {"a": 101, "b": 102}, "ab")),
        (asked(200, containers=[A, B]), written(SHRUNK, {"a": 101}, "ab")),
        (asked(504, deleted=[B], outstanding=[A]), written(SHRUNK, {}, "ab")),
        (asked(504, deleted=[], outstanding=[A, B, C]), written(GROWN, {}, "abc")),
        (
            refused(published=[A, B], unpublished=[C]),
            written(GROWN, {}, "ab"),
        ),
        (
            refused(published=[A], unpublished=[B], unacknowledged=[C]),
            written(GROWN, {}, "ac"),
        ),
    ],
)
def test_what_fits_the_lists_and_the_deletions_passes(answer: Asked, there: _Written) -> None:
    check(answer, there)


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (asked(200, containers=[A, B]), written(STEADY, {"a": 101}, "ab")),
        (asked(200, containers=[A, B]), written(STEADY, {"a": 101, "b": 111}, "ab")),
        (asked(200, containers=[A]), written(SHRUNK, {"a": 101}, "ab")),
        (asked(200, containers=[A, C]), written(GROWN, {"a": 101, "c": 106}, "abc")),
        (asked(200, containers=[A, B, C]), written(GROWN, {"a": 101, "b": 102}, "abc")),
        (asked(200, containers=[A, B, C]), written(OLD, {"a": 101, "b": 102, "c": 103}, "abc")),
        (asked(200, containers=[A, B]), written(TOO_LATE, {"a": 101}, "ab")),
        (asked(200, containers=[A, B]), written(STEADY, {"a": 101, "b": 102}, "abc")),
        (asked(504, deleted=[C], outstanding=[A, B]), written(GROWN, {}, "abc")),
        (asked(504, deleted=[], outstanding=[A]), written(SHRUNK, {}, "ab")),
        (
            refused(published=[A, B], unpublished=[]),
            written(GROWN, {}, "ab"),
        ),
        (
            refused(published=[A, B, C], unpublished=[]),
            written(GROWN, {}, "ab"),
        ),
        (asked(503), written(GROWN, {}, "c")),
        (asked(404), written(GROWN, {})),
    ],
)
def test_what_does_not_fit_them_fails(answer: Asked, there: _Written) -> None:
    with pytest.raises(AssertionError):
        check(answer, there)
