"""Labels for moments of the loop's clock."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Clock:
    """The loop's clock, and what people call its moments.

    The wall clock is read once: when it jumps later, the order of labels and the time between
    them stay right.

    Args:
        now: the loop's clock.
        utc_now: the wall clock.
        effort: measures how long something took that did not wait; the loop's clock by default.
            uvloop's stands still while a callback runs, and would say that nothing takes long.
    """

    def __init__(
        self,
        now: Callable[[], float],
        utc_now: Callable[[], datetime],
        effort: Callable[[], float] | None = None,
    ) -> None:
        self.now = now
        self.effort = now if effort is None else effort
        self._origin = utc_now() - timedelta(seconds=now())

    def label(self, at: float) -> str:
        """A moment of the loop's clock as RFC 3339 in UTC."""
        return text_of(self._origin + timedelta(seconds=at))


def text_of(moment: datetime) -> str:
    """An aware moment as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
