"""What a crash costs: its own takedown, at once, and nothing else."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from pykka import ActorDeadError
from support.fakes import FakePublication, deletion, item_id, place
from support.office import Office, office
from support.settling import settle

from domain.messages import Deleted, Drain, Failed, ItemId, NotFound, Refused, TimedOut, Unavailable


async def test_the_caller_of_a_crashed_censor_hears_of_it_at_once() -> None:
    async with office() as own:
        answer = own.ask()
        await asyncio.sleep(2)
        crashed_at = asyncio.get_running_loop().time()
        await own.crash()
        assert await answer == Failed()
        assert asyncio.get_running_loop().time() == crashed_at


async def test_nothing_of_a_crashed_takedown_stays_in_the_bus_or_the_timers() -> None:
    async with office() as own:
        own.ask()
        await settle()
        assert (own.bus.statistics().keys, own.timers()) == (3, 1)  # its lists, too
        await own.crash()
        assert (own.bus.statistics().keys, own.timers()) == (0, 0)
        assert own.publisher.last.stops == 1
        own.assert_quiet()


async def test_a_crash_touches_no_other_takedown() -> None:
    async with office() as own:
        first = own.ask()
        await settle()
        victim = own.carrier()
        second = own.ask()
        await settle()
        await own.crash(victim)
        assert await first == Failed()
        own.delete("a", "b")
        assert isinstance(await second, Deleted)


async def test_a_restarted_censor_is_used_again() -> None:
    async with office() as own:
        own.ask()
        await settle()
        await own.crash()
        assert (own.now.restarts, own.now.replaced, own.now.idle) == (1, 0, 1)
        answer = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)
        await settle()
        assert len(own.censors) == 1
        assert own.now.outcomes == {"Failed": 1, "Deleted": 1}


async def test_the_fourth_crash_within_the_time_replaces_the_censor() -> None:
    async with office(pool_max=1) as own:
        for _ in range(4):
            answer = own.ask()
            await settle()
            await own.crash()
            assert await answer == Failed()
        assert not own.censors[0].is_alive()
        assert (own.now.restarts, own.now.replaced) == (3, 1)
        assert (own.now.in_flight, own.now.idle) == (0, 0)
        answer = own.ask()
        await settle()
        assert len(own.censors) == 2
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)


async def test_crashes_that_are_far_apart_replace_nobody() -> None:
    async with office() as own:
        for _ in range(10):
            own.ask()
            await settle()
            await own.crash()
            await asyncio.sleep(5.1)
        assert len(own.censors) == 1
        assert (own.now.restarts, own.now.replaced) == (10, 0)


async def test_a_censor_that_crashes_while_idle_fails_no_takedown() -> None:
    async with office() as own:
        answer = own.ask(seconds=1)
        await answer
        await settle()
        for expected in ((1, 0, 1), (2, 0, 1), (3, 0, 1), (3, 1, 0)):
            await own.crash(own.censors[0])
            assert (own.now.restarts, own.now.replaced, own.now.idle) == expected
        assert own.now.outcomes == {"TimedOut": 1}


async def test_a_takedown_that_is_still_in_the_mailbox_of_a_crashed_censor_is_not_forgotten() -> (
    None
):
    """It begins after the restart or it fails, but it is answered, once, and nothing is left."""
    async with office(pool_max=1) as own:
        await own.ask(seconds=1)
        await settle()
        (censor,) = own.censors
        censor.tell("what is this?")
        answer = own.ask(seconds=4)
        await asyncio.sleep(5)
        assert answer.done()
        assert isinstance(await answer, TimedOut | Failed)
        following = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await following, Deleted)


async def test_a_late_crash_is_not_laid_to_the_next_takedown() -> None:
    """What an idle censor failed on has nothing to do with the takedown that came behind it."""
    async with office(pool_max=1) as own:
        await own.ask(seconds=1)
        await settle()
        (censor,) = own.censors
        censor.actor_inbox.arrived.append("what is this?")  # and it has had no turn since then
        answer = own.ask()
        await settle()
        assert own.now.restarts == 1
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)


async def test_a_censor_that_died_in_the_pool_is_passed_over_and_counted_once() -> None:
    async with office(pool_max=1) as own:
        await own.ask(seconds=1)
        await settle()
        (censor,) = own.censors
        for _ in range(3):
            await own.crash(censor)
        censor.tell("the fourth")
        answer = own.ask()  # is handled before the news of the death
        await settle()
        assert (own.now.restarts, own.now.replaced, own.now.accepted) == (3, 1, 2)
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)
        assert len(own.censors) == 2


async def test_a_publisher_that_raises_fails_the_takedown_at_once() -> None:
    def broken(_publication: FakePublication) -> None:
        raise ValueError("broken publisher")

    async with office() as own:
        own.publisher.on_publish = broken
        assert await own.ask() == Failed()
        own.publisher.on_publish = None
        answer = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await answer, Deleted)


async def test_draining_completes_though_what_is_in_flight_crashes() -> None:
    async with office() as own:
        own.ask()
        await settle()
        drained = own.drain()
        await settle()
        assert not drained.done()
        await own.crash()
        assert await drained is None


async def test_a_crashed_coordinator_answers_all_in_flight_and_starts_afresh() -> None:
    async with office() as own:
        answers = [own.ask() for _ in range(3)]
        await settle()
        old = list(own.censors)
        own.why_not_ready_raises = ValueError("broken check")
        asked_at = asyncio.get_running_loop().time()
        with pytest.raises(ValueError, match="broken check"):
            await own.ask()
        assert [await answer for answer in answers] == [Failed()] * 3
        assert asyncio.get_running_loop().time() == asked_at
        await settle()
        assert own.ref.is_alive()
        assert not any(censor.is_alive() for censor in old)
        assert own.failures == [("broken check", True)]
        assert own.bus.statistics().keys == 0
        own.why_not_ready_raises = None
        again = own.ask()
        await settle()
        own.delete("a", "b")
        assert isinstance(await again, Deleted)


async def test_a_coordinator_that_cannot_start_a_censor_tells_the_caller_at_once() -> None:
    async with office() as own:
        own.start_raises = OSError("no more censors")
        with pytest.raises(OSError, match="no more censors"):
            await own.ask()
        assert own.ref.is_alive()


async def test_news_from_before_a_crash_of_the_coordinator_changes_nothing_after_it() -> None:
    async with office() as own:
        first = own.ask()
        await settle()
        own.why_not_ready_raises = ValueError("broken check")
        crashing = own.ask()
        own.delete("a", "b")  # the censor finishes in the same turn as the coordinator fails
        await settle()
        own.why_not_ready_raises = None
        assert isinstance(await first, Failed | Deleted)
        with pytest.raises(ValueError, match="broken check"):
            await crashing
        assert (own.now.in_flight, own.now.restarts, own.now.replaced) == (0, 0, 0)


async def test_a_coordinator_that_crashes_too_often_is_stopped_and_says_so() -> None:
    async with office() as own:
        own.why_not_ready_raises = ValueError("broken check")
        for _ in range(4):
            with pytest.raises(ValueError, match="broken check"):
                await own.ask()
        assert not own.ref.is_alive()
        assert [alive for _, alive in own.failures] == [True, True, True, False]
        with pytest.raises(ActorDeadError):
            await own.ask()


async def test_draining_goes_on_after_a_crash_of_the_coordinator() -> None:
    async with office() as own:
        own.ask()
        await settle()
        drained = own.drain()
        own.ref.tell(Drain())  # nobody can be answered, which is a defect of who told it
        assert await drained is None
        assert [alive for _, alive in own.failures] == [True]
        assert own.now.draining
        assert (await own.ask()).reason == "shutting-down"


async def test_after_a_thousand_takedowns_of_mixed_endings_everything_is_back() -> None:
    """I1 and I5: each has one answer in time, and nothing is left behind."""
    rng = random.Random(2)
    async with office(pool_max=50) as own:
        loop = asyncio.get_running_loop()
        kinds = ["deleted", "unknown", "timeout", "refused", "unreachable", "crash", "hang up"]
        outcomes: list[Any] = []

        async def one(number: int) -> None:
            item = item_id(number)
            kind = rng.choice(kinds)
            if kind != "unknown":
                own.catalogue.items[item] = tuple(place(f"c{n}") for n in range(rng.randint(1, 20)))
            started, seconds = loop.time(), rng.uniform(1, 10)
            answer = own.ask(item, seconds=seconds)
            await settle()
            await _play(own, kind, item, answer, rng)
            if kind == "hang up":
                answer._future.cancel()
                return
            outcome = await answer
            outcomes.append((kind, outcome))
            assert loop.time() <= started + seconds + 0.25

        tasks = []
        for number in range(1000):
            tasks.append(asyncio.ensure_future(one(number)))
            await asyncio.sleep(rng.uniform(0, 0.2))
        await asyncio.gather(*tasks)
        await asyncio.sleep(20)
        del tasks
        seen = {kind: {type(o) for k, o in outcomes if k == kind} for kind in kinds}
        overloaded = {Unavailable}
        assert seen["unknown"] - overloaded == {NotFound}
        assert seen["deleted"] - overloaded == {Deleted}
        assert seen["timeout"] - overloaded == {TimedOut}
        assert seen["refused"] - overloaded == {Refused}
        assert seen["unreachable"] == {Unavailable}
        assert seen["crash"] - overloaded == {Failed}
        statistics = own.now
        assert statistics.accepted == sum(statistics.outcomes.values())
        assert statistics.accepted + sum(statistics.rejected.values()) == 1000
        assert statistics.idle == len(own.censors) - statistics.replaced <= 50
        own.assert_quiet()


async def _play(own: Office, kind: str, item: ItemId, answer: Any, rng: random.Random) -> None:
    """Do to one takedown what its kind of ending asks for."""
    mine = [p for p in own.publisher.publications if p.takedown.item_id == item]
    if not mine or answer.done():
        return
    publication = mine[-1]
    if kind == "deleted":
        names = [c.container_id for c in publication.containers] * 2
        rng.shuffle(names)
        for name in names:
            own.bus.publish(deletion(name, item))
    elif kind == "refused":
        publication.fail(published=len(publication.containers) // 2)
    elif kind == "unreachable":
        publication.fail(handed_over=False)
    elif kind == "crash":
        publication.tell("what is this?")
