"""What is in LMDB's file: a database of the entries, and one of how far the topic was read.

The file is only ever given to LMDB after `check_header`: LMDB trusts what it finds in a file, and
a file that was cut short ends the process with SIGBUS.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import lmdb
import msgspec

from catalogue.store.data_folder import data_of
from catalogue.store.entries import DamagedEntry
from catalogue.store.store import FORMAT, Kept, StoreDamaged

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = b"entries"
"""The name of the database with the entries, by key."""

META = b"meta"
"""The name of the database that holds the `Kept`, under the key `KEPT`."""

KEPT = b"kept"

DAMAGE: tuple[type[Exception], ...] = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.NotFoundError,
    lmdb.BadValsizeError,
    DamagedEntry,
)
"""What LMDB and we raise when a file is not what was written."""

encode_kept = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode

_MAGIC = 0xBEEFC0DE
_META_PAGE = struct.Struct("=8x2xH4x II 8x 8x I 44x 48x Q Q")
"""Flags, magic, version, page size, last page, transaction: of LMDB 0.9 on 64 bits."""
_IS_META = 0x08


def check_header(path: Path) -> None:
    """Check that the data file in this folder is one, and as long as it says. Opens no map.

    Raises:
        StoreDamaged: it is not.
        FileNotFoundError: there is none.
    """
    data = data_of(path)
    size = data.stat().st_size
    with data.open("rb") as file:
        pages = []
        first = file.read(_META_PAGE.size)
        if len(first) == _META_PAGE.size:
            pages.append(_META_PAGE.unpack(first))
            file.seek(pages[0][3])
            second = file.read(_META_PAGE.size)
            if len(second) == _META_PAGE.size:
                pages.append(_META_PAGE.unpack(second))
    if len(pages) != 2 or any(  # noqa: PLR2004 - there are two
        not flags & _IS_META or magic != _MAGIC or version != 1
        for flags, magic, version, *_ in pages
    ):
        raise StoreDamaged(f"{data} is not a file of LMDB 0.9")
    page_size, last_page = max(pages, key=lambda page: page[5])[3:5]
    if size < (last_page + 1) * page_size:
        raise StoreDamaged(
            f"{data} has {size} bytes and should have {(last_page + 1) * page_size}: it was cut"
        )


def read_kept(value: bytes | None) -> Kept | None:
    """Decode a `Kept`; None if there is none.

    Raises:
        DamagedEntry: it cannot be read, or is of another format.
    """
    if value is None:
        return None
    try:
        kept = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedEntry(f"the stored catalogue cannot be read: {error}") from None
    if kept.format != FORMAT:
        raise DamagedEntry(f"it is of format {kept.format}, and we read {FORMAT}")
    return kept
