"""What is asked of the service in one run, and with which settings it runs."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """Drawn from the seed; nothing of it is a fault.

    Attributes:
        timeout: the service's deadline, in seconds.
        pool_max: takedowns in flight.
        follows: whether an item's newer lists are followed.
        items: how many there are.
        asks: when each request is made, in seconds from the moment that the service is started,
            and which item it is about; an item beyond `items` does not exist.
    """

    timeout: float
    pool_max: int
    follows: bool
    items: int
    asks: tuple[tuple[float, int], ...]


def draw(seed: int, *, small_pool: int | None = None) -> Workload:
    """The workload of a seed."""
    rng = random.Random(f"{seed} workload")
    count = rng.randint(40, 160)
    items = rng.randint(6, count + 10)
    window = rng.uniform(1.0, 4.0)
    asks = sorted(
        (rng.random() * window, rng.randrange(items + items // 8 + 1)) for _ in range(count)
    )
    return Workload(
        timeout=rng.choice((1.0, 1.5, 2.0, 3.0)),
        pool_max=1000 if small_pool is None else small_pool,
        follows=rng.random() < 0.75,
        items=items,
        asks=tuple(asks),
    )
