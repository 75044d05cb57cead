"""The connections to the public API; the clock and the network are virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.callers import ITEM, Callers, delete, serving
from support.wire import connected

from domain.messages import Deleted, Outcome, Takedown


@pytest.fixture
async def callers() -> AsyncIterator[Callers]:
    async with serving() as callers:
        yield callers


async def test_a_caller_that_hangs_up_does_not_stop_what_was_asked(callers: Callers) -> None:
    ended: list[str] = []
    began = asyncio.Event()

    async def slowly(takedown: Takedown) -> Outcome:
        began.set()
        await asyncio.sleep(5)
        ended.append(takedown.takedown_id)
        return Deleted(())

    callers.reply = slowly
    async with connected(callers.address) as connection:
        await connection.send(delete())
        await began.wait()
        connection.abort()
    await asyncio.sleep(6)

    assert ended == [callers.takedown.takedown_id]
    assert callers.observed == [(200, "Deleted", 5.0)]
    assert callers.server.connections == 0


async def test_pipelined_requests_are_answered_in_their_order(callers: Callers) -> None:
    other = ITEM.replace("6f1a", "7f1a")
    async with connected(callers.address) as connection:
        await connection.send(delete(close=False) + delete(item=other, close=False))
        first, second = await connection.answer(), await connection.answer()

    assert first is not None
    assert second is not None
    assert [first.json()["itemId"], second.json()["itemId"]] == [ITEM, other]


async def test_a_body_that_nobody_reads_is_not_taken_for_a_request(callers: Callers) -> None:
    smuggled = delete(item=ITEM.replace("6f1a", "7f1a")).decode()
    async with connected(callers.address) as connection:
        length = f"Content-Length: {len(smuggled)}"
        await connection.send(delete(length, body=smuggled, close=False))
        answer = await connection.answer()

        assert answer is not None
        assert answer.status == 404
        assert answer.headers["connection"] == "close"
        assert await connection.closed()
    assert callers.takedown.item_id == ITEM


async def test_a_takedown_whose_body_never_comes_is_not_begun(callers: Callers) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with connected(callers.address) as connection:
        await connection.send(delete("Content-Length: 10", close=False))
        answer = await connection.answer()

        assert answer is not None
        assert answer.status == 408
        assert answer.json()["type"] == "urn:takedown:problem:request-timeout"
        assert loop.time() == pytest.approx(began + 5)
        assert await connection.closed()
    assert loop.time() <= began + 6.5
    assert callers.asked == []


async def test_a_connection_without_a_request_is_closed_in_the_end(callers: Callers) -> None:
    async with connected(callers.address) as silent:
        await asyncio.sleep(74)
        assert callers.server.connections == 1

        assert await silent.closed(within=2)
    assert callers.asked == []


async def test_a_request_whose_head_comes_too_slowly_is_a_408(callers: Callers) -> None:
    loop = asyncio.get_running_loop()
    async with connected(callers.address) as slow:
        began = loop.time()
        for _ in range(14):
            await slow.send(b"X-Slow: 1\r\n" if loop.time() > began else b"DELETE / HTTP/1.1\r\n")
            await asyncio.sleep(1)
        answer = await slow.answer()
        assert answer is not None
        assert answer.status == 408
        assert loop.time() == pytest.approx(began + 15)
        assert await slow.closed()
    assert callers.asked == []


async def test_an_upgrade_that_is_not_ours_leaves_the_connection_in_order(
    callers: Callers,
) -> None:
    # Java's HTTP client offers HTTP/2 in this way with its first request, unasked.
    async with connected(callers.address) as connection:
        for upgrade in ("h2c", "websocket", "h2c"):
            await connection.send(
                delete("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", close=False)
            )
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 404
    assert len(callers.asked) == 3
