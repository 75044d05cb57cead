"""Until when what is stored can be brought up to date by reading on.

Kafka keeps a null value only for `delete.retention.ms` once it has compacted the item's lists away.
A reader that comes later never sees it: the item stays in the catalogue for ever, a ghost. So what
is stored may be read on from only for that long after it was known to be complete.

What is dated is when the log was last read to its end. Before that has happened once, it is when
reading from the beginning began: a list that was read then was still there, so that the null value
which ends it is kept for the retention from then on.

Two clocks measure the time since then, and the longer one counts: the loop's, which no one sets,
but which stands still while the machine is suspended, and which no restart survives; and the wall
clock. A stored date that lies in the future says that the wall clock was set back: how long ago it
was is unknown then, so that what is stored is not trusted. To read a topic again takes time; a
ghost would stay.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Late(NamedTuple):
    """What was read to the log's end too late to be sure that no null value was missed.

    Attributes:
        reason: in words.
        from_beginning: it was read from the log's beginning, so that to read it again would not
            help.
    """

    reason: str
    from_beginning: bool = False


MARGIN = 10.0
"""Seconds by which the clocks of the broker and of this machine may differ, and by which the log's
end may have moved before that is noticed."""


_UNKNOWN = math.inf
"""An age that cannot be known, since the wall clock was set back."""


class Freshness:
    """When the log was last read to its end, and whether that is too long ago.

    The retention may become known later than the first session begins. Until then each gap that
    was bridged is remembered, and the stored date stays the one before it, so that neither a crash
    nor a restart forgets it; it is judged as soon as it can be.

    Args:
        utc_now: the wall clock.
        delete_retention: the topic's `delete.retention.ms` in seconds; None if it is not known.
    """

    def __init__(
        self, utc_now: Callable[[], datetime], delete_retention: Callable[[], float | None]
    ) -> None:
        self._utc_now = utc_now
        self._delete_retention = delete_retention
        self._stored = 0.0
        self._wall = 0.0
        self._loop: float | None = None
        self._complete = False
        self._gap = 0.0
        self._load = 0.0

    @property
    def caught_up_at(self) -> float:
        """Seconds since 1970, as they are to be stored; 0 if nothing was read."""
        return self._stored

    def resume(self, caught_up_at: float) -> None:
        """Go on from what is stored with this date."""
        self._stored = self._wall = caught_up_at
        self._loop = None
        self._complete = True

    def begin(self) -> None:
        """The log is read from its beginning from now on."""
        self._date()
        self._stored = self._wall
        self._complete = False
        self._gap = self._load = 0.0

    def at_end(self) -> Late | None:
        """The log is read to its end now. Returns what came too late to be trusted, if anything.

        It is returned once for each time that it happens, also if it is found out later.
        """
        if self._complete:
            self._gap = max(self._gap, self._age())
        else:
            self._load = max(self._load, self._age())
        self._date()
        self._complete = True
        retention = self._delete_retention()
        if retention is None:
            return None
        self._stored = self._wall
        gap, self._gap = self._gap, 0.0
        load, self._load = self._load, 0.0
        # Between two rounds of a reader that follows, some time always passes.
        if gap > max(retention - MARGIN, MARGIN):
            return Late(f"{_ago(gap)} when its end was reached, {_kept(retention)}")
        if load > retention:
            reason = f"it took {load:.0f} s to read it from its beginning, {_kept(retention)}"
            return Late(reason, from_beginning=True)
        return None

    def too_old(self) -> str | None:
        """Why it may be too late to read on from what was read, in words; None if it is not."""
        retention = self._delete_retention()
        if retention is None or (age := max(self._age(), self._gap)) + MARGIN <= retention:
            return None
        return f"{_ago(age)}, {_kept(retention)}"

    def _date(self) -> None:
        self._wall = self._utc_now().timestamp()
        self._loop = asyncio.get_running_loop().time()

    def _age(self) -> float:
        wall = self._utc_now().timestamp() - self._wall
        if self._loop is not None:
            return max(wall, asyncio.get_running_loop().time() - self._loop)
        return wall if wall >= -MARGIN else _UNKNOWN


def _ago(age: float) -> str:
    if age == _UNKNOWN:
        return "it was last caught up in the future: the wall clock was set back since"
    return f"it was last caught up {age:.0f} s ago"


def _kept(retention: float) -> str:
    return f"and the topic keeps null values (delete.retention.ms) for {retention:g} s"
