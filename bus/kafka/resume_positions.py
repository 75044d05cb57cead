"""Judges from which positions a new session resumes.

Positions outlive a session, and the process if they are stored. A position is resumed only if the
log below it still is what was read:

- A topic that was deleted and created again is another log, whatever its length. Its id shows it.
  Without a topic id, only the other rules apply.
- A position that the broker does not have any more, or that lies below the beginning of the log,
  cannot be resumed (records before the beginning were removed, and never read).
- A log that was cut below a position and has grown since is recognized by leader epochs and the
  last records (see `bus.kafka.known_log`).

A reader that can rewind resumes all positions or none: if one is wrong, it reads everything again.
Another reader resumes the others, and begins again where it must.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from bus.kafka.known_log import KnownLog
    from bus.kafka.topic_identity import TopicIdentity

logger = logging.getLogger("takedown.kafka")

Distrust: TypeAlias = Callable[[], "str | None"]


def lost_positions(
    positions: Mapping[TopicPartition, int],
    beginnings: Mapping[TopicPartition, int],
    replaced: Collection[TopicPartition],
) -> dict[TopicPartition, str]:
    """The positions that cannot be resumed, and why.

    Args:
        positions: the next offset of each partition that was read.
        beginnings: where the partitions that exist now begin.
        replaced: partitions of which the broker does not have our position.
    """
    problems = {}
    for tp, position in positions.items():
        where = f"{tp.topic}[{tp.partition}]"
        if tp in beginnings and position < beginnings[tp]:
            unread = beginnings[tp] - position
            problems[tp] = f"{where} has lost {unread} records that were never read"
        elif tp in replaced or tp not in beginnings:
            problems[tp] = f"{where} is not the one we read to {position}: it was recreated"
    return problems


class ResumePositions:
    """Judges the positions of one reader.

    Args:
        known: the positions, and what was read below them.
        rewind: called when everything is read again from the beginning; None if the reader cannot
            do that.
        distrust: gives a reason why what was read must not be trusted any more, or None.

    Attributes:
        again: why everything must be read again, from when that is requested until it begins;
            empty otherwise.
    """

    def __init__(
        self, known: KnownLog, *, rewind: Callable[[], None] | None, distrust: Distrust | None
    ) -> None:
        self.again = ""
        self._known = known
        self._rewind = rewind
        self._distrust = distrust

    def valid(
        self, identity: TopicIdentity, beginnings: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, int]:
        """The positions from which reading resumes; the other partitions begin again.

        Args:
            identity: which log the topic is now.
            beginnings: where the partitions that exist now begin.
        """
        if self._must_begin_again(identity):
            self._begin_again()
            return {}
        known = self._known
        differing, read_on = known.judged(beginnings)
        problems = lost_positions(known.positions, beginnings, known.replaced)
        known.replaced.clear()
        read_on = {tp: at for tp, at in read_on.items() if tp not in problems}
        problems |= differing
        for problem in problems.values():
            logger.error(problem)
        if problems and self._rewind is not None:
            self._begin_again()
            return {}
        return {tp: at for tp, at in known.positions.items() if tp not in problems} | read_on

    def topic_is_missing(self) -> None:
        """The topic does not exist, or did not for a moment.

        What comes back under its name may be another log, and may be longer than the one that was
        read by the time it is seen. A topic id will show it. Without one, a reader that can rewind
        assumes the worst; one that cannot would certainly read the same log twice.
        """
        known = self._known
        if self._rewind is not None and not (known.identity and known.identity.topic_id):
            known.replaced.update(known.positions)

    def _must_begin_again(self, identity: TopicIdentity) -> bool:
        """Whether no position can be resumed, wherever they are."""
        if self.again:
            return True
        known = self._known
        if known.identity is not None and identity.differs_from(known.identity):
            logger.error(
                "%s is not the log that we have read: it was recreated",
                known.topic,
                extra={"was": str(known.identity), "now": str(identity)},
            )
            return True
        if self._rewind is not None and self._distrust is not None and known.positions:
            reason = self._distrust()
            if reason is not None:
                logger.warning("What was read of %s is not trusted: %s", known.topic, reason)
                return True
        return False

    def _begin_again(self) -> None:
        self.again = ""
        self._known.forget()
        logger.warning("%s is read again from its beginning", self._known.topic)
        if self._rewind is not None:
            self._rewind()
