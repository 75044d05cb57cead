"""Checks which records of item_deleted the service has handled."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dev.simulation.checker import Ledger
    from dev.simulation.cluster import Cluster
    from dev.simulation.run import Life

_READ_WITHIN = 0.5
"""Seconds within which a record must have been read, when nothing goes wrong."""


def check_read(ledger: Ledger, life: Life, cluster: Cluster, *, now: float, complete: bool) -> None:
    """Each record of item_deleted is handled at most once and in order.

    Args:
        ledger: is told of violations.
        now: the world's time, in seconds.
        complete: since the service was ready, every record must have been handled.
    """
    for partition, offsets in life.offsets.items():
        if partition in life.cut:
            continue
        if any(later <= earlier for earlier, later in pairwise(offsets)):
            ledger.broken(f"item_deleted[{partition}] was not handled once and in order")
        if wrong := cluster.topics["item_deleted"][partition].aborted.intersection(offsets):
            ledger.broken(f"item_deleted[{partition}]: aborted, and handled: {sorted(wrong)}")
    if not complete or life.ends_when_ready is None:
        return
    for number, log in enumerate(cluster.topics["item_deleted"]):
        since = life.ends_when_ready.get(number, 0)
        wanted = {
            record.offset for record in log.since(since, log.end) if record.at < now - _READ_WITHIN
        }
        if missing := wanted - set(life.offsets.get(number, ())):
            ledger.broken(f"item_deleted[{number}]: never handled: {sorted(missing)[:5]}")
