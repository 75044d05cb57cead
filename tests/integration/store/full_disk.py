"""A view on a disk that is full for a while: a program of its own, for the limit is its process's.

Prints one line for each thing that it sees, for `test_store_full.py`.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path

from support.fakes import T0, FakeLog, FakeRecord, item_id, places

from bus.kafka.codec import encode
from catalogue.store.lmdb_store import LmdbStore
from catalogue.view import CatalogueView
from domain.messages import Container, ContainerId, ItemPublished

COUNT = 3000
FULL = 512 << 10


def record(number: int) -> FakeRecord:
    names = tuple(Container(ContainerId(f"container-{number}-{n}"), "group") for n in range(20))
    return FakeRecord(b"", encode(ItemPublished(item_id(number), names, T0)))


def limit(bytes_: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))


def say(what: str, fact: object) -> None:
    sys.stdout.write(f"{what} {fact}\n")


async def until(view: CatalogueView, *, well: bool) -> None:
    async with asyncio.timeout(20):
        while (view.why_not_ready() is None) is not well:  # noqa: ASYNC110 - another thread
            await asyncio.sleep(0.01)


async def main() -> None:
    store = LmdbStore(Path(sys.argv[1]), "item_published")
    await store.take()
    view = CatalogueView(store, interval=0.05)
    view.attach(FakeLog())
    await view.start()
    running = asyncio.create_task(view.run())
    view.apply(FakeRecord(b"", encode(ItemPublished(item_id(COUNT), places("first"), T0))))
    await view.advance({0: 1}, None)
    await asyncio.sleep(0.3)
    kept = store.kept()
    say("before", kept is not None and kept.positions)

    limit(FULL)
    for number in range(COUNT):
        view.apply(record(number))
    await view.advance({0: COUNT + 1}, None)
    await until(view, well=False)
    say("full", view.why_not_ready())
    kept = store.kept()
    say("kept", kept is not None and kept.positions)
    say("known", sum(view.known(item_id(number)) is not None for number in range(COUNT + 1)))

    limit(resource.RLIM_INFINITY)
    await until(view, well=True)
    kept = store.kept()
    say("after", kept is not None and kept.positions)
    running.cancel()
    await asyncio.wait([running])
    await view.close()


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    asyncio.run(main())
