"""Deletions that confirmed nothing, since they are older than the list that names their container.

Such a deletion is a replay, or the clocks of deletions and lists differ by more than
`TAKEDOWN_CLOCK_TOLERANCE`: then takedowns time out although everything is deleted. So operators can
see them: they are counted, the last ones are shown, and there is a line in the log at most once a
minute.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from operations.observation.clock import text_of
from operations.observation.formatting import cut
from operations.observation.schemas.incidents import StaleDeletion

if TYPE_CHECKING:
    from actors.item_censor.states import ReportStaleDeletion
    from operations.observation.clock import Clock

logger = logging.getLogger("takedown.deletions")

_LOG_EVERY = 60.0
"""Seconds between two lines in the log."""


class _Noted(Struct, frozen=True):
    at: float
    report: ReportStaleDeletion


class StaleDeletions:
    """Counts stale deletions and retains the last ones.

    Args:
        clock: the loop's.
        keep: how many are retained.
    """

    def __init__(self, clock: Clock, *, keep: int = 100) -> None:
        self._clock = clock
        self._recent: deque[_Noted] = deque(maxlen=keep)
        self._logged_at: float | None = None
        self._logged = 0
        self.count = 0

    def note(self, report: ReportStaleDeletion) -> None:
        """Count one, and log it unless another was logged within the last minute."""
        now = self._clock.now()
        self.count += 1
        self._recent.append(_Noted(now, report))
        if self._logged_at is not None and now - self._logged_at < _LOG_EVERY:
            return
        deletion = report.deletion
        logger.warning(
            "A deletion confirms nothing, since it is dated before the list that names its "
            "container: item %s, container %s, deletedAt %s, publishedAt %s; "
            "%d such deletions since the last of these lines",
            deletion.item_id,
            cut(deletion.container_id),
            text_of(deletion.deleted_at),
            text_of(report.listed_at),
            self.count - self._logged,
        )
        self._logged_at, self._logged = now, self.count

    def view(self) -> tuple[StaleDeletion, ...]:
        """The last ones, the newest first."""
        return tuple(
            StaleDeletion(
                at=self._clock.label(noted.at),
                takedown_id=noted.report.takedown_id,
                item_id=noted.report.deletion.item_id,
                container_id=cut(noted.report.deletion.container_id),
                deleted_at=text_of(noted.report.deletion.deleted_at),
                listed_at=text_of(noted.report.listed_at),
            )
            for noted in reversed(self._recent)
        )
