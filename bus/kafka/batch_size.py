"""How large a batch of a topic may be: by the topic's own limit, or by what Kafka has refused.

The limit (`max.message.bytes`) is read from the topic's settings, from time to time and after each
refusal. Until it is read, and where it cannot be read, batches have half the size of one that was
refused. Nothing of this lasts: the limit may have been small for a moment only. So the settings are
read again soon, and where they cannot be read the full size is tried again; both after a second at
first, and after twice the time each time, up to a minute. A refused batch costs some round trips
and loses nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("takedown.kafka")

BATCH_BYTES = 128 * 1024
"""Where a batch is full. A record that is larger is a batch of its own."""

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
"""Seconds after a refusal until larger batches are tried."""


def _nothing() -> None:
    pass


class BatchSize:
    """Of one topic.

    Args:
        topic: its name, for people.
        read_settings: has the topic's settings read; `limit_is` follows if that succeeds.
    """

    def __init__(self, topic: str, *, read_settings: Callable[[], object] = _nothing) -> None:
        self._topic = topic
        self._read_settings = read_settings
        self._limit = BATCH_BYTES
        self._guess: int | None = None
        self._retry_at = 0.0
        self._retry = FIRST_RETRY

    def most(self, now: float) -> int:
        """Bytes that a batch may have; at most `BATCH_BYTES`. `now` is the loop's time."""
        most = self._limit if self._guess is None else self._guess
        if most == BATCH_BYTES or now < self._retry_at:
            return most
        self._wait(now)
        self._read_settings()
        self._guess = None
        return self._limit

    def limit_is(self, limit: int | None) -> None:
        """The topic's settings were read: its limit in bytes; None if the broker reports none."""
        if limit is not None:
            self._limit = max(1, min(limit, BATCH_BYTES))
            self._guess = None

    def refused(self, size: int, now: float) -> None:
        """Kafka has refused a batch of so many bytes for its size.

        What was refused is more than the topic accepts, so half of it is never less than half of
        what the topic accepts.
        """
        most = self._limit if self._guess is None else self._guess
        if most == BATCH_BYTES:
            logger.warning(
                "%s refuses a batch of %d bytes: batches are smaller for now (max.message.bytes)",
                self._topic,
                size,
            )
        self._guess = max(1, min(most, size // 2))
        self._wait(now)
        self._read_settings()

    def accepted(self, size: int) -> None:
        """Kafka has accepted a batch of so many bytes."""
        if size > BATCH_BYTES // 2:
            self._retry = FIRST_RETRY

    def _wait(self, now: float) -> None:
        if now >= self._retry_at:  # refusals of the same batch count once
            self._retry_at = now + self._retry
            self._retry = min(LONGEST_RETRY, 2 * self._retry)
