"""Logs the records of one topic that are skipped: the first ones in full, then how many there are.

A writer whose every record is unreadable would fill the log otherwise. All of them are counted, and
the last 100 are listed at `/losses`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

logger = logging.getLogger("takedown.kafka")

IN_FULL = 20
"""Records that are logged one by one in each period."""

PERIOD = 10.0
"""Seconds. At its end one line says how many more there were."""

_LONGEST_KEY = 100


class SkipLog:
    """Of one topic.

    Args:
        topic: its name.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._in_period = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last: tuple[Any, str] | None = None

    def note(self, record: Any, reason: str, *, named: bool = True) -> None:
        """A record was skipped.

        Args:
            record: with `topic`, `partition`, `offset` and `key`.
            reason: why.
            named: its key is known; otherwise any item may be concerned, which is an error.
        """
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD, self._period_ends)
        self._in_period += 1
        if self._in_period > IN_FULL:
            self._last = (record, reason)
            return
        what = (
            "an unreadable record" if named else "unreadable records, and their keys are not known"
        )
        level = logging.WARNING if named else logging.ERROR
        logger.log(level, "Skipped %s: %s", what, reason, extra=_place(record))

    def close(self) -> None:
        """Log now what waits to be logged."""
        if self._timer is not None:
            self._timer.cancel()
            self._period_ends()

    def _period_ends(self) -> None:
        self._timer = None
        more, self._in_period = self._in_period - IN_FULL, 0
        last, self._last = self._last, None
        if last is not None:
            record, reason = last
            logger.warning(
                "Skipped %d more unreadable records of %s within %g s, the last one: %s",
                more,
                self._topic,
                PERIOD,
                reason,
                extra=_place(record),
            )


def _place(record: Any) -> dict[str, object]:
    key = record.key
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": None if key is None else key[:_LONGEST_KEY].decode("utf-8", "backslashreplace"),
    }
