"""Structured logs on standard output: JSON for machines, colours for people.

Modules log with the standard library and put facts into `extra`; how a line looks is decided
here alone.

A JSON line is made in one step, and the lines of one turn of the event loop are written together:
with a chain of processors and a write for each line, a log line was the dearest part of a request
(docs/performance.md).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime
from itertools import islice
from json import dumps
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import stamina

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        return _dumps(line)


class LinesOfATurn(logging.StreamHandler[TextIO]):
    """Writes what is logged in one turn of the event loop in one go, at that turn's end.

    A warning, or anything worse, is written at once, with all that came before it; so is what is
    logged while no loop runs. What is left when the program ends is written by `flush`, which the
    standard library sees to.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._due_on: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's line for the end of the turn."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno < logging.WARNING and self._will_be_written():
                return
            self.flush()
        except Exception:  # noqa: BLE001 - as every handler does: logging must not fail its caller
            self.handleError(record)

    def _will_be_written(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._due_on is not loop:  # the one it was due on may have ended before it came to it
            self._due_on = loop
            loop.call_soon(self._turn_ends)
        return True

    def _turn_ends(self) -> None:
        self._due_on = None
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - see emit
            lost = {"msg": "Log lines are lost: %r", "args": (error,)}
            self.handleError(logging.makeLogRecord(lost))

    def flush(self) -> None:
        """Write every line that is kept."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("".join(lines))
            super().flush()
        finally:
            self.release()


def configure(*, level: str, json: bool) -> None:
    """Send every log line of the process to standard output.

    Args:
        level: the least level, by its lower-case name.
        json: one JSON object for each line; else text for a terminal.
    """
    handler: logging.StreamHandler[TextIO]
    if json:
        handler = LinesOfATurn(sys.stdout)
        handler.setFormatter(JsonFormatter())
    else:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_for_people())
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
    # What aiokafka meets reaches us as an exception, as silence, or in words that `bus.quirks`
    # listens to, and is logged once by us; it says the same ten times a second while a broker is
    # away.
    library = logging.getLogger("aiokafka")
    library.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    library.propagate = level == "debug"
    library.addHandler(logging.NullHandler())  # else Python's last resort would print it


def _for_people() -> logging.Formatter:
    import structlog  # noqa: PLC0415 - with what it draws with it takes a tenth of the start

    facts: Sequence[Any] = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(facts),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()),
        ],
    )
