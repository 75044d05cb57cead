"""What one life of the service had read of an item while it handled one request.

A deletion counts for a list if it is not dated more than the clock tolerance before that list. The
service may have known several lists while it handled the request. So a container may be called
deleted if a deletion counts by at least one of them, and must not be called outstanding if it
counts by all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from dev.simulation.callers import Asked
    from dev.simulation.newest_list import Said

TOLERANCE = timedelta(seconds=1)
"""`TAKEDOWN_CLOCK_TOLERANCE`: by so much a deletion may be dated before its list."""


def is_fresh(deleted_at: datetime, listed_at: datetime) -> bool:
    """Whether a deletion of this date counts for a list of that date."""
    return listed_at - deleted_at <= TOLERANCE


class Evidence:
    """The deletions and lists of one request's item, as its life read them.

    Args:
        asked: a request that was answered.
        until: the loop's time until which deletions count; None: until the answer.
        follows: whether newer lists count.
    """

    def __init__(self, asked: Asked, *, until: float | None = None, follows: bool) -> None:
        assert asked.life is not None
        assert asked.arrived_at is not None
        assert asked.answered_at is not None
        self._life = asked.life
        self._item = asked.item_id
        self._follows = follows
        self.since = asked.arrived_at
        self.answered = asked.answered_at
        self.until = self.answered if until is None else min(self.answered, until)
        self.lists = [
            (at, said)
            for at, said in asked.life.lists.get(asked.item_id, ())
            if at <= self.answered
        ]
        begun = max((n for n, (at, _) in enumerate(self.lists) if at < self.since), default=0)
        self.current = self.lists[begun:]

    def deletions(self, container: str) -> Iterator[tuple[float, datetime]]:
        """When each deletion was read since the request arrived, and its date."""
        for at, deleted_at in self._life.deletions.get((self._item, container), ()):
            if self.since <= at <= self.until:
                yield at, deleted_at

    def may_be_deleted(self, container: str, *, by: float | None = None) -> bool:
        """Whether a deletion was read that counts by one of the lists; `by`: until then."""
        dates = [said.listed_at for said in self._naming(container)]
        return any(
            (by is None or at <= by)
            and (not dates or any(is_fresh(deleted_at, listed_at) for listed_at in dates))
            for at, deleted_at in self.deletions(container)
        )

    def certainly_deleted(self, container: str) -> Iterator[tuple[float, datetime]]:
        """The deletions that count by whichever list the service went by."""
        dates = [said.listed_at for _, said in self.lists if said is not None]
        for at, deleted_at in self.deletions(container):
            if all(is_fresh(deleted_at, listed_at) for listed_at in dates):
                yield at, deleted_at

    def vanished(self, container: str, *, by: float | None = None) -> bool:
        """Whether a list without it was read since the request arrived; `by`: until then."""
        return self._follows and any(
            at >= self.since and (by is None or at <= by) and container not in said.containers
            for at, said in self.current
            if said is not None and said.containers is not None
        )

    def satisfies(self, list_: Said) -> bool:
        """Whether this list's every container is confirmed (I2)."""
        return list_.containers is not None and all(
            self._confirmed(container, list_) for container in list_.containers
        )

    def _confirmed(self, container: str, list_: Said) -> bool:
        dates = (deleted_at for _, deleted_at in self.deletions(container))
        if any(is_fresh(deleted_at, list_.listed_at) for deleted_at in dates):
            return True
        return self._follows and any(
            container not in said.containers and said != list_ and said.overtakes(list_)
            for _, said in self.lists
            if said is not None and said.containers is not None
        )

    def _naming(self, container: str) -> Iterable[Said]:
        for _, said in self.current:
            if said is not None and said.containers is not None and container in said.containers:
                yield said
