"""Structured logs on standard output: JSON for machines, colours for people.

Modules log with the standard library and put facts into `extra`; how a line looks is decided
here alone.
"""

from __future__ import annotations

import logging
import sys
from json import dumps
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

_encoder = msgspec.json.Encoder(enc_hook=repr)


def _dumps(event: Any, **_options: Any) -> str:
    try:
        return _encoder.encode(event).decode()
    except Exception:  # noqa: BLE001 - whatever a fact is made of, it must not cost the line
        return dumps({str(name): _plain(fact) for name, fact in event.items()})


def _plain(fact: Any) -> str | int | None:
    if fact is None or isinstance(fact, str | int):
        return fact
    try:
        return repr(fact)
    except Exception:  # noqa: BLE001 - it cannot even be shown
        return f"<{type(fact).__name__}>"


def configure(*, level: str, json: bool) -> None:
    """Send every log line of the process to standard output.

    Args:
        level: the least level, by its lower-case name.
        json: one JSON object for each line; else text for a terminal.
    """
    shared: Sequence[Any] = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    final: Sequence[Any] = (
        (
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        )
        if json
        else (structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()),)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(shared),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # The level is for our own lines; of the libraries only what may matter to an operator.
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("takedown").setLevel(level.upper())
    # What aiokafka meets reaches us as an exception, as silence, or in words that `bus.quirks`
    # listens to, and is logged once by us; it says the same ten times a second while a broker is
    # away.
    library = logging.getLogger("aiokafka")
    library.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    library.propagate = level == "debug"
    library.addHandler(logging.NullHandler())  # else Python's last resort would print it
