"""Marks by which a reader recognises the log whose positions it carries."""

from __future__ import annotations

from msgspec import Struct


class LogMark(Struct, frozen=True, array_like=True):
    """What was last read of one partition, for a later comparison with the log.

    Attributes:
        epoch: the leader epoch of the last batch that was read; -1 if the broker gives none.
        tail: offset and digest of the last records read, in the order of their offsets.
    """

    epoch: int = -1
    tail: tuple[tuple[int, bytes], ...] = ()
