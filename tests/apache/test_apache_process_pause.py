"""The service's process is stopped for 15 seconds and goes on; and its clock jumps."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.answers import GRACE
from support.clock import faketime
from support.invariants import Asked, check_invariants
from support.measure import Measure
from support.platform import Names, Platform, platform
from support.served import Served, served
from support.storm import Confirming, Storm, publish_items, wall

from dev.apache_kafka.cluster import ApacheKafka

pytestmark = pytest.mark.apache

PAUSE = 15.0
SOON = 1.5
"""Seconds in which a process that goes on must have answered all that was overdue."""


@pytest.fixture
async def service(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    async with served(kafka.bootstrap_servers, names) as service:
        yield service


@pytest.fixture
async def items(kafka: ApacheKafka, service: Served, names: Names) -> AsyncIterator[Platform]:  # noqa: ARG001 - it creates the topics
    async with platform(kafka.bootstrap_servers, names) as side:
        yield side


def stale(asked: list[Asked]) -> list[Asked]:
    """Answers with 200 that the service itself gave after the deadline, by its own clock."""
    return [
        each
        for each in asked
        if each.status == 200 and each.got.body["elapsedMs"] > each.deadline * 1000
    ]


async def check_but_for_lateness(
    kafka: ApacheKafka, names: Names, service: Served, paused: list[Asked]
) -> str:
    """The invariants; nobody can answer in time who does not run."""
    ids = {each.got.takedown_id for each in paused}
    forgiven = [
        replace(each, deadline=each.got.seconds) if each.got.takedown_id in ids else each
        for each in service.asked
    ]
    report = await check_invariants(kafka.bootstrap_servers, names, forgiven, service.lists)
    return str(report)


async def test_what_was_in_flight_when_the_process_was_stopped_gets_504_though_all_is_deleted(
    service: Served, items: Platform, kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    ids = await publish_items(service, items, 60, places=2)
    asking = [asyncio.create_task(service.take_down(item_id)) for item_id in ids]
    for item_id in ids:
        await items.wait_for_requests(item_id, 2)
    for item_id in ids[:20]:  # one of the two containers, heard of before the pause
        await items.delete(item_id, service.lists[item_id][0])
    await asyncio.sleep(0.3)

    service.process.signal(signal.SIGSTOP)
    for item_id in ids[:40]:  # all deleted while it sleeps; the records wait in its sockets
        for place in service.lists[item_id]:
            await items.delete(item_id, place)
    knocking = [
        asyncio.create_task(service.take_down(item_id))
        for item_id in await publish_items(service, items, 5)
    ]
    await asyncio.sleep(PAUSE)
    woken = wall()
    service.process.signal(signal.SIGCONT)

    answers = await asyncio.gather(*asking)
    assert {each.status for each in answers} == {504}
    for each in answers:
        assert each.got.body["type"] == "urn:takedown:problem:deadline-passed"
    by_item = {each.item_id: each for each in answers}
    for item_id in ids[:20]:
        assert service.lists[item_id][0] in by_item[item_id].got.body["deleted"]
    slowest = max(each.answered_at for each in answers) - woken
    measured("paused 15 s: overdue answers after it went on", slowest)
    assert slowest < SOON

    late = await asyncio.gather(*knocking)  # accepted after the pause: their time begins there
    assert {each.status for each in late} <= {503, 504}
    assert max(each.answered_at for each in late) - woken < 3.0 + SOON
    items.on_request = Confirming()
    measured("paused 15 s: first 200 after", await service.until_200(items))
    assert stale(service.asked) == []
    paused = [*answers, *late]
    measured("paused 15 s", await check_but_for_lateness(kafka, names, service, paused))


async def test_a_process_that_is_stopped_under_load_gives_no_stale_200(
    service: Served, items: Platform, kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    confirming = Confirming()
    items.on_request = confirming
    ids = await publish_items(service, items, 2500)
    storm = Storm(service, ids, per_second=100)
    pauses: list[tuple[float, float]] = []
    async with storm:
        for _ in range(3):
            await asyncio.sleep(1.5)
            stopped = wall()
            service.process.signal(signal.SIGSTOP)
            await asyncio.sleep(3.5)  # longer than any deadline
            service.process.signal(signal.SIGCONT)
            pauses.append((stopped, wall()))
            await storm.until_steady(seconds=1.0)
    await confirming.stop()
    assert stale(storm.asked) == []
    touched = [
        each
        for each in storm.asked
        if any(each.at < woken and each.answered_at > stopped for stopped, woken in pauses)
    ]
    others = [each for each in storm.asked if each not in touched]
    assert max(each.overshoot for each in others) <= GRACE
    counts = {s: sum(each.status == s for each in touched) for s in {a.status for a in touched}}
    measured("paused under load: of those it touched", counts)
    measured("paused under load", await check_but_for_lateness(kafka, names, service, touched))


@asynccontextmanager
async def clock_of(offset: Path, kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    """A service whose wall clock is as wrong as a file says, at any moment."""
    set_clock(offset, 0)
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # the process inherits it when it starts
            patch.setenv("LD_PRELOAD", faketime())
            patch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
            patch.setenv("FAKETIME_NO_CACHE", "1")
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            service = await stack.enter_async_context(served(kafka.bootstrap_servers, names))
        yield service


def set_clock(offset: Path, seconds: int) -> None:
    """Libfaketime looks into the file whenever it is asked for the time."""
    offset.write_text(f"{seconds:+d}")


def error_of_label(request: dict[str, Any]) -> float:
    """Seconds by which a request that was reported just now was reported in the future."""
    return (datetime.fromisoformat(request["reportedAt"]) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("jump", [3590, -3600])
async def test_a_wall_clock_that_jumps_an_hour_moves_no_deadline(
    jump: int, kafka: ApacheKafka, names: Names, tmp_path: Path, measured: Measure
) -> None:
    offset = tmp_path / "offset"
    async with (
        clock_of(offset, kafka, names) as service,
        platform(kafka.bootstrap_servers, names) as items,
    ):
        ids = await publish_items(service, items, 400)
        confirmed, stuck = ids[:10], ids[10:20]
        asking = [asyncio.create_task(service.take_down(i)) for i in (*confirmed, *stuck)]
        for item_id in (*confirmed, *stuck):
            await items.wait_for_requests(item_id, 1)

        set_clock(offset, jump)
        await asyncio.sleep(1.0)
        for item_id in confirmed:
            await items.delete(item_id, service.lists[item_id][0])
        answers = {each.item_id: each for each in await asyncio.gather(*asking)}
        assert {answers[item_id].status for item_id in confirmed} == {200}
        assert {answers[item_id].status for item_id in stuck} == {504}
        for item_id in stuck:
            assert 2.9 <= answers[item_id].got.seconds <= 3.0 + GRACE

        items.on_request = Confirming()
        async with Storm(service, ids[20:], per_second=40) as storm:
            await asyncio.sleep(6.0)  # longer than metadata is trusted
        assert {each.status for each in storm.asked} == {200}
        assert (await service.readiness())[0] == 200
        assert service.process.returncode is None
        assert error_of_label(items.requests[-1]) == pytest.approx(jump, abs=60), "it did jump"
        report = await service.check(kafka.bootstrap_servers, names)
    measured(f"clock jumps {jump:+d} s", report)


async def test_a_wall_clock_that_is_hours_ahead_is_refused_by_kafka_and_the_caller_told_why(
    kafka: ApacheKafka, names: Names, tmp_path: Path, measured: Measure
) -> None:
    """Brokers take no record from more than an hour ahead (message.timestamp.after.max.ms)."""
    offset = tmp_path / "offset"
    async with (
        clock_of(offset, kafka, names) as service,
        platform(kafka.bootstrap_servers, names, on_request=Confirming()) as items,
    ):
        set_clock(offset, 7200)
        asked = await service.take_down(await service.item(items))
        assert asked.status == 502
        assert "timestamp" in asked.got.body["detail"].lower()
        assert asked.got.seconds < 1.0
        set_clock(offset, 0)
        assert await service.until_200(items) < 1.0
        report = await service.check(kafka.bootstrap_servers, names)
    measured("clock two hours ahead", report)
