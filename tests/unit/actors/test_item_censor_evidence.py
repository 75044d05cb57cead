"""The censor as an actor, of an item whose newest list is not known yet or cannot be read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support.fakes import ITEM, T0, FakeReply, deletion, gone, places
from support.settling import settle
from support.stage import Stage

from actors.item_censor.states import ReportStaleDeletion, State
from domain.messages import (
    CatalogueUnavailable,
    Deleted,
    ItemInDoubt,
    NotFound,
    PublishFailed,
    Refused,
    Takedown,
    TimedOut,
    Unavailable,
)


async def begun(*names: str, **options: Any) -> tuple[Stage, Takedown, FakeReply]:
    """A takedown that has begun before there was evidence; every request is acknowledged."""
    stage = Stage("nowhere", **options)
    stage.catalogue.items = {ITEM: places(*names)}
    stage.catalogue.proven = False
    stage.catalogue.listed_at = T0
    mine, reply = stage.begin()
    await settle()
    if names:
        stage.publisher.last.acknowledge()
    await settle()
    return stage, mine, reply


async def test_requests_are_published_at_once_and_the_200_waits_for_the_evidence() -> None:
    stage, _, reply = await begun("a", "b")
    stage.delete("a", "b")
    await settle()
    assert reply.outcomes == []
    assert stage.actor.state is State.ACTIVE

    stage.catalogue.catch_up()
    await settle()
    assert reply.outcome == Deleted((gone("a"), gone("b")))
    await stage.close()


async def test_a_newer_list_that_is_read_before_the_evidence_is_taken_down_too() -> None:
    stage, _, reply = await begun("a")
    stage.delete("a")
    stage.list_anew("a", "b", after=0.5)
    stage.catalogue.catch_up()
    await settle()
    assert reply.outcomes == []
    assert stage.publisher.last.containers == places("b")

    stage.publisher.last.acknowledge()
    stage.delete("b")
    await settle()
    assert reply.outcome == Deleted((gone("a"), gone("b")))
    await stage.close()


async def test_a_container_that_was_populated_again_is_asked_for_again() -> None:
    stage, _, reply = await begun("a")
    stage.delete("a", after=1)
    stage.list_anew("a", after=60)
    stage.catalogue.catch_up()
    await settle()
    assert reply.outcomes == []
    assert [p.containers for p in stage.publisher.publications] == [places("a"), places("a")]

    stage.delete("a", after=61)
    await settle()
    assert reply.outcome == Deleted((gone("a", after=61),))
    assert stage.stale == []
    await stage.close()


async def test_without_evidence_it_is_a_504_that_says_so_and_not_a_200() -> None:
    stage, _, reply = await begun("a")
    stage.delete("a")
    await asyncio.sleep(11)
    assert reply.outcome == TimedOut(places("a"), (), proven=False)
    await stage.close()


async def test_the_evidence_of_an_earlier_takedown_is_not_this_ones() -> None:
    stage, _, first = await begun("a")
    stage.delete("a")
    await asyncio.sleep(11)
    assert isinstance(first.outcome, TimedOut)
    _, second = stage.begin()
    await settle()
    stage.delete("a")
    stage.catalogue.searches = stage.catalogue.searches[:1]
    stage.catalogue.catch_up()
    await settle()
    assert second.outcomes == []
    await asyncio.sleep(11)
    await stage.close()


async def test_an_item_in_no_container_is_a_404_only_on_evidence() -> None:
    stage, _, reply = await begun()
    assert reply.outcomes == []
    assert stage.publisher.publications == []

    stage.catalogue.catch_up()
    await settle()
    assert reply.outcome == NotFound()
    await stage.close()


async def test_without_evidence_an_item_in_no_container_is_a_503() -> None:
    stage, _, reply = await begun()
    await asyncio.sleep(11)
    assert isinstance(reply.outcome, Unavailable)
    assert reply.outcome.reason == "not-ready"
    assert stage.publisher.publications == []
    await stage.close()


async def test_an_item_that_comes_into_doubt_gets_no_200_until_a_list_can_be_read() -> None:
    stage, _, reply = await begun("a")
    stage.catalogue.catch_up()
    stage.bus.publish(ItemInDoubt(ITEM, T0 + timedelta(seconds=1)))
    stage.delete("a")
    await settle()
    assert reply.outcomes == []

    stage.list_anew("a", "b", after=0.5)
    stage.delete("b")
    await settle()
    stage.publisher.last.acknowledge()
    stage.delete("b")
    await settle()
    assert reply.outcome == Deleted((gone("a"), gone("b")))
    await stage.close()


async def test_an_item_that_stays_in_doubt_is_a_504_that_says_so() -> None:
    stage, _, reply = await begun("a")
    stage.catalogue.catch_up()
    stage.bus.publish(ItemInDoubt(ITEM, T0))
    stage.delete("a")
    await asyncio.sleep(11)
    assert reply.outcome == TimedOut(places("a"), (), doubted=True)
    await stage.close()


async def test_an_item_in_doubt_is_a_503_with_its_own_reason() -> None:
    stage = Stage()
    stage.catalogue.silent = True
    mine, reply = stage.begin()
    await settle()
    ((_, tell),) = stage.catalogue.searches
    tell(CatalogueUnavailable(mine.takedown_id, "no JSON", "item-in-doubt"))
    await settle()
    assert reply.outcome == Unavailable("item-in-doubt", "no JSON")
    await stage.close()


async def test_a_replayed_deletion_confirms_nothing_and_is_reported() -> None:
    stage, mine, reply = await begun("a")
    stage.catalogue.catch_up()
    stage.delete("a", after=-3600)
    await settle()
    assert reply.outcomes == []
    assert stage.stale == [
        ReportStaleDeletion(mine.takedown_id, deletion("a", after=-3600), T0),
    ]

    stage.delete("a", after=2)
    await settle()
    assert reply.outcome == Deleted((gone("a", after=2),))
    assert len(stage.stale) == 1
    await stage.close()


@pytest.mark.parametrize(("tolerance", "counts"), [(0.0, False), (5.0, False), (10.0, True)])
async def test_the_tolerance_between_the_clocks_is_a_setting(
    tolerance: float, counts: bool
) -> None:
    stage, _, _ = await begun("a", clock_tolerance=timedelta(seconds=tolerance))
    stage.catalogue.catch_up()
    stage.delete("a", after=-10)
    await settle()
    assert (stage.actor.state is State.IDLE) is counts
    assert len(stage.stale) == (not counts)
    await stage.close()


async def test_a_refusal_that_rules_out_a_200_ends_it_while_others_are_on_their_way() -> None:
    stage = Stage("a", "b", "c")
    _, reply = stage.begin()
    await settle()
    stage.publisher.last.fail(published=1, unacknowledged=1)
    await settle()
    a, b, c = (places(name) for name in "abc")
    assert reply.outcome == Refused("refused", a, b, (), (*a, *b, *c), c)
    assert stage.publisher.last.stops == 1
    await stage.close()


async def test_a_refusal_of_what_is_deleted_waits_for_the_others() -> None:
    stage = Stage("a", "b", "c")
    _, reply = stage.begin()
    await settle()
    stage.delete("a")
    stage.publisher.last.fail(unacknowledged=2)
    stage.list_anew("a", "b", "c", "d", after=0.5)
    await settle()
    assert len(stage.publisher.publications) == 1, "the first is not settled"

    first = stage.publisher.last
    # All of it is settled: the others are acknowledged.
    first.tell(
        PublishFailed(first.takedown.takedown_id, "refused", True, places("b", "c"), places("a"))
    )
    await settle()
    assert stage.publisher.last.containers == places("d")
    stage.publisher.last.acknowledge()
    stage.delete("b", "c", "d")
    await settle()
    assert isinstance(reply.outcome, Deleted)
    await stage.close()
