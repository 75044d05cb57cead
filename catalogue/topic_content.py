"""Whether the topic holds any list of an item.

A wrong topic has records, or none, and no list. Each item would be unknown in it, and a 404 would
be wrong. So a topic without a single list is no evidence, unless the settings allow it to be empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalogue.store.store import Kept
    from catalogue.validity import Log


class TopicContent:
    """What kinds of records the topic had so far.

    Args:
        topic: the topic's name, for people.
        may_be_empty: whether a topic without a list is evidence.

    Attributes:
        topic: the topic's name.
        readable: some record was a list, or the end of one.
        unreadable: some record was neither.
    """

    def __init__(self, topic: str, *, may_be_empty: bool) -> None:
        self.topic = topic
        self._may_be_empty = may_be_empty
        self._stored_no_list = False
        self.readable = False
        self.unreadable = False

    def resume(self, kept: Kept) -> None:
        """Continue with what the store holds of the topic."""
        self.readable = kept.items + kept.tombstones > 0
        self._stored_no_list = not self.readable and any(kept.positions.values())

    def clear(self) -> None:
        """The topic is read from its beginning."""
        self.readable = self.unreadable = self._stored_no_list = False

    def why_empty(self, log: Log | None) -> str | None:
        """Why a missing item is no evidence, in words; None if it is, or without a log."""
        if self._may_be_empty or log is None:
            return None
        if log.never_written:
            what = "never had a record"
        elif self.unreadable and not self.readable:
            what = "has records, and none of them is a list of an item"
        else:
            return None
        return (
            f"{self.topic} {what}: is this the right topic?"
            " TAKEDOWN_CATALOGUE_MAY_BE_EMPTY=true if it may be empty"
        )

    def distrust(self) -> str | None:
        """Why the topic has to be read from its beginning, in words; None if it need not."""
        if self._stored_no_list and not self._may_be_empty:
            return "it is stored without any item, and only its records show whether it has lists"
        return None
