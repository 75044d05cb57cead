"""How Kafka's clients are let go of, whatever they do."""

from __future__ import annotations

import asyncio

import pytest

from bus import quirks


class Client:
    closed = False

    async def close(self) -> None:
        self.closed = True


class Consumer:
    def __init__(self, how: str) -> None:
        self._client = Client()
        self._how = how

    async def stop(self) -> None:
        match self._how:
            case "cancelled by its own doing":
                raise asyncio.CancelledError
            case "failing":
                raise RuntimeError("Set changed size during iteration")
            case _:
                await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["cancelled by its own doing", "failing", "hanging"])
async def test_connections_are_closed_however_a_consumer_stops(
    how: str,
) -> None:
    consumer = Consumer(how)
    async with asyncio.timeout(5):
        await quirks.stop_consumer(consumer, within=1)
    assert consumer._client.closed
