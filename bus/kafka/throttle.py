"""When brokers delay a client on purpose: quotas.

A broker whose quota is used up answers at once, with nothing in the answer but for how long it is
going to ignore this connection (`throttle_time_ms`). So such an answer is an answer, and the
silence behind it is announced: neither says that a fetcher or a producer is dead. To connect again
would gain nothing, since quotas are of users and client ids.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiokafka.client import AIOKafkaClient

logger = logging.getLogger("takedown.kafka")

MOST = 60.0
"""Seconds of announced silence that are trusted. After that a dead connection would be noticed
late."""

_LOG_EVERY = 60.0
"""Seconds between two lines in the log."""


class Throttle:
    """What brokers have announced to one part of the service.

    Args:
        what: which part, for people: "Reading item_deleted".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._until = 0.0
        self._logged_at: float | None = None

    def attach(self, client: AIOKafkaClient) -> None:
        """Take note of what brokers answer to this client from now on."""
        send = client.send

        async def send_and_note(node_id: int, request: Any, **options: Any) -> Any:
            response = await send(node_id, request, **options)
            milliseconds = getattr(response, "throttle_time_ms", 0)
            if milliseconds and milliseconds > 0:
                self.note(milliseconds / 1000)
            return response

        client.send = send_and_note

    def note(self, seconds: float) -> None:
        """A broker is going to be silent for so long."""
        now = asyncio.get_running_loop().time()
        self._until = max(self._until, now + min(seconds, MOST))
        if self._logged_at is None or now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            logger.warning(
                "%s is throttled by the broker, for %.1f s now: a Kafka quota of this client or "
                "user is used up (kafka-configs.sh --describe --entity-type clients, or users)",
                self._what,
                seconds,
            )

    @property
    def is_active(self) -> bool:
        """Whether a broker has announced that it is silent now."""
        return self._until > asyncio.get_running_loop().time()

    def why(self) -> str | None:
        """The cause of a silence, in words; None if none was announced."""
        if not self.is_active:
            return None
        return "throttled by the broker: a Kafka quota of this client or user is used up"
