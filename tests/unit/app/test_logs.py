"""Log lines: one JSON object each, with every field, whatever it is made of."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stamina
from support.logging_state import Stream, logging_restored

from app import logs

logger = logging.getLogger("takedown.test")


@pytest.fixture(autouse=True)
def logging_is_as_before() -> Iterator[None]:
    with logging_restored():
        yield


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


async def test_a_retry_prints_nothing_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="debug", json=True)
    async for attempt in stamina.retry_context(ZeroDivisionError, attempts=2):
        with attempt:
            if attempt.num == 1:
                raise ZeroDivisionError
    assert capsys.readouterr() == ("", "")


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


# --------------------------------------------------------------- what a line may not do

HOSTILE: dict[str, str] = {
    "a line feed": "a\n2026-01-01T00:00:00Z [info    ] forged",
    "a carriage return": "a\rb",
    "a line feed of another kind": "a\u2028b\u2029c\x85d",
    "an escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "C1": "\x9b31mred",
    "DEL": "a\x7fb",
    "a bidirectional control": "a\u202egpj.exe\u2066b\u200f",
    "an invisible character": "a\u200bb\ufeffc\U000e0041",
    "a lone surrogate": "a\udc9bb",
    "no character": "a\ufffeb\x00",
}


class Shown:
    """Shows itself as a text, as the errors of libraries do."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def log_everywhere(text: str) -> None:
    """Log one text in each place where a text from outside can stand."""
    logger.warning("In the message: %s", text)
    logger.warning("In a field", extra={"itemId": text, "error": Shown(text), "list": [text]})
    logger.warning("In a field's name", extra={text: 1})
    logging.getLogger(f"takedown.{text}").warning("In the logger's name")
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("In an error")


@pytest.mark.parametrize("what", HOSTILE)
def test_for_people_nothing_from_outside_controls_the_terminal(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level="info", json=False)
    log_everywhere(HOSTILE[what])
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.split("\n")
    assert lines.pop() == ""
    assert [line for line in lines if not line.isprintable()] == []
    begun = [line for line in lines if not line.startswith("    ")]
    assert [line.split("In ")[1].split()[0] for line in begun] == [
        "the",
        "a",
        "a",
        "the",
        "an",
    ]


@pytest.mark.parametrize("what", HOSTILE)
def test_as_json_nothing_from_outside_controls_the_terminal_and_nothing_is_changed(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level="info", json=True)
    text = HOSTILE[what]
    log_everywhere(text)
    written = capsys.readouterr().out.split("\n")
    assert written.pop() == ""
    assert [line for line in written if not line.isprintable()] == []
    message, field, name, _, error = (json.loads(line) for line in written)
    assert message["event"] == f"In the message: {text}"
    assert field["itemId"] == text
    assert name[text] == 1
    assert f"ValueError: {text}" in error["exception"]


def test_what_is_printable_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", json=False)
    logger.info("Größe 中文 🙂", extra={"itemId": "naïve"})
    logs.configure(level="info", json=True)
    logger.info("Größe 中文 🙂")
    people, program = capsys.readouterr().out.splitlines()
    assert "Größe 中文 🙂" in people
    assert "itemId=naïve" in people
    assert "Größe 中文 🙂" in program


@pytest.mark.parametrize("as_json", [True, False])
def test_a_trace_shows_no_local_variables(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(level="info", json=as_json)

    def log_in(password: str) -> None:
        if password:
            raise PermissionError("refused")

    try:
        log_in("hunter" + "2")
    except PermissionError:
        logger.exception("It failed")
    text = capsys.readouterr().out
    assert "PermissionError: refused" in text
    assert "test_logs.py" in text
    assert "hunter2" not in text


def test_on_a_terminal_only_our_own_sequences_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Stream()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", stream)
    logs.configure(level="info", json=False)
    logger.warning("\x1b[31m%s", "\x1b]0;title\x07", extra={"path": "/\x1b[2J"})
    (line,) = stream.writes
    assert set(re.findall("\x1b[^m]*m", line)) == {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m"}
    assert re.sub("\x1b\\[[0-9]+m", "", line).removesuffix("\n").isprintable()


def test_a_line_that_cannot_be_formatted_is_named_and_nothing_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="info", json=True)
    logger.info("%d items", "three")
    logger.info(Unwilling())
    first, second = lines(capsys)
    assert first["event"] == "A log line could not be formatted: TypeError: '%d items'"
    assert second["event"].startswith("A log line could not be formatted: ")


# ------------------------------------------------------------ internals of the library


def test_what_the_standard_library_puts_into_a_record_comes_before_our_fields() -> None:
    record = logger.makeRecord("name", logging.INFO, "file", 1, "text", (), None, None, {"x": 1})
    assert list(vars(record))[logs._FIRST :] == ["x"]


def test_without_a_source_file_no_caller_is_searched(caplog: pytest.LogCaptureFixture) -> None:
    logs.configure(level="info", json=True)
    logging.getLogger().addHandler(caplog.handler)
    logger.info("x")
    assert [record.pathname for record in caplog.records] == ["(unknown file)"]
