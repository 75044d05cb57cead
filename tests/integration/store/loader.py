"""Loads the catalogue as the service does, in processes that a test kills.

`python loader.py BOOTSTRAP TOPIC FOLDER`: for each line on its standard input it starts a process
that loads, and says its number; with the next line, it says `gone` once that process has ended. The
processes are forks of this one, for they begin sooner than a Python of their own. They say each
round that they have read.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from bus.kafka.connection import Connection
from bus.kafka.log_marks import LogMark
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader
from bus.kafka.topic_identity import TopicIdentity
from catalogue.store.check import Checked, check
from catalogue.store.lmdb_store import LmdbStore
from catalogue.view import CatalogueView

_PACE = 0.0001
"""Seconds for each record, so that a load is long enough to be killed in."""

_ROUND = 50
"""Records in a round: so few that what is loaded is kept in many batches."""


async def load(bootstrap: str, topic: str, folder: Path) -> None:
    store = LmdbStore(folder, topic, first_map=1 << 17, checker=_check)
    await store.take()
    view = CatalogueView(store, interval=0.01)

    async def prepare() -> None:
        pass

    def handle(record: Any) -> None:
        time.sleep(_PACE)
        view.apply(record)

    async def advance(
        positions: Mapping[int, int],
        identity: TopicIdentity | None,
        marks: Mapping[int, LogMark],
    ) -> None:
        await view.advance(positions, identity, marks)
        say("caught up" if reader.caught_up else "round")

    reader = TopicReader(
        connection=Connection(bootstrap, fetch_max_wait=0.01),
        topic=topic,
        start=Start.BEGINNING,
        handle=handle,
        prepare=prepare,
        rewind=view.rewind,
        resume=view.resume,
        advance=advance,
        consumer_factory=partial(AIOKafkaConsumer, max_poll_records=_ROUND),
    )
    view.attach(reader)
    await view.start()
    await asyncio.gather(view.run(), reader.run())


async def _check(path: Path) -> Checked:
    return check(path, structure=True)


def main() -> None:
    bootstrap, topic, folder = sys.argv[1:]
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(load(bootstrap, topic, Path(folder)))
            os._exit(1)
        say(child)
        sys.stdin.readline()
        os.waitpid(child, 0)
        say("gone")


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
