"""Messages that no actor will ever handle.

A message is a dead letter when its receiver was already dead when it was sent, or died with the
message still in its mailbox. Dead letters are counted, the last ones are kept, and anyone may
watch them: a lost message is always a question worth asking.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("takedown.actors")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was not handled.

    Attributes:
        message: the message itself.
        receiver: the dead actor, as pykka prints it: class and URN.
    """

    message: Any
    receiver: str


Watcher = Callable[[DeadLetter], None]


class DeadLetters:
    """Counts dead letters and shows them to watchers.

    Args:
        keep: how many of the last ones `recent` holds.
    """

    def __init__(self, *, keep: int = 100) -> None:
        self._count = 0
        self._recent: deque[DeadLetter] = deque(maxlen=keep)
        self._watchers: list[Watcher] = []

    @property
    def count(self) -> int:
        """How many there were since the start."""
        return self._count

    @property
    def recent(self) -> tuple[DeadLetter, ...]:
        """The last ones, oldest first."""
        return tuple(self._recent)

    @contextmanager
    def watch(self, watcher: Watcher) -> Iterator[None]:
        """Show each dead letter to `watcher` while the block runs; what it raises is logged."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def add(self, message: object, receiver: str) -> None:
        """Record that `message` will not be handled by `receiver`."""
        letter = DeadLetter(message, receiver)
        self._count += 1
        self._recent.append(letter)
        logger.debug("Dead letter for %s: %s", receiver, type(message).__name__)
        for watcher in tuple(self._watchers):
            try:
                watcher(letter)
            except Exception:
                logger.exception("A watcher of the dead letters failed")


DEAD_LETTERS = DeadLetters()
"""The process's dead letters, beside pykka's registry, which is the process's own too."""
