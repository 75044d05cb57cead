"""The catalogue over HTTP: time limits, the circuit breaker, the probe, and readiness."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import item_id
from support.items_over_http import LASTING, REFUSED, Bed, found, status, unknown
from support.settling import settle

from catalogue.http.catalogue import (
    AT_ONCE,
    MARGIN,
    NOBODY,
    THRESHOLD,
    WATCH,
    HttpCatalogueStatistics,
)
from catalogue.http.responses import Answer
from domain.messages import CatalogueUnavailable, ContainersFound, ItemUnknown

pytestmark = pytest.mark.usefixtures("no_retry_hooks")


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
    assert bed.statistics.waiting == 0
    assert len(asyncio.all_tasks()) == before
