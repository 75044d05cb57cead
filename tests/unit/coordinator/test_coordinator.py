"""The coordinator with real censors: admission, reuse, drain and statistics."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.fakes import FakePublication, gone, item_id, places
from support.office import office
from support.settling import settle

from actors.runtime.dead_letters import DEAD_LETTERS
from coordinator.coordinator import CoordinatorStatistics
from domain.messages import (
    CensorFailed,
    CensorFinished,
    Deleted,
    NotFound,
    Refused,
    TakedownId,
    TimedOut,
    Unavailable,
)


async def test_a_takedown_is_answered_by_its_censor() -> None:
    async with office() as own:
        answer = own.ask()
        await settle()
        assert not answer.done()
        own.delete("a", "b")
        assert await answer == Deleted((gone("a"), gone("b")))


async def test_each_of_two_takedowns_of_the_same_item_is_answered() -> None:
    async with office() as own:
        one, two = own.ask(), own.ask()
        await settle()
        assert own.now.in_flight == 2
        own.delete("a", "b")
        assert await one == await two == Deleted((gone("a"), gone("b")))


async def test_past_the_maximum_a_caller_is_refused_at_once() -> None:
    async with office(pool_max=2) as own:
        accepted = [own.ask(), own.ask()]
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        refusal = await own.ask()
        assert loop.time() == asked_at
        assert refusal == Unavailable(
            "overloaded", "2 takedowns are in flight, which is the maximum"
        )
        assert refusal.retry_after >= 1
        assert len(own.publisher.publications) == 2
        own.delete("a", "b")
        await asyncio.gather(*map(_await, accepted))
        again = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await again, Deleted)
        assert len(own.censors) == 2


async def test_a_censor_is_flushed_and_used_again() -> None:
    async with office() as own:
        for _ in range(5):
            answer = own.ask()
            await settle()
            own.delete("a", "b")
            assert isinstance(await answer, Deleted)
            await settle()
        (censor,) = own.censors
        actor = censor.actor()
        assert actor is not None
        assert [entry.event for entry in actor.log][-1] == "Flush"
        assert censor.statistics().restarts == 0


async def test_a_censor_is_flushed_before_it_begins_again_though_both_come_at_once() -> None:
    async with office(pool_max=1) as own:
        first = own.ask()
        await settle()
        own.delete("a", "b")
        second = None
        for _ in range(20):
            await asyncio.sleep(0)
            if own.now.idle:
                second = own.ask()  # the flush may still be in the censor's mailbox
                break
        assert second is not None
        await settle()
        own.delete("a", "b")
        assert isinstance(await first, Deleted)
        assert isinstance(await second, Deleted)


async def test_what_is_not_ready_is_refused_with_the_reason_and_nothing_is_published() -> None:
    async with office() as own:
        own.missing = "catalogue: not caught up"
        assert await own.ask() == Unavailable("not-ready", "catalogue: not caught up")
        assert own.publisher.publications == []
        assert own.censors == []
        own.missing = None
        answer = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)


async def test_a_takedown_that_began_is_finished_though_readiness_is_lost() -> None:
    async with office() as own:
        answer = own.ask()
        await settle()
        own.missing = "kafka producer: not connected"
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)


async def test_every_ending_is_answered_and_counted() -> None:
    async with office() as own:
        unknown = own.ask(item_id(1))
        assert await unknown == NotFound()
        timed_out = own.ask(seconds=3)
        assert await timed_out == TimedOut((), places("a", "b"))
        refused = own.ask()
        await settle()
        own.publisher.last.fail(published=1)
        assert await refused == Refused("refused", places("a"), places("b"), (), places("a", "b"))
        own.publisher.on_publish = _unreachable
        assert await own.ask() == Unavailable("kafka-unreachable", "refused")
        own.publisher.on_publish = None
        deleted = own.ask()
        await settle()
        own.delete("a", "b")
        await deleted
        own.missing = "something"
        await own.ask()
        await settle()
        assert own.now == CoordinatorStatistics(
            in_flight=0,
            idle=1,
            waiting=0,
            maximum=10,
            draining=False,
            accepted=5,
            rejected={"not-ready": 1},
            outcomes={
                "NotFound": 1,
                "TimedOut": 1,
                "Refused": 1,
                "Unavailable": 1,
                "Deleted": 1,
            },
            restarts=0,
            replaced=0,
        )


async def test_statistics_are_a_picture_of_the_moment() -> None:
    async with office(pool_max=2) as own:
        answers = [own.ask(), own.ask(), own.ask()]
        await settle()
        before = own.now
        assert (before.in_flight, before.idle, before.accepted) == (2, 0, 2)
        assert before.rejected == {"overloaded": 1}
        own.delete("a", "b")
        await asyncio.gather(*map(_await, answers))
        await settle()
        assert (own.now.in_flight, own.now.idle) == (0, 2)
        assert before.rejected == {"overloaded": 1}
        assert before.outcomes == {}


async def test_a_caller_that_hangs_up_does_not_stop_its_takedown() -> None:
    async with office() as own:
        waiting = asyncio.create_task(_await(own.ask()))
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert own.now.in_flight == 1
        assert own.publisher.last.stops == 0
        own.delete("a", "b")
        await settle()
        assert own.now.outcomes == {"Deleted": 1}
        assert own.now.idle == 1


async def test_draining_with_nothing_in_flight_completes_at_once() -> None:
    async with office() as own:
        assert await own.drain() is None
        assert own.now.draining


async def test_draining_refuses_what_is_new_and_completes_when_the_rest_is_done() -> None:
    async with office() as own:
        one, two = own.ask(), own.ask(seconds=5)
        await settle()
        drained = own.drain()
        refusal = await own.ask()
        assert refusal == Unavailable("shutting-down", "This instance is shutting down")
        await asyncio.sleep(3)
        own.delete("a")
        await settle()
        assert not drained.done()
        assert isinstance(await two, TimedOut)
        await settle()
        assert not drained.done()
        own.delete("b")
        assert isinstance(await one, Deleted)
        assert await drained is None
        assert own.now.rejected == {"shutting-down": 1}


async def test_everyone_who_asks_to_drain_is_told() -> None:
    async with office() as own:
        answer = own.ask(seconds=2)
        await settle()
        drains = [own.drain(), own.drain()]
        await answer
        assert [await drained for drained in drains] == [None, None]


async def test_shutting_down_is_said_before_not_ready() -> None:
    async with office() as own:
        await own.drain()
        own.missing = "shutting down"
        assert (await own.ask()).reason == "shutting-down"


async def test_news_of_a_takedown_that_nobody_knows_changes_nothing() -> None:
    async with office() as own:
        answer = own.ask()
        await settle()
        (censor,) = own.censors
        own.ref.tell(CensorFinished("urn:nobody", TakedownId("x"), NotFound()))
        own.ref.tell(CensorFinished(censor.actor_urn, TakedownId("x"), NotFound()))
        own.ref.tell(CensorFailed("urn:nobody", "error", alive=True))
        await settle()
        assert (own.now.in_flight, own.now.idle) == (1, 0)
        assert own.now.outcomes == {}
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)


async def test_stopping_the_coordinator_answers_what_is_in_flight_and_stops_every_censor() -> None:
    async with office() as own:
        first = own.ask()
        await settle()
        own.delete("a", "b")
        await first
        answer, other = own.ask(), own.ask()
        await settle()
        before = DEAD_LETTERS.count
        await own.ref.stop()
        assert type(await answer).__name__ == type(await other).__name__ == "Failed"
        await settle()
        assert not any(censor.is_alive() for censor in own.censors)
        assert own.bus.statistics().keys == 0
        assert DEAD_LETTERS.count == before


async def test_a_message_that_it_does_not_know_is_survived() -> None:
    async with office() as own:
        own.ref.tell("what is this?")
        await settle()
        assert own.ref.is_alive()
        assert own.failures == []


async def test_a_dead_censor_in_the_pool_costs_nobody_a_place() -> None:
    async with office(pool_max=1) as own:
        answer = own.ask(seconds=1)
        await answer
        await settle()
        await own.censors[0].stop()
        await own.ask(seconds=1)  # may fail, at once
        await settle()
        again = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await again, Deleted)


@pytest.mark.parametrize("seconds", [0.0, -0.2])
async def test_a_takedown_whose_deadline_has_passed_is_answered_all_the_same(
    seconds: float,
) -> None:
    async with office() as own:
        assert isinstance(await own.ask(seconds=seconds), Unavailable)
        assert own.publisher.publications == []


def _unreachable(publication: FakePublication) -> None:
    publication.fail(handed_over=False)


async def _await(answer: Any) -> Any:
    return await answer
