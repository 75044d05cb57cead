"""The catalogue's folder: one service at a time has it, and it says whether that one ended well.

Only our user may be able to write to it. Any other user who can write to a folder can replace its
files: LMDB trusts what it reads, so a foreign data file would decide which items exist, a file that
is truncated while it is mapped ends the process, and a link in place of a file makes us write to
its target. So a folder is refused, and so is a file in it, if the group or others can write to it
or if it belongs to another user. Root is no exception: it has the most to lose. What belongs to
root is accepted, since root can write anywhere. Only the folder itself is checked: its parents are
the operator's responsibility.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = "service.lock"
_DATA = "data.mdb"
_LMDB_LOCK = "lock.mdb"
_OLD = ".old"
_NEW = ".new"
_ENDS = ("", _OLD, _NEW)

PATIENCE = 0.5
"""Seconds: whoever only looks has a folder for a moment, and so has a process that ends."""

_POLL = 0.02


class FolderInUse(Exception):
    """Another process has the folder; the message names it."""


class UnsafeFolder(Exception):
    """Others can write to the folder, or to a file in it; the message says how to change that."""


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
            UnsafeFolder: others can write to it.
            OSError: it cannot be made, or not be written to.
        """
        _make(path)
        refuse_unsafe(path)
        descriptor = _open_lock(path, os.O_RDWR | os.O_CREAT)
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
        descriptor = _open_lock(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def refuse_unsafe(path: Path) -> None:
    """Check that only we can write to this folder and to the store's files in it.

    Raises:
        UnsafeFolder: another user can, or one of the files is a link or no regular file.
        FileNotFoundError: there is no such folder.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _refuse_others(path, os.fstat(folder))
        for name in (_LOCK, *(each + end for each in (_DATA, _LMDB_LOCK) for end in _ENDS)):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a file"
                    raise UnsafeFolder(f"{path / name} is {kind}: remove it")
                _refuse_others(path / name, found)
    finally:
        os.close(folder)


def _refuse_others(path: Path, found: os.stat_result) -> None:
    user = os.geteuid()
    if found.st_uid not in {user, 0}:
        raise UnsafeFolder(
            f"{path} belongs to user {found.st_uid}, and this process runs as user {user}: "
            "run it as that user, or name a folder of its own"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeFolder(
            f"others can write to {path} (mode {stat.S_IMODE(found.st_mode):04o}): "
            f"name a folder of its own, or run chmod go-w {path}"
        )


def _make(path: Path) -> None:
    """Make the folder, and those on the way to it that are missing, for us alone."""
    for each in reversed((path, *path.parents)):
        if not each.exists():
            each.mkdir(exist_ok=True, mode=0o700)


def _open_lock(path: Path, how: int) -> int:
    try:
        return os.open(path / _LOCK, how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFolder(f"{path / _LOCK} is a symbolic link: remove it") from None
        raise


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
