"""Whether what the catalogue holds counts now: it is not damaged, and the topic is read.

All is read again from the topic when the store is damaged, or when null values may have been
missed. From the moment at which that is known until `begin_rebuild`, nothing counts (`invalid`).
After that the log is not caught up until all is read, so that searches wait for evidence.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.kafka.read_barrier import Waiter

logger = logging.getLogger("takedown.catalogue")


class Log(Protocol):
    """The topic that the catalogue is read from."""

    @property
    def caught_up(self) -> bool:
        """Whether all is read that was there when we connected, and what came since."""

    @property
    def never_written(self) -> bool:
        """Whether no partition ever had a record, as far as it is known; removed ones count."""

    async def catch_up(self) -> None:
        """Wait until all is read that was there when this was called; `KafkaUnavailable`."""

    def prove_to(self, waiter: Waiter) -> None:
        """As `catch_up`, but notify the waiter; at once if it fails already."""

    def read_again(self, reason: str) -> None:
        """Read everything again; not caught up from now on. `rewind` follows."""


class Validity:
    """What the parts of the catalogue know together about its state.

    Args:
        on_rebuilt: called when all was read again: what was found before may have changed.

    Attributes:
        log: where the records come from; None until it is attached.
        invalid: why nothing counts now, in words; empty if what is held counts.
        checked: whether all of the store was checked once, or read and written by this process.
        rebuilding: whether all is read (again), as of the last `end_rebuild`.
        rebuilds: how often all was read again since the start.
    """

    def __init__(self, on_rebuilt: Callable[[], object] | None = None) -> None:
        self._on_rebuilt = on_rebuilt
        self.log: Log | None = None
        self.invalid = ""
        self.checked = False
        self.rebuilding = True
        self.rebuilds = 0

    @property
    def caught_up(self) -> bool:
        """Whether the log is read to its end."""
        return self.log is not None and self.log.caught_up

    def begin_rebuild(self) -> None:
        """The log is read again from its beginning, and what is held is empty."""
        self.invalid = ""
        self.checked = True  # what is stored from now on was read, and written, by us
        self.rebuilding = True
        self.rebuilds += 1

    def end_rebuild(self) -> None:
        """End the rebuild if the log is caught up, and report that.

        Searches are answered as soon as the log is caught up, perhaps in the middle of a round of
        records. So this is called before each record, and before a proof counts.
        """
        if self.rebuilding and self.log is not None and self.log.caught_up:
            self.rebuilding = False
            if self._on_rebuilt is not None:
                self._on_rebuilt()

    def damaged(self, reason: str) -> None:
        """The store is damaged: from now on nothing counts, and all is read again."""
        if self.invalid:
            return
        logger.error("The catalogue is damaged and is rebuilt from its topic: %s", reason)
        self.invalid = f"it is rebuilt: {reason}"
        if self.log is not None:
            self.log.read_again("the catalogue is damaged")

    def outdated(self, reason: str) -> None:
        """Records may have been missed: from now on nothing counts, and all is read again."""
        logger.warning("The catalogue is rebuilt from its topic: %s", reason)
        self.invalid = f"it is rebuilt: {reason}"
        assert self.log is not None
        self.log.read_again(reason)
