"""The numbers of the catalogue, as operators see them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogueStatistics:
    """What the view holds and was asked.

    Attributes:
        items: items that are in at least one container, as of the last transaction.
        containers: their containers.
        pending: changes that are read and not stored yet.
        commits: transactions since the start.
        bytes: the store's size on disk.
        problem: why nothing can be stored now; empty if it can.
        hits: searches that were answered at once.
        misses: searches that had to wait for evidence.
        waiting: searches that wait now.
        rebuilds: how often all was read again since the start.
        overtaken: records that were older than what another partition had of their item.
        in_doubt: items in doubt, as of now.
        proving: hits for which it is not shown yet that no newer list was missed.
    """

    items: int
    containers: int
    pending: int
    commits: int
    bytes: int
    problem: str
    hits: int
    misses: int
    waiting: int
    rebuilds: int
    overtaken: int
    in_doubt: int = 0
    proving: int = 0
