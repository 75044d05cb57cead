"""A silence that a broker has announced is no sign that something is dead."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11
from aiokafka.protocol.metadata import MetadataResponse_v5
from aiokafka.protocol.produce import ProduceResponse_v7

from bus.kafka.throttle import MOST, Throttle

FETCH = FetchRequest(500, 1, 1000, 1, [])


class Client:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def send(self, _node_id: int, _request: Any, **_options: Any) -> Any:
        return self.answer


ANSWERS = [
    FetchResponse_v11(5000, 0, 0, []),
    ProduceResponse_v7([], 5000),
    MetadataResponse_v5(5000, [], "cluster", 1, []),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=["fetch", "produce", "metadata"])
async def test_an_answer_says_for_how_long(answer: Any) -> None:
    throttle, client = Throttle("Reading"), Client(answer)
    throttle.attach(client)
    assert await client.send(1, FETCH) is answer
    assert "throttled by the broker" in str(throttle.why())
    await asyncio.sleep(5.1)
    assert throttle.why() is None


async def test_an_answer_without_a_delay_says_nothing() -> None:
    throttle, client = Throttle("Reading"), Client(FetchResponse_v11(0, 0, 0, []))
    throttle.attach(client)
    await client.send(1, FETCH)
    assert not throttle.is_active


async def test_it_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle("Reading item_deleted")
    with caplog.at_level(logging.WARNING):
        for _ in range(119):
            throttle.note(2)
            await asyncio.sleep(1)
    assert caplog.text.count("Reading item_deleted is throttled by the broker, for 2.0 s") == 2


async def test_a_silence_of_days_is_not_trusted() -> None:
    throttle = Throttle("Reading")
    throttle.note(10**6)
    await asyncio.sleep(MOST + 1)
    assert not throttle.is_active
