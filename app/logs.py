"""Structured logs on standard output: JSON for machines, colours for people.

Modules log with the standard library and put facts into `extra`; how a line looks is decided
here alone.

A JSON line is made in one step, and the lines of one turn of the event loop are written together:
with a chain of processors and a write for each line, a log line was the dearest part of a request
(docs/performance.md). `log_writer` writes them, in a thread of its own.
"""

from __future__ import annotations

import logging
import sys
import threading
from datetime import UTC, datetime
from itertools import islice
from json import dumps
from typing import Any

import msgspec
import stamina

from domain.printable import escaped, escaped_json, indented
from operations.log_output.handler import LogHandler, handlers

_encoder = msgspec.json.Encoder(enc_hook=repr)

# What the standard library itself puts into a record, the first of it before everything else;
# what remains are facts.
_FIRST = len(vars(logging.makeLogRecord({})))
_NO_FACTS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _dumps(event: dict[str, Any]) -> str:
    try:
        return _encoder.encode(event).decode()
    except Exception:  # noqa: BLE001 - whatever a fact is made of, it must not cost the line
        return dumps({str(name): _plain(fact) for name, fact in event.items()})


def _plain(fact: Any) -> str | int | None:
    if fact is None or isinstance(fact, str | int):
        return fact
    if isinstance(fact, datetime):
        return fact.isoformat()
    try:
        return repr(fact)
    except Exception:  # noqa: BLE001 - it cannot even be shown
        return f"<{type(fact).__name__}>"


class JsonFormatter(logging.Formatter):
    """One JSON object for each record: what happened, how bad it is, where, its facts, when."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        rest = islice(vars(record).items(), _FIRST, None)
        line |= {name: fact for name, fact in rest if name not in _NO_FACTS}
        line["timestamp"] = datetime.fromtimestamp(record.created, UTC)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return escaped_json(_dumps(line))


_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_COLOURS = {"debug": "\x1b[36m", "info": "\x1b[32m", "warning": "\x1b[33m"}
_RED = "\x1b[31m"
_WIDTH = 30
"""Columns that an event takes at least, so that what follows is aligned."""


class ConsoleFormatter(logging.Formatter):
    """One line for people: when, how bad it is, what happened, where, and the fields.

    What comes from outside is escaped, so that it can neither control the terminal nor forge a
    line. A traceback follows, indented, without local variables: these may be secrets.

    Args:
        colours: whether the line goes to a terminal.
    """

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and the lines of its traceback."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        level = record.levelname.lower()
        event = escaped(record.getMessage())
        parts = [
            self._in(_DIM, when),
            f"[{self._in(_COLOURS.get(level, _RED), f'{level:<8}')}]",
            self._in(_BOLD, f"{event:<{_WIDTH}}"),
            f"[{self._in(_DIM, escaped(record.name))}]",
        ]
        parts += [
            f"{self._in(_DIM, escaped(str(name)))}={_for_people(fact)}"
            for name, fact in islice(vars(record).items(), _FIRST, None)
            if name not in _NO_FACTS
        ]
        line = " ".join(parts)
        if record.exc_info:
            line += indented(self.formatException(record.exc_info))
        return line

    def _in(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text


def _for_people(fact: Any) -> str:
    if isinstance(fact, str) and fact.isprintable() and not set(fact) & set(" =\"'"):
        return fact
    try:
        return escaped(repr(fact))
    except Exception:  # noqa: BLE001 - it cannot be shown
        return f"<{type(fact).__name__}>"


def configure(*, level: str, json: bool) -> None:
    """Send every log line of the process to standard output.

    Args:
        level: the least level, by its lower-case name.
        json: one JSON object for each line; else text for a terminal.
    """
    handler = LogHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if json else ConsoleFormatter(colours=sys.stdout.isatty()))
    # No line shows them, and to find them out costs half of a record (Python's logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - documented there, and nothing public does it
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # The level is for our own lines; of the libraries only what may matter to an operator.
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("takedown").setLevel(level.upper())
    # Stamina would print each retry by itself, and not as JSON; whoever retries logs what matters.
    stamina.instrumentation.set_on_retry_hooks([])
    # What aiokafka meets reaches us as an exception, as silence, or in words that
    # `bus.kafka.aiokafka_fixes` listens to, and is logged once by us; it says the same ten times a
    # second while a broker is away.
    library = logging.getLogger("aiokafka")
    library.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    library.propagate = level == "debug"
    library.addHandler(logging.NullHandler())  # else Python's last resort would print it


def log_the_rest() -> None:
    """Log what Python itself would write to standard error, which may be a pipe that is not read.

    Warnings, errors in finalizers, and threads that end with an error: a traceback of each would
    block the thread that writes it, mostly the event loop's.
    """
    logging.captureWarnings(True)
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_failed


def _unraisable(unraisable: Any) -> None:
    error = unraisable.exc_value
    logging.getLogger("takedown").error(
        "Ignored an error that cannot be raised: %s",
        unraisable.err_msg or "in a finalizer",
        exc_info=(unraisable.exc_type, error, unraisable.exc_traceback) if error else None,
    )


def _thread_failed(failed: Any) -> None:
    if failed.exc_type is SystemExit or failed.exc_value is None:
        return
    logging.getLogger("takedown").error(
        "A thread ended with an error",
        exc_info=(failed.exc_type, failed.exc_value, failed.exc_traceback),
    )


def echo(text: str) -> None:
    """Write a text for people to standard output, in order with the log lines."""
    for handler in handlers():
        handler.echo(text)
