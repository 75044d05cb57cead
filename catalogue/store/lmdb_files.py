"""The entries in LMDB: one folder, one file, one writer.

Everything here blocks and belongs on a thread of its own, except `get`: that is a read in the
memory map, which waits for nothing but the disk where a page is not in memory. What the file holds
is in `lmdb_format`.

What the engine's switches mean here:

- `metasync=False`: a commit flushes its pages before it writes the page that makes them count, and
  leaves the flush of that one page to the next commit. If the machine dies, the last transaction
  may be undone, and never half of one is there. Since the positions are in it, what is undone is
  read again from the topic.
- no `writemap`: what is written goes through the file system, so that a full disk is an error and
  not a signal that ends the process, and no stray pointer can write into the map.
- `readahead=False`: searches are at random.
- the map begins small and doubles when it is full: a map is address space only, but a limit on
  that (`ulimit -v`, some sandboxes) would refuse a huge one.

Paths are given to LMDB as bytes: as text it accepts only what the locale can write.

A new file is made under another name, and gets its own once it is a complete, empty store. So a
process that is killed while it makes one leaves no store, and never a part that appears damaged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import lmdb

from catalogue.store.data_folder import clear, data_of, new_of, sweep
from catalogue.store.entries import DamagedEntry, is_doubt, is_tombstone
from catalogue.store.lmdb_format import (
    DAMAGE,
    ENTRIES,
    KEPT,
    META,
    check_header,
    encode_kept,
    read_kept,
)
from catalogue.store.store import (
    Batch,
    Kept,
    StoreDamaged,
    StoreStatistics,
    StoreUnavailable,
    Sums,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FIRST_MAP = 1 << 28
"""Bytes of the first map."""

_ENGINE = 0
"""LMDB 0.9: its files are what all tools read."""

_CHUNK = 500
"""Keys in one call: LMDB's calls keep the interpreter's lock while they search."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class LmdbFiles:
    """An open store. Every method may be called from any thread.

    Args:
        path: its folder.
        first_map: bytes of the first map; it doubles when it is full.
    """

    def __init__(self, path: Path, *, first_map: int = FIRST_MAP) -> None:
        self._path = path
        self._map_size = first_map
        self._swap = threading.Lock()
        self._env: lmdb.Environment | None = None
        self._entries: Any = None
        self._meta: Any = None
        self._kept: Kept | None = None
        self._commits = 0
        self._bytes = 0

    # ----------------------------------------------------------------------- opening

    def open(self) -> Kept | None:
        """Open what is there, or make it; returns what was kept.

        Raises:
            StoreDamaged: what is there cannot be used.
            StoreUnavailable: nothing can be made here now.
        """
        try:
            check_header(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreUnavailable(self._explained(error)) from error
        try:
            with self._swap:
                self._open_locked()
        except DAMAGE as error:
            raise StoreDamaged(f"{data_of(self._path)}: {error}") from error
        except (lmdb.Error, OSError) as error:
            raise StoreUnavailable(self._explained(error)) from error
        return self._kept

    def _open_locked(self) -> None:
        if not data_of(self._path).exists():
            self._make()
        # The lock file of a process that was killed: LMDB makes it anew by itself.
        env = lmdb.open(
            os.fsencode(self._path),
            map_size=self._map_size,
            max_dbs=2,
            metasync=False,
            readahead=False,
            mode=0o600,
            create=False,
            lib_version=_ENGINE,
        )
        try:
            self._map_size = max(self._map_size, env.info()["map_size"])
            self._entries = env.open_db(ENTRIES, create=False)
            self._meta = env.open_db(META, create=False)
            with env.begin(db=self._meta) as txn:
                kept = read_kept(txn.get(KEPT))
                entries = txn.stat(self._entries)["entries"]
            if entries != Sums.of(kept).entries:
                raise DamagedEntry(f"there are {entries} entries, which is not what was stored")
        except BaseException:
            env.close()
            raise
        self._env = env
        self._kept = kept
        self._bytes = data_of(self._path).stat().st_size

    def _make(self) -> None:
        """Make an empty store: it is there completely, or not at all."""
        new = new_of(self._path)
        new.unlink(missing_ok=True)
        with (
            lmdb.open(
                os.fsencode(new),
                map_size=self._map_size,
                max_dbs=2,
                subdir=False,
                lock=False,  # no other process knows this name
                mode=0o600,
                lib_version=_ENGINE,
            ) as env,
            env.begin(write=True) as txn,
        ):
            for name in (ENTRIES, META):
                env.open_db(name, txn)
        new.replace(data_of(self._path))

    def close(self) -> None:
        """Flush and close."""
        with self._swap:
            if self._env is not None:
                try:
                    self._env.sync(True)
                finally:
                    self._close_locked()

    def _close_locked(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    # ----------------------------------------------------------------------- reading

    @property
    def kept(self) -> Kept | None:
        """What the last transaction wrote."""
        return self._kept

    def get(self, key: bytes) -> bytes | None:
        """The value of a key.

        Raises:
            StoreDamaged: the file is damaged where it was looked for.
            StoreUnavailable: it cannot be opened now.
        """
        with self._swap:
            if self._env is None:
                if self._kept is None:
                    return None
                raise StoreUnavailable(f"{data_of(self._path)} is closed")
            try:
                with self._env.begin(db=self._entries) as txn:
                    return txn.get(key)
            except lmdb.Error as error:
                raise StoreDamaged(f"{data_of(self._path)}: {error}") from error

    def tombstones(self) -> list[bytes]:
        """The keys of all tombstones.

        Raises:
            StoreDamaged: the file is damaged.
        """
        if self._kept is None or not self._kept.tombstones:
            return []
        return [key for key, _ in self._all(is_tombstone)]

    def doubts(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every doubt.

        Raises:
            StoreDamaged: the file is damaged.
        """
        if self._kept is None or not self._kept.doubts:
            return []
        return self._all(is_doubt)

    def _all(self, wanted: Callable[[bytes], bool]) -> list[tuple[bytes, bytes]]:
        env = self._env
        if env is None:
            return []
        try:
            with env.begin(db=self._entries) as txn, txn.cursor() as cursor:
                return [(key, value) for key, value in cursor if wanted(value)]
        except lmdb.Error as error:
            raise StoreDamaged(f"{data_of(self._path)}: {error}") from error

    def statistics(self) -> StoreStatistics:
        """What it keeps."""
        kept = self._kept
        return StoreStatistics(
            kept.items if kept else 0, kept.containers if kept else 0, self._bytes, self._commits
        )

    # ----------------------------------------------------------------------- writing

    def commit(self, batch: Batch, topic: str) -> None:
        """Write a batch in one transaction.

        Raises:
            StoreDamaged: what is there is not what was written.
            StoreUnavailable: it cannot be written now; what is there is as before.
        """
        try:
            if batch.fresh:
                self._start_over()
            elif self._env is None:
                self._open_again()
            while True:
                try:
                    self._write(batch, topic)
                    break
                except lmdb.MapFullError:
                    self._grow()
        except DAMAGE as error:
            raise StoreDamaged(f"{data_of(self._path)}: {error}") from error
        except (lmdb.Error, OSError) as error:
            reason = self._explained(error)
            # After some failures LMDB accepts no more transactions until it is opened again.
            with self._swap:
                self._close_locked()
            with contextlib.suppress(StoreUnavailable):  # the next commit tries, too
                self._open_again()
            raise StoreUnavailable(reason) from error
        self._commits += 1

    def _write(self, batch: Batch, topic: str) -> None:
        env = self._env
        if env is None:
            raise OSError(errno.EIO, "the store is closed")
        sums = Sums.of(self._kept)
        with env.begin(write=True, db=self._entries) as txn:
            _put_all(txn, batch.entries, sums)
            kept = sums.kept_with(batch, topic)
            txn.put(KEPT, encode_kept(kept), db=self._meta)
        self._kept = kept
        self._bytes = data_of(self._path).stat().st_size

    def _grow(self) -> None:
        with self._swap:
            assert self._env is not None
            self._env.set_mapsize(2 * self._map_size)
            self._map_size *= 2

    def _start_over(self) -> None:
        """Put what is there aside and begin with nothing."""
        with self._swap:
            self._close_locked()
            self._kept = None
            sweep(self._path)
            clear(self._path)
            self._open_locked()
        sweep(self._path)

    def _open_again(self) -> None:
        before = self._kept
        self.open()
        if self._kept != before:
            raise StoreDamaged(f"{data_of(self._path)} is not the file that we wrote")

    def _explained(self, error: Exception) -> str:
        code = getattr(error, "code", 0) or getattr(error, "errno", 0)
        text = f"{self._path} cannot be written to: {error}"
        if code in _NO_SPACE:
            try:
                free = shutil.disk_usage(self._path).free
            except OSError:
                return text
            text += f" ({free >> 20} MiB of the disk are free)"
        return text


def _put_all(txn: Any, entries: Mapping[bytes, bytes | None], sums: Sums) -> None:
    """Write them, and keep the sums right."""
    ordered = sorted(entries.items())  # neighbours share pages
    with txn.cursor() as cursor:
        for at in range(0, len(ordered), _CHUNK):
            chunk = ordered[at : at + _CHUNK]
            for _, old in cursor.getmulti([key for key, _ in chunk]):
                sums.add(old, -1)
            new = [(key, value) for key, value in chunk if value is not None]
            cursor.putmulti(new)
            for _, value in new:
                sums.add(value)
            for key, gone in chunk:
                if gone is None:
                    txn.delete(key)
