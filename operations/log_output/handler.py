"""Formats log lines, and gives them to the thread that writes them: see `log_writer`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TextIO

from operations.log_output.writer import FLUSH_WITHIN, writer_to

if TYPE_CHECKING:
    from operations.log_output.writer import Dropped, Lines


class LogHandler(logging.Handler):
    """Gives its writer, in one piece, what is logged in one iteration of the event loop.

    A warning, or anything worse, is given at once, with all that came before it; so is what is
    logged while no loop runs.

    Args:
        stream: where the lines go in the end.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.writer = writer_to(stream, report=self._report_of)
        self._lines: Lines = []
        self._due_on: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Store the record's line for the end of the iteration."""
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001 - logging must not fail its caller
            line = self._line(_unformatted(record, error))
        level = record.levelno
        if self.writer.admits(level, len(line)):
            self._lines.append((level, line))
        if level < logging.WARNING and self._will_be_put():
            return
        self._put()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _will_be_put(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._due_on is not loop:  # the last one may have ended before it came to it
            self._due_on = loop
            loop.call_soon(self._iteration_ends)
        return True

    def _iteration_ends(self) -> None:
        self._due_on = None
        self._put()

    def _put(self) -> None:
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self.writer.put(lines)
        finally:
            self.release()

    def flush(self) -> None:
        """Write every line; waits for the output for `FLUSH_WITHIN` seconds at most."""
        self._put()
        self.writer.flush(FLUSH_WITHIN)

    def echo(self, text: str) -> None:
        """Write a text for people, in order with the log lines."""
        line = (text + "\n").encode("utf-8", "backslashreplace")
        self.acquire()
        try:
            if self.writer.admits(logging.ERROR, len(line)):
                self._lines.append((logging.ERROR, line))
            self._put()
        finally:
            self.release()

    def _report_of(self, dropped: Dropped) -> bytes:
        total = sum(dropped.lines.values())
        parts = ", ".join(f"{count} {level}" for level, count in dropped.lines.items())
        record = logging.makeLogRecord(
            {
                "name": "takedown.logs",
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "%d log %s dropped: %s (%s)",
                "args": (total, "line was" if total == 1 else "lines were", dropped.reason, parts),
            }
        )
        self.filter(record)
        return self._line(record)


def _unformatted(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    """In place of a record that cannot be formatted: a traceback on stderr might block."""
    message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return logging.makeLogRecord(
        {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": "A log line could not be formatted: %s: %r",
            "args": (type(error).__name__, message[:200]),
        }
    )


def handlers() -> list[LogHandler]:
    """The handlers of this process's log lines; none in most tests."""
    return [each for each in logging.getLogger().handlers if isinstance(each, LogHandler)]


def lines_dropped() -> int:
    """Log lines that this process has dropped so far."""
    return sum(each.writer.dropped for each in handlers())
