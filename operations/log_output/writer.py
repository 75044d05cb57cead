"""Writes log lines in a thread of its own: no output can stop the event loop.

Standard output may be a pipe that is not read (a stalled log collector), a terminal that is
stopped with Ctrl-S, or a file on a disk that does not answer. A write to it then blocks, for as
long as that lasts. So `log_handler.LogHandler` only formats a line and puts it into a buffer;
`LogWriter` writes what is in the buffer.

The buffer is bounded, in bytes and in lines. Each level may fill a share of it: debug lines half,
info lines three quarters, warnings seven eighths, errors all. So the less important lines are
dropped first, and the order of the lines never changes. Dropped lines are counted, and one line
reports them once the buffer has drained.

No lock is shared between the threads: a finalizer that the garbage collector runs may log while
this thread or that one is inside `put`. `SimpleQueue` allows it, and each counter is written by
one side only: by the handler under its own lock, or by the thread.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import threading
from collections import Counter
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LIMIT = 4 << 20
"""Bytes that may wait to be written."""

LINES = 20_000
"""Lines that may wait to be written: short lines cost more than their bytes."""

FLUSH_WITHIN = 1.0
"""Seconds for which the end of the process waits for an output that accepts nothing."""

_AT_ONCE = 1 << 16
"""Bytes that are written together when more than one batch waits."""

_PAUSE = 0.02
"""Seconds between two writes: to wake the thread for each line cost more than the line."""

_RETRY_FIRST = 0.05
_RETRY_LONGEST = 1.0
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that pass: the lines stay in the buffer. After any other, they are dropped."""

_NOT_READ = "standard output was not read"

Lines: TypeAlias = "list[tuple[int, bytes]]"
"""Lines with their line feeds, and the level of each."""


class Dropped(NamedTuple):
    """Lines that were dropped, by the lower-case name of their level, and why."""

    lines: Mapping[str, int]
    reason: str


class Writer(Protocol):
    """Where a `LogHandler` puts its lines."""

    def admits(self, level: int, size: int) -> bool:
        """Whether the buffer has room for a line of this level and size; if not, it is counted."""

    def put(self, lines: Lines) -> None:
        """Write these lines soon. Never blocks, never raises."""

    def flush(self, within: float) -> bool:
        """Wait at most so many seconds until all is written; whether it was."""

    @property
    def dropped(self) -> int:
        """Lines that were dropped so far."""


class LogWriter:
    """Writes lines to a file descriptor, from a thread that starts with the first line.

    Args:
        fileno: where to. It is used as it is: `O_NONBLOCK` would change it for other processes.
        report: makes the line that reports dropped ones.
        limit: bytes that may wait.
        lines: lines that may wait.

    Attributes:
        split: cuts what is to be written into pieces that are written in one call each.
    """

    def __init__(
        self,
        fileno: int,
        *,
        report: Callable[[Dropped], bytes],
        limit: int = LIMIT,
        lines: int = LINES,
    ) -> None:
        self.split: Callable[[bytes], Iterable[bytes]] = _whole
        self._fileno = fileno
        self._report = report
        self._shares = [
            (level, limit * part // 8, lines * part // 8)
            for level, part in ((logging.ERROR, 8), (logging.WARNING, 7), (logging.INFO, 6), (0, 4))
        ]
        self._queue: SimpleQueue[Lines | threading.Event] = SimpleQueue()
        self._hurry: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Written by the handler only:
        self._bytes_in = 0
        self._lines_in = 0
        self._refused: Counter[int] = Counter()
        # Written by the thread only:
        self._bytes_out = 0
        self._lines_out = 0
        self._lost: Counter[int] = Counter()
        self._reported: Counter[int] = Counter()
        self._reason = _NOT_READ

    # ------------------------------------------------------------------- the handler's side

    def admits(self, level: int, size: int) -> bool:
        """Whether the buffer has room for a line of this level and size; if not, it is counted."""
        waiting = self._bytes_in - self._bytes_out
        lines = self._lines_in - self._lines_out
        if lines:  # a line that is larger than the whole buffer may still be the only one in it
            for least, most_bytes, most_lines in self._shares:
                if level >= least:
                    if waiting + size > most_bytes or lines >= most_lines:
                        self._refused[level] += 1
                        return False
                    break
        self._bytes_in += size
        self._lines_in += 1
        return True

    def put(self, lines: Lines) -> None:
        """Write these lines soon; `admits` was asked for each."""
        self._queue.put(lines)
        if lines[-1][0] >= logging.WARNING:
            self._hurry.put(None)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def flush(self, within: float) -> bool:
        """Wait at most so many seconds until all is written; whether it was."""
        if self._thread is None:
            return True
        written = threading.Event()
        self._queue.put(written)
        self._hurry.put(None)
        return written.wait(within)

    @property
    def dropped(self) -> int:
        """Lines that were dropped so far."""
        return self._refused.total() + self._lost.total()

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes_in - self._bytes_out

    # -------------------------------------------------------------------- the thread's side

    def _run(self) -> None:
        # They are the main thread's, which may have blocked them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            lines: Lines = []
            size = 0
            flushed: threading.Event | None = None
            entry = self._queue.get()
            while True:
                if isinstance(entry, threading.Event):
                    flushed = entry
                    break
                lines += entry
                size += sum(len(line) for _, line in entry)
                if size >= _AT_ONCE:
                    break
                try:
                    entry = self._queue.get_nowait()
                except Empty:
                    break
            written = not lines or self._write(lines)
            self._bytes_out += size
            self._lines_out += len(lines)
            if written and self._lines_in == self._lines_out:
                self._report_dropped()
            if flushed is not None:
                flushed.set()
            with suppress(Empty):
                self._hurry.get(timeout=_PAUSE)

    def _write(self, lines: Lines) -> bool:
        """Write them; False, and counted, if they cannot be written."""
        try:
            for piece in self.split(b"".join([line for _, line in lines])):
                self._write_piece(piece)
        except OSError as error:
            self._reason = error.strerror or str(error)
            self._lost.update(level for level, _ in lines)
            return False
        return True

    def _write_piece(self, piece: bytes) -> None:
        rest = memoryview(piece)
        wait = _RETRY_FIRST
        while rest:
            try:
                rest = rest[os.write(self._fileno, rest) :]
                wait = _RETRY_FIRST
            except BlockingIOError:  # another process has made the pipe non-blocking
                poll = select.poll()
                poll.register(self._fileno, select.POLLOUT)
                poll.poll()
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                self._reason = error.strerror or str(error)
                threading.Event().wait(wait)
                wait = min(2 * wait, _RETRY_LONGEST)

    def _report_dropped(self) -> None:
        """Report what was dropped since the last report, now that nothing waits."""
        total = Counter(self._refused)
        total.update(self._lost)
        news = total - self._reported
        if not news:
            return
        names = {logging.getLevelName(level).lower(): news[level] for level in sorted(news)}
        try:
            for piece in self.split(self._report(Dropped(names, self._reason))):
                self._write_piece(piece)
        except OSError:
            return  # the next report includes it
        self._reported = total
        self._reason = _NOT_READ


class MemoryWriter:
    """Writes at once, to a stream that has no file descriptor and thus never blocks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.dropped = 0

    def admits(self, _level: int, _size: int) -> bool:
        """There is always room."""
        return True

    def put(self, lines: Lines) -> None:
        """Write these lines now."""
        try:
            self._stream.write(b"".join([line for _, line in lines]).decode())
            self._stream.flush()
        except (OSError, ValueError):  # full, or closed
            self.dropped += len(lines)

    def flush(self, _within: float) -> bool:
        """All is written."""
        return True


def _whole(data: bytes) -> Iterable[bytes]:
    return (data,)


def writer_to(stream: TextIO | None, *, report: Callable[[Dropped], bytes]) -> Writer:
    """What writes to this stream; without a descriptor (in tests) it is written to directly."""
    try:
        assert stream is not None
        return LogWriter(stream.fileno(), report=report)
    except (OSError, AttributeError):
        assert stream is not None
        return MemoryWriter(stream)


def write_in_time(fileno: int, text: str, *, within: float = FLUSH_WITHIN) -> None:
    """Write the last words of a process, unless the output accepts none within so many seconds."""
    writer = LogWriter(fileno, report=lambda _: b"")
    line = text.encode("utf-8", "backslashreplace")
    if writer.admits(logging.ERROR, len(line)):
        writer.put([(logging.ERROR, line)])
    writer.flush(within)
