"""Structured logs on standard output: JSON for machines, colours for people.

Modules log with the standard library and put facts into `extra`; how a line looks is decided
here alone.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

_encoder = msgspec.json.Encoder(enc_hook=repr)


def _dumps(event: Any, **_options: Any) -> str:
    return _encoder.encode(event).decode()


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
    # What aiokafka meets reaches us as an exception or as silence, and is logged once by us; it
    # says the same ten times a second while a broker is away.
    logging.getLogger("aiokafka").setLevel(logging.INFO if level == "debug" else logging.CRITICAL)
