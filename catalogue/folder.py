"""The catalogue's folder: one service at a time has it, and it says whether that one ended well."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = "service.lock"
_DATA = "data.mdb"
_LMDB_LOCK = "lock.mdb"
_OLD = ".old"
_NEW = ".new"

PATIENCE = 0.5
"""Seconds: whoever only looks has a folder for a moment, and so has a process that ends."""

_POLL = 0.02


class FolderInUse(Exception):
    """Another process has the folder; the message names it."""


class Folder:
    """Holds a folder for as long as the process lives, whatever ends it.

    Attributes:
        path: where it is.
        ended_well: whether whoever had it last gave it back.
    """

    def __init__(self, path: Path, descriptor: int, *, ended_well: bool) -> None:
        self.path = path
        self.ended_well = ended_well
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, patience: float = PATIENCE) -> Self:
        """Take it; makes it if it is missing. Waits `patience` seconds for whoever has it.

        Raises:
            FolderInUse: another process has it.
            OSError: it cannot be made, or not be written to.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        tries = 1 + round(patience / _POLL)
        try:
            # The kernel gives it back when the process ends, however it ends.
            while not _lock(descriptor, fcntl.LOCK_EX):
                tries -= 1
                if not tries:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                    named = f" ({holder})" if holder else ""
                    raise FolderInUse(f"{path} is in use by another process{named}")
                time.sleep(_POLL)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, ended_well=not os.pread(descriptor, 1, 0))

    def begin(self) -> None:
        """Write down that it is in use: whoever comes after a crash finds this."""
        # A full disk must not keep a service from starting; the next one then checks less early.
        with contextlib.suppress(OSError):
            # It is never empty on the way: who was killed before us must not be forgotten.
            holder = f"pid {os.getpid()}\n".encode()
            os.pwrite(self._descriptor, holder, 0)
            os.ftruncate(self._descriptor, len(holder))

    def give_back(self, *, well: bool) -> None:
        """Let others have it; `well` if everything in it is in order."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        if well:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
        os.close(descriptor)


def is_in_use(path: Path) -> bool:
    """Whether a process has the folder now."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def data_of(path: Path) -> Path:
    """The data file in a catalogue's folder."""
    return path / _DATA


def new_of(path: Path) -> Path:
    """Where a data file is made, before it takes its name."""
    return path / (_DATA + _NEW)


def clear(path: Path) -> None:
    """Put the files of the store aside, quickly; `sweep` removes them."""
    for name in (_DATA, _LMDB_LOCK):
        with contextlib.suppress(FileNotFoundError):
            (path / name).replace(path / (name + _OLD))


def sweep(path: Path) -> None:
    """Remove what `clear` put aside, and what somebody died over before it was made.

    To give a large file back takes its time.
    """
    for name in (_DATA, _LMDB_LOCK):
        (path / (name + _OLD)).unlink(missing_ok=True)
    new_of(path).unlink(missing_ok=True)
