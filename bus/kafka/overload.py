"""Whether the event loop is overloaded, or this process was stopped.

While it is, an answer of Kafka may have arrived and not been read: no timeout proves anything then.
"""

from __future__ import annotations

import asyncio

HELD_UP = 0.1
"""Seconds by which a timer is late if this process was stopped, or its loop is overloaded."""

_PROBE = 0.04


async def is_held_up() -> bool:
    """Whether the loop is overloaded now: a timer that is on time by chance does not show it."""
    loop = asyncio.get_running_loop()
    due = loop.time() + _PROBE
    await asyncio.sleep(_PROBE)
    return loop.time() - due > _PROBE
