"""What ends a session with Kafka; the service starts another one."""

from __future__ import annotations

from domain.errors import TakedownError


class SessionLost(TakedownError):
    """Kafka is no longer what it was when the session began; the message says why."""
