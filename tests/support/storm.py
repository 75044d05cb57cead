"""Load at a steady rate whatever the answers, and what it says about a fault's length.

Callers do not wait for each other in real life: who asks only after an answer came asks less when
it matters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

from aiokafka.errors import KafkaError

from support.invariants import Asked
from support.platform import Platform, confirm, containers, new_item_id
from support.served import Served

_AT_ONCE = 200


async def publish_items(
    service: Served, items: Platform, count: int, *, places: int = 1
) -> list[str]:
    """New items, of which the service has read."""
    found = [new_item_id() for _ in range(count)]
    for first in range(0, count, _AT_ONCE):
        some = found[first : first + _AT_ONCE]
        for item_id in some:
            service.lists[item_id] = containers(places)
        await asyncio.gather(*(items.publish_item(i, service.lists[i]) for i in some))
    return found


class Confirming:
    """A good Items service that goes on trying while Kafka is in trouble.

    Args:
        after: seconds that a deletion takes.
        trying_for: seconds until it gives up.
    """

    def __init__(self, *, after: float = 0.0, trying_for: float = 30.0) -> None:
        self._after = after
        self._trying_for = trying_for
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, items: Platform, request: dict[str, Any]) -> None:
        task = asyncio.create_task(self._confirm(items, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirm(self, items: Platform, request: dict[str, Any]) -> None:
        await asyncio.sleep(self._after)
        async with asyncio.timeout(self._trying_for):
            while True:
                try:
                    await confirm(items, request)
                except KafkaError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def stop(self) -> None:
        """Wait until all is confirmed."""
        await asyncio.gather(*self._tasks)


class Storm:
    """Takes one item after the other down, so many a second, until the block ends.

    Args:
        service: which is asked.
        ids: items that were published and not asked for yet; there must be enough.
        per_second: how many requests.
        wait: the callers' own deadline, if they have one.
    """

    def __init__(
        self, service: Served, ids: Iterable[str], *, per_second: float, wait: int | None = None
    ) -> None:
        self._service = service
        self._ids: Iterator[str] = iter(ids)
        self._per_second = per_second
        self._wait = wait
        self._stopped = asyncio.Event()
        self._asking: list[asyncio.Task[Asked]] = []
        self._running: asyncio.Task[None] | None = None
        self.asked: list[Asked] = []
        """The answers to its requests, when the block has ended."""

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped.set()
        assert self._running is not None
        await self._running
        self.asked = list(await asyncio.gather(*self._asking))

    async def until_steady(self, *, seconds: float = 2.0, within: float = 30.0) -> None:
        """Wait until every request of the last seconds was answered with 200."""
        async with asyncio.timeout(within):
            await asyncio.sleep(seconds)
            while True:
                recent = wall() - seconds
                done = [task.result() for task in self._asking if task.done()]
                new = [each for each in done if each.answered_at >= recent]
                if len(new) >= seconds * self._per_second / 2 and all(a.status == 200 for a in new):
                    return
                await asyncio.sleep(0.1)

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        while not self._stopped.is_set():
            due = round((now() - began) * self._per_second)
            for _ in range(due - len(self._asking)):
                item_id = next(self._ids)
                self._asking.append(
                    asyncio.create_task(self._service.take_down(item_id, self._wait))
                )
            await asyncio.sleep(0.005)


def disturbed_for(asked: Iterable[Asked], since: float) -> float:
    """Seconds from `since` (by the wall clock) to the last request that did not get a 200.

    0 if all did: the fault was not felt.
    """
    failed = [each.at for each in asked if each.at >= since and each.status != 200]
    return max(failed, default=since) - since


def goodput(asked: Iterable[Asked], first: float, last: float) -> float:
    """Answers with 200 in each second between two times of the wall clock."""
    good = [each for each in asked if each.status == 200 and first <= each.answered_at < last]
    return len(good) / (last - first)


def wall() -> float:
    """The clock by which `Asked` is stamped."""
    return time.time()
