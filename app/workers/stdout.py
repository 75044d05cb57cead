"""Log lines on a standard output that several processes share.

They all write to it directly: a process in between, or a lock, would let one process that stands
still stop all others. A pipe takes up to PIPE_BUF bytes in one piece or not at all, so no write is
larger, and none ends within a line. A line that is longer (a long stack trace) loses the middle of
its longest facts.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import select
import stat
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from domain.printable import escaped_json
from operations.log_output.handler import handlers
from operations.log_output.writer import LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT = select.PIPE_BUF
_LEFT_OUT = " [... {} characters left out ...] "


def pieces(lines: bytes, limit: int) -> Iterator[bytes]:
    """Lines in pieces of at most `limit` bytes, none of which ends within a line."""
    if len(lines) <= limit:
        yield lines
        return
    piece = b""
    for line in io.BytesIO(lines):  # ends at line feeds only
        fit = line if len(line) <= limit else fitting(line, limit)
        if len(piece) + len(fit) > limit:
            yield piece
            piece = b""
        piece += fit
    yield piece


def fitting(line: bytes, limit: int) -> bytes:
    """A line with less in it, so that it has at most `limit` bytes; JSON remains JSON."""
    try:
        facts = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        half = limit // 2 - 32
        return line[:half] + _LEFT_OUT.format(len(line) - 2 * half).encode() + line[-half:]
    for length in (1024, 512, 256, 128, 64, 32, 16):
        shorter = _encoded({name: _shorten(fact, length) for name, fact in facts.items()})
        if len(shorter) < limit:
            return shorter + b"\n"
    # Hundreds of facts: what happened must do.
    always = ("event", "level", "logger", "worker", "timestamp")
    kept = {name: _shorten(facts[name], 128) for name in always if name in facts}
    return _encoded(kept | {"leftOut": len(facts) - len(kept)}) + b"\n"


def _encoded(facts: dict[str, Any]) -> bytes:
    return escaped_json(msgspec.json.encode(facts).decode()).encode()


def _shorten(fact: Any, length: int) -> Any:
    """The end of a trace tells more than its beginning, so that more of it is left."""
    if not isinstance(fact, str):
        text = msgspec.json.encode(fact).decode()
        return fact if len(text) <= length else _shorten(text, length)
    if len(fact) <= length:
        return fact
    head = length // 4
    tail = length - head
    return fact[:head] + _LEFT_OUT.format(len(fact) - length) + fact[-tail:]


def share_output(worker: int | None) -> None:
    """Have the process's log lines written so that other processes' cannot get into them.

    Args:
        worker: stands in each line; None for none.
    """
    mode = os.fstat(sys.stdout.fileno()).st_mode
    for handler in handlers():
        # The kernel writes to a file or a terminal in one piece, however long.
        if isinstance(handler.writer, LogWriter) and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            handler.writer.split = functools.partial(pieces, limit=_LIMIT)
        if worker is not None:
            handler.addFilter(_Worker(worker))


class _Worker(logging.Filter):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._number
        return True
