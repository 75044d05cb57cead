"""Takedowns that wait for a Kafka that is away for a moment, on the virtual clock."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from support.fakes import ITEM, places, takedown_now
from support.office import Office, office
from support.settling import settle

from actors.runtime.future import LoopFuture
from coordinator.coordinator import _AT_ONCE
from domain.messages import Deleted, Failed, TakeDown, Unavailable

AWAY = "kafka producer: broker 1 refuses connections"


def now() -> float:
    return asyncio.get_running_loop().time()


async def given_200(own: Office, *answers: LoopFuture[Any]) -> None:
    await own.settle()
    own.delete("a", "b")
    assert {type(await answer) for answer in answers} == {Deleted}


async def test_a_takedown_waits_for_kafka_and_then_begins_with_nothing_published_before() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answer = own.ask()
        await asyncio.sleep(1.9)
        assert not answer.done()
        assert own.publisher.publications == []
        assert own.censors == []
        assert (own.now.waiting, own.now.in_flight, own.now.accepted) == (1, 0, 0)
        own.missing = None
        await asyncio.sleep(0.03)
        assert len(own.publisher.publications) == 1
        await given_200(own, answer)
        assert own.now.waiting == 0


async def test_a_wait_that_ends_first_is_a_503_after_which_nothing_is_ever_published() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answer, began = own.ask(), now()
        assert await answer == Unavailable("not-ready", AWAY)
        assert 2 <= now() - began < 2.05
        own.missing = None
        await asyncio.sleep(5)
        assert own.publisher.publications == []
        assert own.now.rejected == {"not-ready": 1}


async def test_the_deadline_ends_the_wait_earlier() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answer, began = own.ask(seconds=1), now()
        assert await answer == Unavailable("not-ready", AWAY)
        assert 0.85 < now() - began < 1


async def test_the_time_counts_from_when_the_request_was_accepted() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        accepted = TakeDown(takedown_now(ITEM))
        await asyncio.sleep(1.5)  # as in a mailbox of a process that was stopped
        began = now()
        answer = own.ref.ask(accepted, timeout=10)
        assert await answer == Unavailable("not-ready", AWAY)
        assert now() - began < 0.55


async def test_without_a_time_to_wait_the_answer_is_there_at_once() -> None:
    async with office(wait=0) as own:
        own.missing = AWAY
        began = now()
        assert await own.ask() == Unavailable("not-ready", AWAY)
        assert now() == began


async def test_what_will_not_pass_is_not_waited_for() -> None:
    async with office(wait=2) as own:
        own.missing, own.may_pass = "topic settings: item_published deletes old records", False
        began = now()
        assert (await own.ask()).reason == "not-ready"
        assert now() == began


async def test_what_turns_out_not_to_pass_ends_the_wait_at_once() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answer, began = own.ask(), now()
        await asyncio.sleep(0.5)
        own.missing, own.may_pass = "catalogue: the disk is full", False
        assert await answer == Unavailable("not-ready", "catalogue: the disk is full")
        assert now() - began < 0.55


async def test_no_more_wait_than_could_begin_and_one_more_is_refused_at_once() -> None:
    async with office(wait=2, pool_max=3) as own:
        in_flight = own.ask()
        await settle()
        own.missing = AWAY
        waiting = [own.ask() for _ in range(2)]
        await settle()
        began = now()
        assert await own.ask() == Unavailable("not-ready", AWAY)
        assert now() == began
        own.missing = None
        await asyncio.sleep(0.03)
        await given_200(own, in_flight, *waiting)


async def test_one_who_comes_later_does_not_take_the_place_of_one_who_waits() -> None:
    async with office(wait=2, pool_max=1) as own:
        own.missing = AWAY
        first = own.ask()
        await settle()
        own.missing = None
        second = own.ask()  # comes before the next look
        await asyncio.sleep(0.03)
        assert (await second).reason == "overloaded"
        await given_200(own, first)


async def test_very_many_who_waited_begin_in_slices() -> None:
    async with office(wait=2, pool_max=1000) as own:
        own.missing = AWAY
        answers = [own.ask() for _ in range(5 * _AT_ONCE)]
        await own.settle()
        assert own.now.waiting == 5 * _AT_ONCE
        own.missing = None
        begun = [0]
        await asyncio.sleep(0.02)
        while own.now.waiting:
            await asyncio.sleep(0)
            begun.append(own.now.accepted)
        steps = {after - before for before, after in itertools.pairwise(begun)}
        assert max(steps) <= _AT_ONCE
        await asyncio.sleep(0.01)
        await given_200(own, *answers)


async def test_a_shutdown_answers_those_who_wait_at_once() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answer, began = own.ask(), now()
        await settle()
        assert await own.drain() is None
        assert (await answer).reason == "shutting-down"
        assert now() == began


async def test_a_coordinator_that_stops_answers_those_who_wait_that_nothing_was_published() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answer = own.ask()
        await settle()
        await own.ref.stop()
        assert isinstance(await answer, Unavailable)


async def test_a_crash_of_the_coordinator_answers_those_who_wait() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answers = [own.ask() for _ in range(3)]
        await settle()
        own.why_not_ready_raises = ValueError("broken check")
        await asyncio.sleep(0.05)
        assert [type(await answer) for answer in answers] == [Unavailable] * 3
        own.why_not_ready_raises, own.missing = None, None
        again = own.ask()
        await given_200(own, again)


async def test_one_who_waited_and_finds_no_censor_to_start_is_answered() -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        answers = [own.ask() for _ in range(2)]
        await settle()
        own.start_raises = OSError("no more censors")
        own.missing = None
        outcomes = [await answer for answer in answers]
        assert {type(outcome) for outcome in outcomes} == {Failed, Unavailable}
        own.start_raises = None


async def test_those_who_never_had_to_wait_need_no_timer() -> None:
    async with office(wait=2) as own:
        answer = own.ask()
        await given_200(own, answer)
        assert own.now.waiting == 0
        assert own.catalogue.items[ITEM] == places("a", "b")


@pytest.mark.parametrize("seconds", [0.05, 0.0])
async def test_a_deadline_that_leaves_no_time_to_wait_is_answered_at_once(seconds: float) -> None:
    async with office(wait=2) as own:
        own.missing = AWAY
        began = now()
        assert await own.ask(seconds=seconds) == Unavailable("not-ready", AWAY)
        assert now() == began
