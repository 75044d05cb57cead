"""Reads one state of a store, also while another process writes to it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import lmdb

from catalogue.store.data_folder import data_of
from catalogue.store.entries import DamagedEntry
from catalogue.store.lmdb_format import ENTRIES, KEPT, META, check_header, read_kept
from catalogue.store.store import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalogue.store.store import Kept


class Entries:
    """The entries as one transaction sees them."""

    def __init__(self, txn: Any, entries: Any) -> None:
        self._txn = txn
        self._entries = entries

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        value: bytes | None = self._txn.get(key, db=self._entries)
        return value

    def cursor(self) -> Any:
        """A cursor over them, in the order of their keys."""
        return self._txn.cursor(db=self._entries)


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[tuple[Entries, Kept | None]]:
    """One state of the store in this folder, while another process may write on.

    Yields:
        A transaction on the entries, and what was kept with them.

    Raises:
        StoreDamaged: it is no store of ours.
        FileNotFoundError: there is none.
    """
    check_header(path)
    try:
        with (
            lmdb.open(
                os.fsencode(path),
                max_dbs=2,
                readonly=True,
                create=False,
                readahead=False,
                mode=0o600,
            ) as env,
            env.begin() as txn,
        ):
            try:
                meta = env.open_db(META, txn, create=False)
                entries = env.open_db(ENTRIES, txn, create=False)
            except lmdb.NotFoundError as error:
                raise StoreDamaged(f"{data_of(path)} is not a store of ours: {error}") from error
            yield Entries(txn, entries), read_kept(txn.get(KEPT, db=meta))
    except (lmdb.Error, DamagedEntry) as error:
        raise StoreDamaged(f"{data_of(path)}: {error}") from error
