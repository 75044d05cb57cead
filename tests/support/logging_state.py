"""Restores what a test changes of logging, and records what is written."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import stamina

LOGGERS = [None, "takedown", "aiokafka", "pykka", "asyncio"]


@contextmanager
def logging_restored() -> Iterator[None]:
    """Afterwards, levels, handlers, hooks and switches are as before."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, list(each.handlers), each.propagate) for each in loggers]
    hooks = stamina.instrumentation.get_on_retry_hooks()
    switches = ("logThreads", "logProcesses", "logMultiprocessing", "_srcfile")
    were = {name: getattr(logging, name) for name in switches}
    try:
        yield
    finally:
        for name, was in were.items():
            setattr(logging, name, was)
        stamina.instrumentation.set_on_retry_hooks(hooks)
        for each, (level, handlers, propagate) in zip(loggers, before, strict=True):
            each.setLevel(level)
            each.handlers[:] = handlers
            each.propagate = propagate


class Stream(io.StringIO):
    """Records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.fails = False

    def write(self, text: str) -> int:
        if self.fails:
            raise OSError("no space left")
        self.writes.append(text)
        return len(text)
