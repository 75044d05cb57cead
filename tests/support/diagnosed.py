"""What a service says about a Kafka that it cannot use."""

from __future__ import annotations

import asyncio

from support.observed import logged
from support.served import Served

WITHIN = 5.0
"""Seconds after the start in which a service says what is wrong."""

CHECKS = ("kafka consumer", "catalogue", "kafka producer")


async def explains(
    service: Served, *words: str, checks: tuple[str, ...] = CHECKS, within: float = WITHIN
) -> str:
    """See that `/readyz`, in each of these checks, and the log say all of this in time.

    Returns what the first check says.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    texts = [
        await service.until_detail(check, *words, within=max(0.1, end - loop.time()))
        for check in checks
    ]
    assert all(text.isprintable() for text in texts)
    await logged(
        service.process,
        lambda event: (
            event["level"] in {"warning", "error"}
            and all(word in str(event["event"]) for word in words)
        ),
        within=max(0.2, end - loop.time()),
    )
    assert service.process.text().replace("\n", "").isprintable()
    return texts[0]
