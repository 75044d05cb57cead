"""When lines are written: together, at the end of an iteration of the event loop, or at once."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from support.logging_state import Stream, logging_restored

from app import logs
from operations.log_output.handler import lines_dropped

logger = logging.getLogger("takedown.test")


@pytest.fixture(autouse=True)
def logging_is_as_before() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()
    monkeypatch.setattr("sys.stdout", stream)
    logs.configure(level="info", json=True)
    return stream


def events(stream: Stream) -> list[list[str]]:
    return [[json.loads(line)["event"] for line in one.splitlines()] for one in stream.writes]


async def test_the_lines_of_one_turn_are_written_together_at_its_end(stream: Stream) -> None:
    logger.info("one")
    logger.info("two")
    assert stream.writes == []
    await asyncio.sleep(0)
    assert events(stream) == [["one", "two"]]
    logger.info("three")
    await asyncio.sleep(0)
    assert events(stream) == [["one", "two"], ["three"]]


async def test_a_warning_is_written_at_once_with_what_came_before(stream: Stream) -> None:
    logger.info("one")
    logger.warning("two")
    assert events(stream) == [["one", "two"]]
    await asyncio.sleep(0)
    assert events(stream) == [["one", "two"]]


async def test_what_another_thread_logs_is_written_at_once(stream: Stream) -> None:
    logger.info("one")
    thread = threading.Thread(target=logger.info, args=("two",))
    thread.start()
    thread.join()
    assert events(stream) == [["one", "two"]]


def test_without_a_loop_each_line_is_written_at_once(stream: Stream) -> None:
    logger.info("one")
    assert events(stream) == [["one"]]


def test_the_end_of_a_loop_loses_no_line(stream: Stream) -> None:
    async def last_words() -> None:
        logger.info("one")
        raise KeyError

    with closing(asyncio.new_event_loop()) as loop, pytest.raises(KeyError):
        loop.run_until_complete(last_words())
    logging.getLogger().handlers[0].flush()  # as the standard library does in the end
    assert events(stream) == [["one"]]

    async def again() -> None:
        logger.info("two")
        await asyncio.sleep(0)

    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(again())
    assert events(stream) == [["one"], ["two"]]


async def test_an_output_that_fails_costs_its_lines_which_are_counted(stream: Stream) -> None:
    before = lines_dropped()
    stream.fails = True
    logger.info("one")
    await asyncio.sleep(0)
    logger.warning("two")
    stream.fails = False
    logger.warning("three")
    assert events(stream) == [["three"]]
    assert lines_dropped() - before == 2
