"""Searches over HTTP: which answers are reported, and what is retried and for how long."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.fakes import ITEM, T0, places, takedown_now
from support.items_over_http import LASTING, REFUSED, Bed, Deed, FakeItems, found, status, unknown
from support.settling import settle

from catalogue.http.catalogue import (
    ATTEMPTS,
    CLOCKS_APART,
    THRESHOLD,
)
from catalogue.http.responses import Answer
from domain.messages import ContainersFound, ItemId, ItemUnknown

pytestmark = pytest.mark.usefixtures("no_retry_hooks")

# ------------------------------------------------------------------------------ answers


async def test_what_the_items_service_knows_is_told() -> None:
    bed = Bed()
    bed.items.next = [found("a", "b")]
    mine = takedown_now()
    told: list[Any] = []
    bed.catalogue.locate(mine, told.append)
    assert told == []
    await settle()
    assert told == [ContainersFound(mine.takedown_id, places("a", "b"))]
    assert [(item, trace) for _, item, trace in bed.items.asked] == [(ITEM, mine.traceparent)]


async def test_an_item_that_it_does_not_know_is_unknown() -> None:
    event, took = await Bed().search()
    assert isinstance(event, ItemUnknown)
    assert took == 0


async def test_an_empty_list_is_told_as_it_is() -> None:
    bed = Bed()
    bed.items.next = [found()]
    event, _ = await bed.search()
    assert isinstance(event, ContainersFound)
    assert event.containers == ()


# ------------------------------------------------------------------------------ retries


@pytest.mark.parametrize(
    "passing", [REFUSED, status(429), status(502), status(503), status(504)], ids=str
)
async def test_what_passes_is_tried_again_until_it_has_passed(passing: Deed) -> None:
    bed = Bed()
    bed.items.next = [passing, passing, found("a")]
    event, took = await bed.search()
    assert isinstance(event, ContainersFound)
    assert bed.items.waits() == [0.1, 0.2]
    assert took == 0.3
    assert (bed.statistics.requests, bed.statistics.retries) == (3, 2)
    assert bed.statistics.failures == 2
    assert bed.statistics.last_error is None


@pytest.mark.parametrize("what", LASTING)
async def test_what_does_not_pass_is_not_tried_again_and_is_never_a_404(what: str) -> None:
    bed = Bed()
    bed.items.next = [LASTING[what]]
    reason, took = await bed.refused()
    assert reason
    assert took == 0
    assert len(bed.items.asked) == 1
    assert bed.statistics.unavailable == 1


async def test_the_waits_grow_to_a_limit_with_jitter_and_the_attempts_are_counted() -> None:
    draws = iter([0.5, 1.0, 0.75, 1.0])
    spans = []

    def jitter(low: float, high: float) -> float:
        spans.append((low, high))
        return next(draws)

    bed = Bed(jitter=jitter)
    bed.items.always = REFUSED
    event, _ = await bed.search()
    assert "connection refused" in event.reason
    assert event.plain == "the Items service does not report where the item is"
    assert bed.items.waits() == [0.05, 0.2, 0.3, 0.8]
    assert len(bed.items.asked) == ATTEMPTS
    assert set(spans) == {(0.5, 1.0)}


async def test_retry_after_is_kept_to() -> None:
    bed = Bed()
    bed.items.next = [status(429, retry_after="3"), status(503, retry_after="0"), found("a")]
    event, _ = await bed.search()
    assert isinstance(event, ContainersFound)
    assert bed.items.waits() == [3.0, 0.2]


async def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    bed = Bed()
    bed.items.next = [status(503, retry_after="10")]
    reason, took = await bed.refused(seconds=10.0)
    assert "503" in reason
    assert took == 0
    bed.items.next = [REFUSED, REFUSED, REFUSED]
    _, took = await bed.refused(seconds=0.5)
    assert took == pytest.approx(0.3)  # not 0.7, which is after 0.4


async def test_an_answer_from_a_cache_is_asked_for_again_and_never_told() -> None:
    bed = Bed()
    cached = replace(found("old"), cached="Age: 7")
    bed.items.next = [cached, cached, found("a")]
    event, _ = await bed.search()
    assert isinstance(event, ContainersFound)
    assert event.containers == places("a")
    bed.items.always = lambda item: replace(unknown(item), cached="X-Cache: HIT")
    for _ in range(THRESHOLD):
        reason, _ = await bed.refused()
        assert "X-Cache: HIT" in reason
    # One item that is asked for often must not keep others out.
    assert bed.statistics.circuit == "closed"


async def test_a_cache_that_answers_even_the_probe_is_no_readiness() -> None:
    bed = Bed()
    bed.items.always = lambda item: replace(unknown(item), cached="Age: 7")
    async with bed.watching():
        await asyncio.sleep(10)
        assert "a cache gave (Age: 7)" in str(bed.catalogue.why_not_ready())
        bed.items.always = unknown
        await asyncio.sleep(10)
        assert bed.catalogue.why_not_ready() is None


# ------------------------------------------------------------------------ a list's time


async def listed_at(answer: Answer, **options: Any) -> datetime | None:
    bed = Bed(utc_now=lambda: T0, **options)
    bed.items.next = [answer]
    event, _ = await bed.search()
    assert isinstance(event, ContainersFound)
    assert event.proven
    return event.listed_at


async def test_a_lists_own_time_is_told() -> None:
    body = json.dumps({"itemId": ITEM, "containers": [], "publishedAt": "2026-01-01T00:00:00Z"})
    answer = Answer(200, "application/json", body.encode(), date=T0)
    assert await listed_at(answer) == datetime(2026, 1, 1, tzinfo=UTC)


async def test_without_one_the_list_was_true_when_it_was_answered_or_a_little_before() -> None:
    assert await listed_at(replace(found("a"), date=T0)) == T0 - timedelta(seconds=CLOCKS_APART)

    class Slow(FakeItems):
        async def get(self, item_id: ItemId, traceparent: str | None) -> Answer:
            await asyncio.sleep(1.5)
            return await super().get(item_id, traceparent)

    bed = Bed(items=Slow(), utc_now=lambda: T0)
    bed.items.next = [replace(found("a"), date=T0)]
    event, _ = await bed.search()
    assert event.listed_at == T0 - timedelta(seconds=CLOCKS_APART + 1.5)


@pytest.mark.parametrize("apart", [-86400, -61, 61, 3600])
async def test_a_date_that_does_not_agree_with_our_clock_is_not_used(apart: float) -> None:
    assert await listed_at(replace(found("a"), date=T0 + timedelta(seconds=apart))) is None


async def test_without_any_date_the_lists_time_is_not_known() -> None:
    assert await listed_at(found("a")) is None
