"""Rates, quantiles and the last minutes; labels; what was lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import ITEM, T0, deletion
from support.lookout import lookout
from support.settling import settle

from actors.runtime.dead_letters import DeadLetter
from domain.messages import Deleted
from operations.observation.clock import Clock
from operations.observation.formatting import cut, facts
from operations.observation.histogram import BOUNDS, Histogram, quantile
from operations.observation.lost_messages import RecentLosses

values = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=50)


@given(values, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_the_bucket_of_the_true_one(
    seconds: list[float], share: float
) -> None:
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)

    found = quantile(histogram.counts, share)
    rank = max(0, -int(-share * len(seconds) // 1) - 1)
    true = sorted(seconds)[rank]
    upper = next((bound for bound in BOUNDS if true <= bound), BOUNDS[-1])
    lower = max((bound for bound in BOUNDS if bound < true), default=0.0)
    assert found is not None
    assert min(lower, BOUNDS[-1]) <= found <= upper


@given(values)
def test_a_histogram_counts_each_value_once_and_below_its_bound(seconds: list[float]) -> None:
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)

    told = histogram.cumulative()
    assert told[-1] == ("+Inf", float(len(seconds)))
    assert all(a[1] <= b[1] for a, b in pairwise(told))
    for bound, count in told[:-1]:
        assert count == sum(each <= float(bound) for each in seconds)
    assert histogram.total == pytest.approx(sum(seconds))


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile(Histogram().counts, 0.5) is None


async def test_rates_are_of_the_last_ten_seconds() -> None:
    async with lookout() as look:
        for second in range(30):
            look.deletions.read += 4 if second < 20 else 7
            await look.tick()

        rates = look.observatory.sampling.read_per_second()
        assert rates["item_deleted"] == 7
        assert rates["item_published"] == 0


async def test_outcomes_are_of_the_last_minute_and_in_the_history_for_longer() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        await asyncio.sleep(0.2)
        look.office.delete("a", "b")
        assert isinstance(await asked, Deleted)
        await settle()

        outcomes, latency, phases = look.observatory.sampling.last_minute()
        assert outcomes == {"Deleted": 1}
        assert latency.count == 1
        assert latency.p50_seconds == pytest.approx(0.2, abs=0.1)
        assert phases.deleted.count == 1
        await look.tick(70)
        outcomes, latency, _ = look.observatory.sampling.last_minute()
        assert (outcomes, latency.count, latency.p99_seconds) == ({}, 0, None)

        buckets = look.observatory.history(15).buckets
        assert [b.outcomes for b in buckets if b.outcomes] == [{"Deleted": 1}]
        assert sum(b.events_matched for b in buckets) == 2
        assert len(buckets) == 14
        assert all(bucket.seconds == pytest.approx(5, abs=0.3) for bucket in buckets)
        assert len(look.observatory.history(1).buckets) == 12


async def test_the_history_is_bounded() -> None:
    async with lookout() as look:
        await look.tick(16 * 60)
        assert len(look.observatory.sampling._buckets) == 180
        assert len(look.observatory.sampling._samples) == 61
        assert len(look.observatory.history(15).buckets) == 180


async def test_the_worst_lag_is_of_the_last_minute() -> None:
    async with lookout() as look:
        sampling = look.observatory.sampling
        await asyncio.sleep(1)
        sampling.tick(0.3)
        await look.tick(50)
        assert (sampling.lag, sampling.worst_lag) == (0.0, 0.3)
        await look.tick(15)
        assert sampling.worst_lag == 0.0


def test_labels_follow_the_loops_clock_and_not_the_wall_clock() -> None:
    now = 50.0
    clock = Clock(lambda: now, lambda: T0)
    assert clock.label(50.0) == "2026-01-02T03:04:05.678000Z"
    assert clock.label(51.5) == "2026-01-02T03:04:07.178000Z"
    # The wall clock is not asked again, wherever it jumps.
    jumped = Clock(lambda: now, iter([T0, T0 + timedelta(hours=1)]).__next__)
    assert jumped.label(49.0) == "2026-01-02T03:04:04.678000Z"


async def test_what_was_lost_is_kept_without_what_it_held() -> None:
    losses = RecentLosses(
        Clock(asyncio.get_running_loop().time, lambda: T0),
        dead_letters=lambda: 150,
        skipped=lambda: 250,
    )
    for number in range(150):
        losses.dead_letter(DeadLetter(deletion("secret"), f"ItemCensor (urn:uuid:{number})"))
        losses.skipped("item_deleted", 3, number, "<b>" + "x" * 1000)
    view = losses.view()
    assert (view.dead_letters_count, view.skipped_records_count) == (150, 250)
    assert (len(view.dead_letters), len(view.skipped_records)) == (100, 100)
    assert view.dead_letters[0].receiver.endswith("149)")
    assert view.dead_letters[0].message == "ItemDeleted"
    assert "secret" not in repr(view.dead_letters)
    skipped = view.skipped_records[0]
    assert (skipped.topic, skipped.partition, skipped.offset) == ("item_deleted", 3, 149)
    assert len(skipped.reason) == 200


async def test_a_dead_letter_of_an_actor_is_heard_of() -> None:
    async with lookout() as look:
        asked = look.office.ask(ITEM)
        await settle()
        censor = look.office.carrier()
        look.office.delete("a", "b")
        await asked
        await settle()
        await look.office.ref.stop()
        await settle()
        censor.try_tell(deletion("a"))
        (lost,) = look.observatory.lost().dead_letters
        assert lost.message == "ItemDeleted"
        assert "ItemCensor" in lost.receiver


def test_texts_are_cut_and_facts_are_plain() -> None:
    assert cut("x" * 200) == "x" * 200
    assert cut("x" * 201) == "x" * 199 + "…"
    assert facts(None) == {}
