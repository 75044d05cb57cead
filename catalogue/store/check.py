"""Reads a whole store and says whether it is what was written.

As a program (`python -m catalogue.store.check FOLDER`) it is run by the service, in a process of
its
own: LMDB trusts what it finds, and a damaged file may end the process that reads it. It prints
one line of JSON; any other end means damage.

Three things are looked at: the file's structure page by page, without LMDB (only while nobody
writes); each entry's checksum; and that every entry is found by its key, that there are as many as
was kept, and that the sum of their checksums is the one that was kept. So an entry that is lost,
or hidden behind a damaged page, or an old one that came back, shows.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import lmdb
import lmdb.verify
import msgspec

from catalogue.store.entries import is_whole
from catalogue.store.lmdb_format import check_header
from catalogue.store.lmdb_reader import read_only
from catalogue.store.store import Kept, StoreDamaged, Sums

_CHUNK = 1000
_MOST = 20
"""Problems that are told."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        problems: what is wrong, in words; empty if nothing is.
        items, containers: what was counted.
        kept: what the last transaction wrote.
        structure: whether the file's structure was looked at, too.
    """

    problems: tuple[str, ...]
    items: int
    containers: int
    kept: Kept | None
    structure: bool


def check(path: Path, *, structure: bool) -> Checked:
    """Check the store in this folder; `structure` only if nobody writes to it meanwhile."""
    try:
        check_header(path)
        if structure:
            problems = lmdb.verify.verify(str(path))  # type: ignore[no-untyped-call]  # it has no types
            if problems:
                return Checked(tuple(problems[:_MOST]), 0, 0, None, structure)
        return _check_entries(path, structure)
    except (StoreDamaged, lmdb.Error, lmdb.verify.VerifyError) as error:
        return Checked((str(error),), 0, 0, None, structure)


def _check_entries(path: Path, structure: bool) -> Checked:
    problems: list[str] = []
    sums = Sums()
    with (
        read_only(path) as (entries, kept),
        entries.cursor() as cursor,
        entries.cursor() as search,
    ):
        walk = iter(cursor)
        while chunk := list(itertools.islice(walk, _CHUNK)):
            keys = [key for key, _ in chunk]
            found = search.getmulti(keys)
            if len(found) != len(keys):
                problems.append(f"{len(keys) - len(found)} entries are not found by their key")
            for key, value in chunk:
                if not is_whole(key, value):
                    problems.append(f"the checksum of entry {key.hex()} is wrong")
                    continue
                sums.add(value)
    said = Sums.of(kept)
    for what in ("items", "containers", "tombstones", "doubts", "digest"):
        was, is_ = getattr(said, what), getattr(sums, what)
        if was != is_:
            problems.append(f"{what}: {was} were kept, and {is_} are there")
    return Checked(tuple(problems[:_MOST]), sums.items, sums.containers, kept, structure)


def main() -> None:
    """Check the folder that is named on the command line."""
    checked = check(Path(sys.argv[1]), structure=True)
    sys.stdout.write(msgspec.json.encode(checked).decode() + "\n")


if __name__ == "__main__":
    main()
