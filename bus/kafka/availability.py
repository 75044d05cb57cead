"""Whether a reader can read its topic now, and why not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from bus.kafka.read_progress import ReadProgress
    from bus.kafka.throttle import Throttle

logger = logging.getLogger("takedown.kafka")


class Availability:
    """The availability of one reader.

    Args:
        topic: which topic it reads.
        throttle: what brokers have announced.
        progress: knows who waits until something is read; they get an error when it cannot be.

    Attributes:
        positioned: every position is set, and the path to Kafka was seen to work lately.
        last_error: why the reader last had to connect again; empty if never.
    """

    def __init__(self, topic: str, throttle: Throttle, progress: ReadProgress) -> None:
        self.positioned = False
        self.last_error = ""
        self._topic = topic
        self._throttle = throttle
        self._progress = progress

    def interrupted(self, error: BaseException) -> None:
        """This error ends the session: the reader is not positioned any more."""
        text = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            text = self._throttle.why() or "Kafka does not answer in time"
        if text != self.last_error or self.positioned:
            logger.warning("Reading %s is interrupted: %s", self._topic, text)
        self.last_error = text
        self.session_is_over()

    def session_is_over(self) -> None:
        """The reader is not positioned any more, and everyone who waits gets an error."""
        self.positioned = False
        self._progress.fail(self.error())

    def error(self) -> KafkaUnavailable:
        """That the topic cannot be read, and why."""
        return KafkaUnavailable(f"{self._topic} cannot be read: {self.why_not()}")

    def why_not(self) -> str:
        """Why it cannot be read, in words."""
        return self._throttle.why() or self.last_error or "not connected yet"
