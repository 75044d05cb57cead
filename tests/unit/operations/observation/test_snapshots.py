from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter

from support.fakes import T0

from operations.observation.clock import Clock
from operations.observation.snapshots import Snapshots
from operations.observation.summaries import ActorsSnapshot


class Taking:
    """Takes snapshots that cost some time of the event loop, as it is told."""

    def __init__(self, spent: float = 0.01) -> None:
        self.spent = spent
        self.taken = 0
        self.now = 0.0
        self.snapshots = Snapshots(self.take, Clock(lambda: self.now, lambda: T0))

    async def take(self) -> ActorsSnapshot:
        self.taken += 1
        await asyncio.sleep(0)
        return ActorsSnapshot([], Counter(), Counter(), spent=self.spent)


async def test_those_who_ask_at_the_same_time_get_one_snapshot() -> None:
    taking = Taking()
    snapshots = await asyncio.gather(*(taking.snapshots.get() for _ in range(20)))
    assert taking.taken == 1
    assert len({id(snapshot) for snapshot in snapshots}) == 1


async def test_a_snapshot_is_used_for_nineteen_times_as_long_as_it_took() -> None:
    taking = Taking(spent=0.01)
    await taking.snapshots.get()
    taking.now = 0.18
    await taking.snapshots.get()
    assert taking.taken == 1
    taking.now = 0.2
    await taking.snapshots.get()
    assert taking.taken == 2


async def test_a_client_that_disconnects_does_not_cancel_the_snapshot_of_the_others() -> None:
    taking = Taking()
    first = asyncio.create_task(taking.snapshots.get())
    second = asyncio.create_task(taking.snapshots.get())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert taking.taken == 1


async def test_an_old_snapshot_is_dropped_with_all_that_it_refers_to() -> None:
    class Referred:
        """Something that a snapshot keeps alive."""

    referred = Referred()
    taking = Taking(spent=0.01)
    (await taking.snapshots.get()).summaries.append(referred)  # type: ignore[arg-type]
    alive = weakref.ref(referred)
    del referred
    taking.snapshots.drop_old()
    gc.collect()
    assert alive() is not None
    taking.now = 1.0
    taking.snapshots.drop_old()
    await asyncio.sleep(0)  # the event loop itself refers to the result until then
    gc.collect()
    assert alive() is None
