"""Log lines: one JSON object each, with every fact, whatever it is made of."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import logs

logger = logging.getLogger("takedown.test")
LOGGERS = [None, "takedown", "aiokafka", "pykka", "asyncio"]


@pytest.fixture(autouse=True)
def logging_is_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, list(each.handlers), each.propagate) for each in loggers]
    yield
    for each, (level, handlers, propagate) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.handlers[:] = handlers
        each.propagate = propagate


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return [json.loads(line) for line in captured.out.splitlines()]


def one_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = lines(capsys)
    return line


def test_a_line_says_what_happened_where_when_and_how_bad_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="info", json=True)
    logger.warning("Something %s", "happened")
    line = one_line(capsys)
    when = datetime.fromisoformat(line.pop("timestamp"))
    assert when.tzinfo is not None
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60
    assert line == {"event": "Something happened", "level": "warning", "logger": "takedown.test"}


def test_facts_are_fields_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=True)
    logger.info("Answered", extra={"takedownId": "t", "elapsedMs": 1.5, "lists": [1, {"a": None}]})
    line = one_line(capsys)
    assert (line["takedownId"], line["elapsedMs"]) == ("t", 1.5)
    assert line["lists"] == [1, {"a": None}]


def test_an_exception_is_in_its_own_line_with_its_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="info", json=True)
    try:
        raise ValueError("this is why")
    except ValueError:
        logger.exception("It failed")
    line = one_line(capsys)
    assert line["event"] == "It failed"
    assert "ValueError: this is why" in line["exception"]
    assert "test_logs.py" in line["exception"]


def test_what_has_more_than_one_line_is_one_line_of_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="info", json=True)
    logger.info("two\nlines", extra={"text": "three\r\nmore\x1b[31mred"})
    line = one_line(capsys)
    assert line["event"] == "two\nlines"
    assert line["text"] == "three\r\nmore\x1b[31mred"


class Unwilling:
    def __repr__(self) -> str:
        raise ValueError("will not be shown")


def circle() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


AWKWARD: dict[str, Any] = {
    "an object": object(),
    "an exception": ValueError("x"),
    "bytes": b"\xff\x00",
    "a set": {1, 2},
    "a class": int,
    "a time": datetime(2026, 1, 2, tzinfo=UTC),
    "not a number": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**40,
    "a lone surrogate": "\ud800",
    "a dictionary with odd keys": {("a", 1): 2, None: 3, object: 4},
    "something that refers to itself": circle(),
    "something that cannot be shown": Unwilling(),
    "a lone surrogate, inside": {"list": ["\udfff"]},
}


@pytest.mark.parametrize("what", AWKWARD)
def test_a_fact_that_json_does_not_know_does_not_lose_the_line(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level="info", json=True)
    logger.info("An awkward fact", extra={"fact": AWKWARD[what], "takedownId": "t"})
    line = one_line(capsys)
    assert (line["event"], line["takedownId"], line["level"]) == ("An awkward fact", "t", "info")
    assert "fact" in line


def test_an_object_is_shown_as_it_shows_itself(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=True)
    logger.info("x", extra={"error": ValueError("y")})
    assert one_line(capsys)["error"] == "ValueError('y')"


def test_a_message_that_is_not_utf_8_does_not_lose_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="info", json=True)
    logger.info("odd \udcff")
    assert one_line(capsys)["event"].startswith("odd ")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_lines_of_the_level_and_above_are_written(
    level: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level=level, json=True)
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)(name)
    assert [line["level"] for line in lines(capsys)] == shown


def test_libraries_do_not_chatter(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=True)
    for name in ("pykka", "asyncio", "aiokafka.conn"):
        logging.getLogger(name).info("chatter")
    logging.getLogger("aiokafka.conn").error("what we log ourselves")
    assert lines(capsys) == []


def test_configuring_again_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=True)
    logs.configure(level="info", json=True)
    logger.info("once")
    assert len(lines(capsys)) == 1


def test_for_people_a_line_is_text_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=False)
    logger.info("Answered", extra={"takedownId": "t"})
    text = capsys.readouterr().out
    assert "Answered" in text
    assert "takedownId=t" in text
    assert "\x1b[" not in text  # this is not a terminal
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
