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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

MARGIN = 10.0
"""Seconds by which the clocks of the broker and of this machine may differ, and by which the log's
end may have moved before that is noticed."""


class Freshness:
    """When the log was last read to its end, and whether that is too long ago.

    Args:
        utc_now: the wall clock.
        delete_retention: the topic's `delete.retention.ms` in seconds; None if it is not known.
    """

    def __init__(
        self, utc_now: Callable[[], datetime], delete_retention: Callable[[], float | None]
    ) -> None:
        self._utc_now = utc_now
        self._delete_retention = delete_retention
        self._wall = 0.0
        self._loop: float | None = None
        self._complete = False

    @property
    def caught_up_at(self) -> float:
        """Seconds since 1970, as they are stored; 0 if nothing was read."""
        return self._wall

    @property
    def complete(self) -> bool:
        """Whether the log was read to its end since reading from its beginning began."""
        return self._complete

    def resume(self, caught_up_at: float) -> None:
        """Go on from what is stored with this date."""
        self._wall = caught_up_at
        self._loop = None
        self._complete = True

    def begin(self) -> None:
        """The log is read from its beginning from now on."""
        self._date()
        self._complete = False

    def at_end(self) -> None:
        """The log is read to its end now."""
        self._date()
        self._complete = True

    def _date(self) -> None:
        self._wall = self._utc_now().timestamp()
        self._loop = asyncio.get_running_loop().time()

    def too_old(self) -> str | None:
        """Why it may be too late to read on, in words; None if it is not.

        With a margin, for what is about to be read on from.
        """
        retention = self._delete_retention()
        if retention is None:
            return None
        age = self._age()
        if age < -MARGIN:
            return (
                f"it was last caught up {-age:.0f} s in the future: the wall clock was set back,"
                " so that its age is unknown"
            )
        if age + MARGIN > retention:
            return (
                f"it was last caught up {age:.0f} s ago, and the topic keeps null values"
                f" (delete.retention.ms) for {retention:g} s"
            )
        return None

    def took_too_long(self) -> str | None:
        """Why what was read to the end now may be wrong all the same, in words; None if it is not.

        Ask it before `at_end`.
        """
        retention = self._delete_retention()
        if retention is None or (age := self._age()) <= max(retention, MARGIN):
            return None
        return (
            f"the log's end was reached {age:.0f} s after "
            f"{'it was last caught up' if self._complete else 'reading began'}, and the topic keeps"
            f" null values (delete.retention.ms) for {retention:g} s"
        )

    def _age(self) -> float:
        wall = self._utc_now().timestamp() - self._wall
        if self._loop is None:
            return wall
        return max(wall, asyncio.get_running_loop().time() - self._loop)
