"""The censor as an actor: with a real bus, a virtual clock, and fakes for Kafka."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import (
    ITEM,
    OTHER_ITEM,
    FakeCatalogue,
    FakePublication,
    FakeReply,
    deletion,
    gone,
    places,
    takedown_now,
)
from support.settling import settle
from support.stage import Stage

from actors.item_censor.states import State
from domain.messages import (
    Begin,
    CensorFinished,
    Deleted,
    Flush,
    NotFound,
    Refused,
    TimedOut,
    Unavailable,
)


async def test_every_container_confirmed_is_a_200() -> None:
    stage = Stage("a", "b")
    mine, reply = stage.begin()
    await settle()
    assert stage.publisher.last.containers == places("a", "b")
    stage.publisher.last.acknowledge()
    stage.delete("b")
    await settle()
    assert reply.outcomes == []
    stage.delete("a")
    await settle()
    outcome = Deleted((gone("b"), gone("a")))
    assert reply.outcome == outcome
    assert stage.told == [CensorFinished(stage.ref.actor_urn, mine.takedown_id, outcome)]
    assert stage.actor.state is State.IDLE
    assert stage.clean()
    await stage.close()


async def test_an_item_that_the_catalogue_does_not_know_is_a_404_and_nothing_is_published() -> None:
    stage = Stage()
    _, reply = stage.begin()
    await settle()
    assert reply.outcome == NotFound()
    assert stage.publisher.publications == []
    assert stage.clean()
    await stage.close()


async def test_an_item_that_is_in_no_container_any_more_is_a_404() -> None:
    stage = Stage()
    stage.catalogue.items[ITEM] = ()
    _, reply = stage.begin()
    await settle()
    assert reply.outcome == NotFound()
    assert stage.publisher.publications == []
    await stage.close()


async def test_a_catalogue_that_is_behind_is_a_503_and_nothing_is_published() -> None:
    stage = Stage("a")
    stage.catalogue.behind = "catching up"
    _, reply = stage.begin()
    await settle()
    assert reply.outcome == Unavailable("not-ready", "catching up")
    assert stage.publisher.publications == []
    await stage.close()


async def test_a_silent_catalogue_is_a_503_exactly_at_the_deadline() -> None:
    stage = Stage("a")
    stage.catalogue.silent = True
    mine, reply = stage.begin()
    await asyncio.sleep(9.999)
    assert reply.outcomes == []
    await asyncio.sleep(0.002)
    assert isinstance(reply.outcome, Unavailable)
    assert stage.actor.log[-1].at == pytest.approx(mine.deadline)
    assert stage.publisher.publications == []
    await stage.close()


@pytest.mark.parametrize("seconds", [0.3, 10.0])
async def test_the_time_runs_out_exactly_at_the_deadline_with_true_lists(seconds: float) -> None:
    stage = Stage("a", "b", "c")
    mine, reply = stage.begin(seconds=seconds)
    await settle()
    stage.publisher.last.acknowledge()
    stage.delete("b")
    await asyncio.sleep(seconds - 0.001)
    assert reply.outcomes == []
    await asyncio.sleep(0.002)
    assert reply.outcome == TimedOut(places("b"), places("a", "c"))
    assert stage.actor.log[-1].at == pytest.approx(mine.deadline)
    assert stage.publisher.last.stops == 1
    assert stage.clean()
    await stage.close()


async def test_the_deadline_counts_from_acceptance_and_not_from_the_beginning() -> None:
    stage = Stage("a")
    mine, reply = takedown_now(), FakeReply()
    await asyncio.sleep(4)  # it waited somewhere
    stage.ref.tell(Begin(mine, reply))
    await asyncio.sleep(5.9)
    assert reply.outcomes == []
    await asyncio.sleep(0.2)
    assert isinstance(reply.outcome, TimedOut)
    await stage.close()


async def test_no_event_moves_the_deadline() -> None:
    stage = Stage("a", "b", "c", "d")
    _, reply = stage.begin()
    await asyncio.sleep(3)
    stage.publisher.last.acknowledge()
    await asyncio.sleep(3)
    stage.delete("a", "b")
    await asyncio.sleep(3.9)
    stage.delete("c")
    await asyncio.sleep(0.2)
    assert reply.outcome == TimedOut(places("a", "b", "c"), places("d"))
    await stage.close()


async def test_nothing_handed_over_to_kafka_is_a_503() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.publisher.last.fail(handed_over=False, cause="no broker")
    await settle()
    assert reply.outcome == Unavailable("kafka-unreachable", "no broker")
    assert stage.clean()
    await stage.close()


async def test_a_publish_that_failed_in_part_is_a_502_with_true_lists() -> None:
    stage = Stage("a", "b", "c")
    _, reply = stage.begin()
    await settle()
    stage.delete("b")
    stage.publisher.last.fail(published=2)
    await settle()
    assert reply.outcome == Refused(
        "refused", places("a", "b"), places("c"), places("b"), places("a", "c")
    )
    assert stage.clean()
    await stage.close()


async def test_a_failure_for_what_is_already_deleted_does_not_end_the_takedown() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.delete("b")
    stage.publisher.last.fail(published=1)
    await settle()
    assert reply.outcomes == []
    stage.delete("a")
    await settle()
    assert reply.outcome == Deleted((gone("b"), gone("a")))
    await stage.close()


async def test_it_is_subscribed_before_anything_is_published() -> None:
    """So a deletion that comes within the call of `publish` itself is not missed."""
    stage = Stage("a", "b")

    def delete_at_once(_publication: FakePublication) -> None:
        assert stage.bus.statistics().keys == 3  # the two, and the item's lists
        stage.delete("a", "b")

    stage.publisher.on_publish = delete_at_once
    _, reply = stage.begin()
    await settle()
    assert isinstance(reply.outcome, Deleted)
    await stage.close()


async def test_a_deletion_may_come_before_the_acknowledgement() -> None:
    stage = Stage("a")
    _, reply = stage.begin()
    await settle()
    stage.delete("a")
    await settle()
    assert isinstance(reply.outcome, Deleted)
    stage.publisher.last.acknowledge()  # late, and of no interest
    await settle()
    assert stage.actor.state is State.IDLE
    assert stage.publisher.last.stops == 1
    await stage.close()


async def test_foreign_and_doubled_deletions_complete_nothing() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.delete("a", "a", "a", "elsewhere")
    stage.bus.publish(deletion("b", OTHER_ITEM))
    stage.ref.tell(deletion("b", OTHER_ITEM))
    await settle()
    assert reply.outcomes == []
    stage.delete("b")
    await settle()
    assert isinstance(reply.outcome, Deleted)
    await stage.close()


async def test_events_that_come_when_all_is_over_are_ignored() -> None:
    stage = Stage("a")
    mine, reply = stage.begin()
    await settle()
    stage.delete("a")
    await settle()
    assert len(reply.outcomes) == 1
    stage.ref.tell(deletion("a"))
    stage.publisher.last.acknowledge()
    stage.publisher.last.fail()
    FakeCatalogue({ITEM: places("x")}).locate(mine, stage.ref.try_tell)
    FakeCatalogue().locate(mine, stage.ref.try_tell)
    FakeCatalogue(behind="late").locate(mine, stage.ref.try_tell)
    await asyncio.sleep(60)
    assert stage.ref.is_alive()
    assert stage.actor.state is State.IDLE
    assert len(reply.outcomes) == 1
    assert len(stage.told) == 1
    await stage.close()


async def test_a_censor_is_used_again_and_again() -> None:
    stage = Stage("a", "b")
    for _ in range(5):
        _, reply = stage.begin()
        await settle()
        stage.delete("a", "b")
        await settle()
        assert isinstance(reply.outcome, Deleted)
        stage.ref.tell(Flush())
    await settle()
    assert len(stage.told) == 5
    await asyncio.sleep(60)
    assert stage.ref.is_alive()
    await stage.close()


async def test_nothing_of_the_last_takedown_reaches_the_next() -> None:
    stage = Stage("a", "b")
    _, first = stage.begin(seconds=5)
    await settle()
    old = stage.publisher.last
    await asyncio.sleep(5.1)
    assert isinstance(first.outcome, TimedOut)
    stage.ref.tell(Flush())
    _, second = stage.begin(seconds=20)
    await settle()
    old.fail(handed_over=False)
    old.acknowledge()
    await asyncio.sleep(19)
    assert second.outcomes == []
    stage.delete("a", "b")
    await settle()
    assert isinstance(second.outcome, Deleted)
    assert len(first.outcomes) == 1
    await stage.close()


async def test_a_takedown_that_ends_stops_its_publication_once() -> None:
    stage = Stage("a")
    stage.begin()
    await settle()
    assert stage.publisher.last.stops == 0
    stage.delete("a")
    stage.ref.tell(Flush())
    await settle()
    assert stage.publisher.last.stops == 1
    await stage.close()


async def test_a_censor_that_is_stopped_leaves_nothing_behind() -> None:
    stage = Stage("a", "b")
    stage.begin()
    await settle()
    assert not stage.clean()
    await stage.ref.stop()
    assert stage.clean()
    assert stage.publisher.last.stops == 1
    await stage.close()


async def test_a_censor_that_crashes_leaves_nothing_behind_and_does_not_answer() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.ref.tell("what is this?")
    await settle()
    assert not stage.ref.is_alive()
    assert stage.clean()
    assert stage.publisher.last.stops == 1
    assert reply.outcomes == []  # the coordinator's to give
    assert stage.told == []
    await stage.close()


async def test_a_censor_whose_publisher_raises_leaves_no_subscription_behind() -> None:
    stage = Stage("a", "b", supervised=True)

    def broken(_publication: FakePublication) -> None:
        raise ValueError("broken publisher")

    stage.publisher.on_publish = broken
    stage.begin()
    await settle()
    assert [str(error) for error in stage.supervisor.errors] == ["broken publisher"]
    assert stage.clean()
    await stage.close()


async def test_a_censor_whose_publication_cannot_be_stopped_is_off_the_bus_all_the_same() -> None:
    stage = Stage("a", "b")

    def unstoppable(publication: FakePublication) -> None:
        publication.stop = broken  # type: ignore[method-assign]

    def broken() -> None:
        raise ValueError("cannot stop")

    stage.publisher.on_publish = unstoppable
    stage.begin()
    await settle()
    stage.ref.tell("what is this?")
    await settle()
    assert not stage.ref.is_alive()
    assert stage.clean()
    await stage.close()


async def test_a_restarted_censor_answers_its_next_caller_and_not_the_last_one() -> None:
    stage = Stage("a", supervised=True)
    _, first = stage.begin()
    await settle()
    stage.ref.tell("what is this?")
    await settle()
    assert stage.ref.is_alive()
    assert stage.clean()
    assert stage.actor._reply is None
    _, second = stage.begin()
    await settle()
    stage.delete("a")
    await settle()
    assert isinstance(second.outcome, Deleted)
    assert first.outcomes == []
    assert len(stage.supervisor.errors) == 1
    await stage.close()


async def test_a_second_takedown_while_one_is_carried_is_a_defect_that_answers_nobody_else() -> (
    None
):
    stage = Stage("a")
    _, first = stage.begin()
    await settle()
    _, second = stage.begin()
    await settle()
    assert not stage.ref.is_alive()
    assert first.outcomes == second.outcomes == []
    assert stage.clean()
    await stage.close()


async def test_a_caller_that_was_answered_by_another_does_not_make_the_censor_fail() -> None:
    """The coordinator answers what is in flight when it crashes; the last deletion may follow."""
    stage = Stage("a", supervised=True)
    _, reply = stage.begin()
    await settle()
    reply.set(NotFound())
    stage.delete("a")
    await settle()
    assert stage.supervisor.errors == []
    assert len(reply.outcomes) == 1
    assert len(stage.told) == 1
    await stage.close()
