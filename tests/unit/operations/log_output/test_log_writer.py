"""The thread that writes log lines: what it drops, what it reports, and how it ends."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import ROOT

from operations.log_output.handler import LogHandler
from operations.log_output.writer import Dropped, LogWriter

PIPE = 4096
"""Bytes that the pipe of a test holds."""

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


class Pipe:
    """A pipe that is read only from `start_reading` on."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)
        self.stream = os.fdopen(self.writer, "w", closefd=False)
        self.read = b""
        self._thread: threading.Thread | None = None
        self._log_writers: list[LogWriter] = []

    def log_writer(self, **bounds: int) -> LogWriter:
        """A writer to this pipe, which has written everything before the pipe is closed."""
        writer = LogWriter(self.writer, report=report, **bounds)
        self._log_writers.append(writer)
        return writer

    def fill(self) -> None:
        """After this, a write blocks."""
        os.write(self.writer, b"-" * (PIPE - 1) + b"\n")

    def start_reading(self) -> None:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self.reader, 1 << 16):
            self.read += data

    def lines(self) -> list[str]:
        """Everything that was written, when nothing more is written."""
        self._log_writers.clear()
        os.close(self.writer)
        self.writer = -1
        if self._thread is None:
            self.start_reading()
        assert self._thread is not None
        self._thread.join()
        return [line for line in self.read.decode().splitlines() if not line.startswith("---")]

    def close(self) -> None:
        # A thread that still writes would write to the next file of the same number.
        if self._log_writers:
            os.set_blocking(self.reader, True)
            self.start_reading()
            assert all(writer.flush(10) for writer in self._log_writers)
            self.lines()
        for fileno in (self.reader, self.writer):
            if fileno >= 0:
                os.close(fileno)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def report(dropped: Dropped) -> bytes:
    return f"dropped {dict(dropped.lines)}: {dropped.reason}\n".encode()


def give(writer: LogWriter, level: int, count: int, *, size: int = 100) -> int:
    """Give so many lines of this level; returns how many were admitted."""
    admitted = 0
    for number in range(count):
        line = f"{logging.getLevelName(level)} {number} ".encode().ljust(size - 1, b".") + b"\n"
        if writer.admits(level, len(line)):
            writer.put([(level, line)])
            admitted += 1
    return admitted


def test_every_line_is_written_in_order(pipe: Pipe) -> None:
    pipe.start_reading()
    handler = LogHandler(pipe.stream)
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    for number in range(5000):
        logger.log(LEVELS[number % 4], "%d %s", number, "." * (number % 300))
    handler.flush()
    assert [int(line.split()[0]) for line in pipe.lines()] == list(range(5000))
    assert handler.writer.dropped == 0


def test_each_level_has_its_share_of_the_buffer_and_the_graver_ones_a_larger_one(
    pipe: Pipe,
) -> None:
    pipe.fill()
    writer = pipe.log_writer(limit=8000)
    assert [give(writer, level, 100) for level in LEVELS] == [40, 20, 10, 10]
    assert writer.dropped == 60 + 80 + 90 + 90
    assert writer.waiting == 8000


def test_lines_are_bounded_as_bytes_are(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.log_writer(lines=80)
    assert [give(writer, level, 100) for level in LEVELS] == [40, 20, 10, 10]


def test_once_it_has_drained_one_line_reports_what_was_dropped(pipe: Pipe) -> None:
    pipe.fill()
    writer = pipe.log_writer(limit=8000)
    assert give(writer, logging.INFO, 100) == 60
    assert give(writer, logging.ERROR, 30) == 20
    assert not writer.flush(0.05)
    pipe.start_reading()
    assert writer.flush(10)
    assert give(writer, logging.INFO, 1) == 1
    assert writer.flush(10)
    lines = pipe.lines()
    words = "dropped {'info': 40, 'error': 10}: standard output was not read"
    assert lines.index(words) == 80
    assert len(lines) == 82
    assert [line.split()[0] for line in lines[:80]] == ["INFO"] * 60 + ["ERROR"] * 20


def test_each_stall_is_reported_by_itself(pipe: Pipe) -> None:
    writer = pipe.log_writer(limit=800)
    reports = []
    for lost in (3, 5):
        os.set_blocking(pipe.reader, False)
        pipe.fill()
        admitted = give(writer, logging.INFO, 6 + lost)
        assert admitted == 6
        read = os.read(pipe.reader, PIPE)
        assert writer.flush(10)
        read += os.read(pipe.reader, PIPE)
        reports.append([line for line in read.decode().splitlines() if "dropped" in line])
    assert reports == [
        ["dropped {'info': 3}: standard output was not read"],
        ["dropped {'info': 5}: standard output was not read"],
    ]


def test_a_line_that_is_larger_than_the_buffer_is_written_when_it_is_alone(pipe: Pipe) -> None:
    pipe.start_reading()
    writer = pipe.log_writer(limit=1000)
    assert give(writer, logging.ERROR, 1, size=100_000) == 1
    assert writer.flush(10)
    (line,) = pipe.lines()
    assert len(line) == 99_999


def test_a_pipe_that_another_process_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    writer = pipe.log_writer()
    assert give(writer, logging.INFO, 500) == 500
    pipe.start_reading()
    assert writer.flush(10)
    assert len(pipe.lines()) == 500


def test_lines_for_a_reader_that_has_gone_are_counted_and_reported_to_the_next_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fileno = os.open(path, os.O_WRONLY)
    writer = LogWriter(fileno, report=report)
    os.close(reader)
    assert give(writer, logging.INFO, 7) == 7
    assert writer.flush(10)
    assert writer.dropped == 7
    assert writer.waiting == 0
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    give(writer, logging.ERROR, 1)
    assert writer.flush(10)
    written = os.read(reader, PIPE).decode().splitlines()
    assert [line.split()[0] for line in written] == ["ERROR", "dropped"]
    assert written[1] == "dropped {'info': 7}: Broken pipe"
    os.close(fileno)
    os.close(reader)


def test_on_a_full_disk_lines_wait_in_the_buffer_and_flush_is_bounded() -> None:
    fileno = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(fileno, report=report, limit=8000)
    assert give(writer, logging.INFO, 100) == 60
    assert not writer.flush(0.1)
    assert writer.dropped == 40
    assert writer.waiting == 6000


def test_an_error_is_written_though_logging_goes_on_while_it_is_formatted(pipe: Pipe) -> None:
    pipe.start_reading()
    handler = LogHandler(pipe.stream)
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)

    class Logs:
        """As a finalizer may that runs in the middle of it."""

        def __str__(self) -> str:
            logger.warning("inner")
            return "outer"

    logger.error("%s", Logs())
    handler.flush()
    assert pipe.lines() == ["inner", "outer"]


# ------------------------------------------------------------------ the end of a process

PROGRAM = """
import asyncio, logging, sys, threading
sys.path.insert(0, sys.argv[1])
from app.logs import configure, log_the_rest
configure(level="info", json=True)
log_the_rest()
logger = logging.getLogger("takedown")
async def main():
    for number in range(int(sys.argv[3])):
        logger.info("line %d", number)
    {end}
if sys.argv[2] == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
else:
    factory = asyncio.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""

ENDS = {
    "by itself": ("logger.error('last')", 0),
    "by sys.exit": ("logger.error('last'); sys.exit(3)", 3),
    "by an error": ("logger.error('last'); raise KeyError('no')", 1),
    "by an error in a thread": (
        "threading.Thread(target=lambda: logger.error('last') or 1 / 0).start()",
        0,
    ),
}


def program(how: str, loop: str, lines: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{end}", ENDS[how][0]), str(ROOT), loop, str(lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ENDS)
def test_however_a_process_ends_its_last_lines_come_out(how: str, loop: str) -> None:
    with program(how, loop, 1000) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == ENDS[how][1]
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert events[:1001] == [*(f"line {number}" for number in range(1000)), "last"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ENDS)
def test_however_a_process_ends_it_does_so_though_its_output_is_not_read(
    how: str, loop: str
) -> None:
    with program(how, loop, 5000) as process:
        try:
            assert process.wait(timeout=20) == ENDS[how][1]
        finally:
            process.kill()
