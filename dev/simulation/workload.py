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
    dice = random.Random(f"{seed} workload")
    count = dice.randint(40, 160)
    items = dice.randint(6, count + 10)
    window = dice.uniform(1.0, 4.0)
    asks = sorted(
        (dice.random() * window, dice.randrange(items + items // 8 + 1)) for _ in range(count)
    )
    return Workload(
        timeout=dice.choice((1.0, 1.5, 2.0, 3.0)),
        pool_max=1000 if small_pool is None else small_pool,
        follows=dice.random() < 0.75,
        items=items,
        asks=tuple(asks),
    )
