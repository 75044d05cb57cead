"""Searches over HTTP: what is retried and for how long, and when nobody is asked any more."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
import stamina
from support.fakes import ITEM, T0, item_id, places, settle, takedown_now

from catalogue.http.catalogue import (
    AT_ONCE,
    ATTEMPTS,
    CLOCKS_APART,
    MARGIN,
    NOBODY,
    THRESHOLD,
    WATCH,
    HttpCatalogue,
    HttpCatalogueStatistics,
)
from catalogue.http.responses import Answer, Fault, NoEvidence
from domain.messages import CatalogueUnavailable, ContainersFound, ItemId, ItemUnknown

PROBLEM = "application/problem+json"
Deed: TypeAlias = Answer | Exception | float | Callable[[ItemId], Answer] | None
"""What is answered: this, or it fails like this, or after so many seconds, or never (None)."""


@pytest.fixture(autouse=True)
def _no_hooks() -> Iterator[None]:
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(hooks)


def found(*names: str, item: ItemId = ITEM) -> Answer:
    listed = [{"containerId": name, "containerType": "group"} for name in names]
    body = json.dumps({"itemId": item, "containers": listed}).encode()
    return Answer(200, "application/json", body)


def unknown(item: ItemId) -> Answer:
    return Answer(404, PROBLEM, json.dumps({"itemId": item}).encode())


def status(number: int, *, retry_after: str | None = None) -> Answer:
    return Answer(number, "text/plain", b"", retry_after)


REFUSED = NoEvidence("connection refused", Fault.PASSING)
TLS = NoEvidence("TLS failed: certificate has expired", Fault.LASTING)


class FakeItems:
    """An Items service. It does what `next` says, one after the other, and then `always`."""

    def __init__(self) -> None:
        self.next: list[Deed] = []
        self.always: Deed = unknown
        self.asked: list[tuple[float, ItemId, str | None]] = []
        self.now = 0
        self.most = 0
        self.cancelled = 0
        self.closed = 0

    async def get(self, item_id: ItemId, traceparent: str | None) -> Answer:
        self.asked.append((asyncio.get_running_loop().time(), item_id, traceparent))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._do(self.next.pop(0) if self.next else self.always, item_id)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1

    async def _do(self, deed: Deed, item_id: ItemId) -> Answer:
        await asyncio.sleep(0)
        if deed is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(deed, Exception):
            raise deed
        if isinstance(deed, float):
            await asyncio.sleep(deed)
            return unknown(item_id)
        if isinstance(deed, Answer):
            return deed
        assert deed is not None
        return deed(item_id)

    async def close(self) -> None:
        self.closed += 1

    def waits(self) -> list[float]:
        times = [at for at, *_ in self.asked]
        return [round(b - a, 6) for a, b in itertools.pairwise(times)]


class Bed:
    """A catalogue over a fake Items service; its jitter is always the upper bound."""

    def __init__(self, **options: Any) -> None:
        self.items = FakeItems()
        options.setdefault("jitter", lambda _low, high: high)
        self.catalogue = HttpCatalogue(self.items, **options)

    @property
    def statistics(self) -> HttpCatalogueStatistics:
        return self.catalogue.statistics()

    def locate(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> list[Any]:
        told: list[Any] = []
        self.catalogue.locate(takedown_now(item, seconds=seconds), told.append)
        return told

    async def search(self, item: ItemId = ITEM, *, seconds: float = 10.0) -> tuple[Any, float]:
        """What one search tells, and the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = self.locate(item, seconds=seconds)
        while self.statistics.waiting:
            await asyncio.gather(*self.catalogue._searches)
            await settle(3)
        (event,) = told
        return event, round(loop.time() - began, 6)

    async def refused(self, *, seconds: float = 10.0) -> tuple[str, float]:
        event, took = await self.search(seconds=seconds)
        assert isinstance(event, CatalogueUnavailable)
        return event.reason, took

    async def open_circuit(self) -> None:
        self.items.always = REFUSED
        await self.refused()
        assert self.statistics.circuit == "opened"

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.catalogue.run())
        await settle()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


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


LASTING: dict[str, Deed] = {
    "tls": TLS,
    "401": status(401),
    "403": status(403),
    "redirect": status(302),
    "somebody's 404": Answer(404, "text/html", b"<html>"),
    "400": status(400),
    "500": status(500),
    "no JSON": Answer(200, "application/json", b"{"),
    "too large": Answer(200, "application/json", None),
    "another item": found("a", item=item_id(7)),
}


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
    assert event.plain == "the Items service does not say where the item is"
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

    bed = Bed(utc_now=lambda: T0)
    bed.items = bed.catalogue._transport = Slow()
    bed.items.next = [replace(found("a"), date=T0)]
    event, _ = await bed.search()
    assert event.listed_at == T0 - timedelta(seconds=CLOCKS_APART + 1.5)


@pytest.mark.parametrize("apart", [-86400, -61, 61, 3600])
async def test_a_date_that_does_not_agree_with_our_clock_is_not_used(apart: float) -> None:
    assert await listed_at(replace(found("a"), date=T0 + timedelta(seconds=apart))) is None


async def test_without_any_date_the_lists_time_is_not_known() -> None:
    assert await listed_at(found("a")) is None


# ------------------------------------------------------------------------------ time


async def test_an_attempt_that_hangs_is_given_up_and_tried_again() -> None:
    bed = Bed(attempt_timeout=1.5)
    bed.items.next = [None, found("a")]
    event, took = await bed.search()
    assert isinstance(event, ContainersFound)
    assert took == 1.6
    assert bed.items.cancelled == 1


async def test_a_body_that_drips_in_is_bounded_as_a_whole() -> None:
    bed = Bed(attempt_timeout=1.5)
    bed.items.always = 1.6
    reason, _ = await bed.refused(seconds=3.0)
    assert "no answer within 1.5 s" in reason or "in time" in reason
    bed.items.always = 1.4
    event, took = await bed.search()
    assert isinstance(event, ItemUnknown)
    assert took == 1.4


@pytest.mark.parametrize("seconds", [0.3, 1.0, 5.0])
async def test_a_search_ends_a_little_before_its_takedowns_deadline(seconds: float) -> None:
    bed = Bed(attempt_timeout=60.0)
    bed.items.always = None
    reason, took = await bed.refused(seconds=seconds)
    assert "in time" in reason
    assert took == pytest.approx(seconds - MARGIN)
    assert bed.items.now == 0


async def test_a_caller_in_a_hurry_is_not_held_against_the_items_service() -> None:
    bed = Bed(attempt_timeout=2.0)
    bed.items.always = 1.0
    for _ in range(THRESHOLD * 2):
        await bed.refused(seconds=0.5)
    assert bed.statistics.circuit == "closed"
    assert bed.statistics.failures == 0


async def test_no_more_are_asked_at_once_than_the_bound_and_none_is_forgotten() -> None:
    bed = Bed()
    bed.items.always = 1.0
    told = [bed.locate(item_id(number)) for number in range(AT_ONCE * 3)]
    await asyncio.sleep(2.5)
    assert sum(map(len, told)) == AT_ONCE * 2
    await asyncio.sleep(1)
    assert all(isinstance(event, ItemUnknown) for (event,) in told)
    assert bed.items.most == AT_ONCE


async def test_to_wait_for_ones_turn_counts_against_nobody_but_ones_own_deadline() -> None:
    bed = Bed(attempt_timeout=2.0)
    bed.items.always = 1.5
    told = [bed.locate(item_id(number), seconds=4.0) for number in range(AT_ONCE * 3)]
    await asyncio.sleep(4)
    results = [type(event) for (event,) in told]
    assert results == [ItemUnknown] * AT_ONCE * 2 + [CatalogueUnavailable] * AT_ONCE
    assert bed.statistics.failures == 0


# ------------------------------------------------------------------------------ circuit


async def test_after_failures_in_a_row_nobody_is_asked_and_searches_end_at_once() -> None:
    bed = Bed()
    await bed.open_circuit()
    asked = len(bed.items.asked)
    assert asked == THRESHOLD
    for _ in range(20):
        reason, took = await bed.refused()
        assert "connection refused" in reason
        assert took == 0
    assert len(bed.items.asked) == asked


async def test_searches_that_were_waiting_to_try_again_end_when_the_circuit_opens() -> None:
    bed = Bed()
    bed.items.always = REFUSED
    told = [bed.locate(item_id(number)) for number in range(AT_ONCE * 5)]
    await asyncio.sleep(0.1)
    await settle()
    assert all(isinstance(event, CatalogueUnavailable) for (event,) in told)
    assert len(bed.items.asked) <= AT_ONCE


async def test_one_poisoned_item_shuts_nobody_out() -> None:
    bed = Bed()
    for poison in (status(500), status(400), found("a", item=item_id(7))):
        bed.items.next += [poison] * THRESHOLD * 2
        for _ in range(THRESHOLD * 2):
            await bed.refused()
    assert bed.statistics.circuit == "closed"
    assert isinstance((await bed.search())[0], ItemUnknown)


@pytest.mark.parametrize("what", ["tls", "401", "403", "redirect", "somebody's 404"])
async def test_what_meets_every_search_alike_opens_the_circuit(what: str) -> None:
    bed = Bed()
    bed.items.always = LASTING[what]
    for _ in range(THRESHOLD):
        await bed.refused()
    assert bed.statistics.circuit == "opened"


# ------------------------------------------------------------------- readiness, probe


async def test_it_is_ready_when_the_items_service_has_answered_the_first_probe() -> None:
    bed = Bed()
    assert bed.catalogue.why_not_ready() == "the Items service was not asked yet"
    async with bed.watching():
        assert bed.catalogue.why_not_ready() is None
        assert [item for _, item, _ in bed.items.asked] == [NOBODY]


async def test_a_wrong_address_is_known_before_the_first_caller_comes() -> None:
    bed = Bed()
    bed.items.always = Answer(404, "text/html", b"<html>")
    async with bed.watching():
        reason = bed.catalogue.why_not_ready()
        assert reason is not None
        assert "TAKEDOWN_CATALOGUE_URL" in reason


async def test_without_traffic_the_probe_asks_now_and_then_and_with_traffic_it_does_not() -> None:
    bed = Bed()
    async with bed.watching():
        await asyncio.sleep(WATCH * 4 + 1)
        assert bed.items.waits() == [WATCH] * 4
        bed.items.asked.clear()
        for number in range(30):
            await bed.search(item_id(number))
            await asyncio.sleep(1)
        assert NOBODY not in [item for _, item, _ in bed.items.asked]


async def test_an_items_service_that_goes_away_without_traffic_makes_it_unready() -> None:
    bed = Bed()
    async with bed.watching():
        bed.items.always = REFUSED
        await asyncio.sleep(60)
        reason = bed.catalogue.why_not_ready()
        assert reason is not None
        assert "connection refused" in reason
        assert set(bed.items.waits()[-4:]) == {5.0}


async def test_any_failure_of_the_probe_counts_for_it_is_about_no_callers_item() -> None:
    bed = Bed()
    async with bed.watching():
        bed.items.always = status(500)
        await asyncio.sleep(60)
        assert bed.statistics.circuit == "opened"


async def test_readiness_comes_back_without_traffic() -> None:
    bed = Bed()
    async with bed.watching():
        await bed.open_circuit()
        assert bed.catalogue.why_not_ready() is not None
        bed.items.always = unknown
        bed.items.asked.clear()
        await asyncio.sleep(0.49)
        assert bed.items.asked == []  # it has its rest first
        await asyncio.sleep(0.02)
        assert bed.catalogue.why_not_ready() is None
        assert len(bed.items.asked) == 1
        assert isinstance((await bed.search())[0], ItemUnknown)


async def test_in_a_trial_one_request_is_sent_however_many_come() -> None:
    bed = Bed(attempt_timeout=2.0)
    async with bed.watching():
        await bed.open_circuit()
        bed.items.always = 1.0
        bed.items.asked.clear()
        await asyncio.sleep(0.6)
        assert bed.statistics.circuit == "half-opened"
        told = [bed.locate(item_id(number)) for number in range(50)]
        await settle()
        assert all(isinstance(event, CatalogueUnavailable) for (event,) in told)
        assert [item for _, item, _ in bed.items.asked] == [NOBODY]
        await asyncio.sleep(1)
        assert bed.catalogue.why_not_ready() is None


async def test_a_trial_that_fails_is_followed_by_a_longer_rest() -> None:
    bed = Bed()
    async with bed.watching():
        await bed.open_circuit()
        bed.items.asked.clear()
        await asyncio.sleep(25)
        assert bed.items.waits() == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


async def test_an_answer_that_began_before_the_circuit_opened_does_not_close_it() -> None:
    bed = Bed()
    bed.items.next = [1.9]
    late = bed.locate(item_id(1))
    await settle()
    await bed.open_circuit()
    await asyncio.sleep(1)
    assert isinstance(late[0], ItemUnknown)
    assert bed.statistics.circuit == "opened"
    reason, _ = await bed.refused()
    assert "connection refused" in reason


async def test_the_probe_is_not_kept_waiting_by_searches_that_hang() -> None:
    bed = Bed(attempt_timeout=60.0)
    bed.items.always = None
    for number in range(AT_ONCE * 2):
        bed.locate(item_id(number), seconds=100.0)
    await settle()
    bed.items.always = unknown
    async with bed.watching():
        assert bed.catalogue.why_not_ready() is None
    await bed.catalogue.stop()


# ------------------------------------------------------------------------------ the rest


async def test_a_defect_is_told_as_one_and_costs_only_its_search(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bed = Bed()
    bed.items.next = [ZeroDivisionError("oops")]
    event, _ = await bed.search()
    assert "oops" in event.reason
    assert event.plain == "defect in the catalogue"
    assert "oops" in caplog.text
    assert isinstance((await bed.search())[0], ItemUnknown)


async def test_stop_gives_up_what_waits_tells_nothing_and_hangs_up() -> None:
    bed = Bed()
    bed.items.next = [None, REFUSED]
    hanging, between = bed.locate(), bed.locate(item_id(1))
    await settle()
    before, loop = len(asyncio.all_tasks()), asyncio.get_running_loop()
    asked_at = loop.time()
    await bed.catalogue.stop()
    assert loop.time() == asked_at
    assert hanging == between == []
    assert bed.items.closed == 1
    assert bed.statistics.waiting == 0
    assert len(asyncio.all_tasks()) == before - 2
    assert bed.statistics.circuit == "closed"


async def test_statistics_say_what_was_asked_and_how_it_went() -> None:
    bed = Bed()
    bed.items.next = [found("a"), REFUSED, found(), status(403)]
    await bed.search()
    await bed.search()
    await bed.refused()
    await bed.search()
    bed.items.next = [None]
    bed.locate()
    await settle()
    assert bed.statistics == HttpCatalogueStatistics(
        requests=6,
        retries=1,
        failures=2,
        hits=1,
        misses=2,
        unavailable=1,
        waiting=1,
        circuit="closed",
        last_error=None,
    )
    await bed.catalogue.stop()


async def test_a_thousand_searches_leave_nothing_behind() -> None:
    bed = Bed()
    before = len(asyncio.all_tasks())
    for number in range(1000):
        await bed.search(item_id(number))
    assert bed.catalogue._searches == set()
    assert len(asyncio.all_tasks()) == before
