"""What was lost or not understood, lately: dead letters and skipped records."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from operations.observation.formatting import cut
from operations.observation.schemas.incidents import Losses, LostMessage, SkippedRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.runtime.dead_letters import DeadLetter
    from operations.observation.clock import Clock


class _Lost(Struct, frozen=True):
    at: float
    receiver: str
    message: str
    takedown_id: str | None


class _Skipped(Struct, frozen=True):
    at: float
    topic: str
    partition: int
    offset: int
    reason: str


class RecentLosses:
    """Keeps the last of each, without what they held.

    Args:
        clock: the loop's.
        dead_letters: how many there were since the start.
        skipped: the same of records.
        keep: how many of each.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        dead_letters: Callable[[], int],
        skipped: Callable[[], int],
        keep: int = 100,
    ) -> None:
        self._clock = clock
        self._dead_letters = dead_letters
        self._skipped_count = skipped
        self._lost: deque[_Lost] = deque(maxlen=keep)
        self._skipped: deque[_Skipped] = deque(maxlen=keep)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Hear of a message that nobody will handle."""
        message = letter.message
        takedown = getattr(message, "takedown", None)
        takedown_id = getattr(message, "takedown_id", None) or getattr(
            takedown, "takedown_id", None
        )
        self._lost.append(
            _Lost(self._clock.now(), cut(letter.receiver), type(message).__name__, takedown_id)
        )

    def skipped(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """Hear of a record that could not be read."""
        self._skipped.append(_Skipped(self._clock.now(), topic, partition, offset, cut(reason)))

    def view(self) -> Losses:
        """The last ones, the newest first."""
        label = self._clock.label
        return Losses(
            dead_letters=tuple(
                LostMessage(
                    at=label(lost.at),
                    receiver=lost.receiver,
                    message=lost.message,
                    takedown_id=lost.takedown_id,
                )
                for lost in reversed(self._lost)
            ),
            dead_letters_count=self._dead_letters(),
            skipped_records=tuple(
                SkippedRecord(
                    at=label(skipped.at),
                    topic=skipped.topic,
                    partition=skipped.partition,
                    offset=skipped.offset,
                    reason=skipped.reason,
                )
                for skipped in reversed(self._skipped)
            ),
            skipped_records_count=self._skipped_count(),
            stale_deletions=(),  # `Observatory.lost` has them
            stale_deletions_count=0,
        )
