"""Entries, batches and damaged files for tests of the catalogue's store."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import lmdb

from catalogue.store.data_folder import data_of
from catalogue.store.entries import key_of, pack
from catalogue.store.lmdb_store import LmdbStore
from catalogue.store.store import Batch
from domain.messages import Container, ContainerId
from support.fakes import T0, item_id, places

TOPIC = "item_published"


def entry(number: int, *names: str) -> tuple[bytes, bytes]:
    """The key and value of an item in containers of these names."""
    key = key_of(item_id(number))
    return key, pack(key, places(*(names or ("a", "b"))), T0, 0)


def entries(numbers: range, *names: str) -> dict[bytes, bytes | None]:
    return dict(entry(number, *names) for number in numbers)


def batch(
    changes: Mapping[bytes, bytes | None] | None = None, *, at: int = 0, fresh: bool = False
) -> Batch:
    return Batch(changes or {}, {0: at}, "cluster", "log", fresh)


def large(number: int) -> tuple[bytes, bytes]:
    """An entry that needs pages of its own."""
    key = key_of(item_id(number))
    names = [Container(ContainerId(f"container-{number}-{n}"), "group") for n in range(400)]
    return key, pack(key, names, T0, 0)


@asynccontextmanager
async def opened(path: Path, *, topic: str = TOPIC) -> AsyncIterator[LmdbStore]:
    """A store that is closed in order."""
    store = LmdbStore(path, topic, first_map=1 << 20)
    await store.take()
    try:
        await store.ready()
        yield store
    finally:
        await store.close()


async def filled(path: Path, count: int = 500) -> None:
    """A folder with so many items, closed in order."""
    async with opened(path) as store:
        await store.commit(batch(entries(range(count)), at=count))


# ------------------------------------------------------------------------------- damage


def truncate(path: Path) -> None:
    size = data_of(path).stat().st_size
    os.truncate(data_of(path), size // 2)


def cut_to_nothing(path: Path) -> None:
    os.truncate(data_of(path), 0)


def cut_to_one_page(path: Path) -> None:
    os.truncate(data_of(path), 4096)


def garbage(path: Path) -> None:
    data = data_of(path)
    data.write_bytes(random.Random(1).randbytes(data.stat().st_size))


def text(path: Path) -> None:
    data_of(path).write_text("this is a log file, not a database\n" * 1000)


def no_heads(path: Path) -> None:
    """Both meta pages are lost."""
    _overwrite(path, 0, bytes(8192))


def no_pages(path: Path) -> None:
    """All but the meta pages is zeros, as after a file system's repair."""
    _overwrite(path, 8192, bytes(data_of(path).stat().st_size - 8192))


def noise(path: Path) -> None:
    """All but the meta pages is noise."""
    size = data_of(path).stat().st_size - 8192
    _overwrite(path, 8192, random.Random(2).randbytes(size))


def one_bit(path: Path) -> None:
    """A single bit of one entry's list is flipped, in every copy of its page."""
    content = data_of(path).read_bytes()
    _, value = entry(7)
    flipped = value[:-1] + bytes([value[-1] ^ 1])
    _overwrite(path, 0, content.replace(value, flipped))


def of_somebody_else(path: Path) -> None:
    """A file of LMDB, and none of ours."""
    data_of(path).unlink()
    with lmdb.open(str(path), lib_version=0) as env, env.begin(write=True) as txn:
        txn.put(b"theirs", b"something")


DAMAGE = (
    truncate,
    cut_to_nothing,
    cut_to_one_page,
    garbage,
    text,
    no_heads,
    no_pages,
    noise,
    one_bit,
    of_somebody_else,
)


def _overwrite(path: Path, at: int, content: bytes) -> None:
    with data_of(path).open("r+b") as file:
        file.seek(at)
        file.write(content)
