"""The censor as an actor, of an item whose lists change while its takedown is in flight."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import (
    ITEM,
    OTHER_ITEM,
    FakeCatalogue,
    FakePublication,
    Tell,
    gone,
    listed,
    places,
)
from support.settling import settle
from support.stage import Stage

from actors.item_censor.states import State
from domain.messages import (
    ContainersFound,
    Deleted,
    Flush,
    Refused,
    Takedown,
    TimedOut,
    Unavailable,
)


async def begun(*names: str, follow_changes: bool = True) -> Stage:
    """A takedown of an item in these containers, of which every request is acknowledged."""
    stage = Stage(*names, follow_changes=follow_changes)
    stage.begin()
    await settle()
    stage.publisher.last.acknowledge()
    await settle()
    return stage


async def test_an_item_that_is_published_elsewhere_meanwhile_is_taken_down_there_too() -> None:
    stage = Stage("a")
    mine, reply = stage.begin()
    await settle()
    stage.publisher.last.acknowledge()
    stage.list_anew("a", "b")
    await settle()
    first, second = stage.publisher.publications
    assert (first.containers, second.containers) == (places("a"), places("b"))
    assert second.takedown == mine
    stage.delete("a")
    await settle()
    assert reply.outcomes == []
    stage.delete("b")
    await settle()
    assert reply.outcome == Deleted((gone("a"), gone("b")))
    assert stage.clean()
    await stage.close()


async def test_what_is_added_is_subscribed_to_before_it_is_asked_for() -> None:
    stage = await begun("a")
    heard = []

    def delete_at_once(publication: FakePublication) -> None:
        heard.append(publication.containers)
        stage.delete(*(c.container_id for c in publication.containers))

    stage.publisher.on_publish = delete_at_once
    stage.list_anew("a", "b")
    await settle()
    assert heard == [places("b")]
    stage.delete("a")
    await settle()
    assert [type(told.outcome) for told in stage.told] == [Deleted]
    await stage.close()


async def test_it_is_taken_down_there_within_the_same_deadline() -> None:
    stage = Stage("a")
    mine, reply = stage.begin(seconds=10)
    await settle()
    stage.publisher.last.acknowledge()
    await asyncio.sleep(9.9)
    stage.list_anew("a", "b")
    await settle()
    assert stage.publisher.last.containers == places("b")
    await asyncio.sleep(0.2)
    assert reply.outcome == TimedOut((), places("a", "b"))
    assert stage.actor.log[-1].at == pytest.approx(mine.deadline)
    assert stage.publisher.last.stops == 1
    assert stage.clean()
    await stage.close()


async def test_where_it_vanishes_by_itself_it_counts_as_deleted_at_the_lists_time() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.list_anew("b", after=3)
    stage.delete("b", after=3)
    await settle()
    assert reply.outcome == Deleted((gone("a", after=3, by="list"), gone("b", after=3)))
    await stage.close()


async def test_a_tombstone_ends_it_well() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.list_anew(after=3)
    await settle()
    vanished = (gone("a", after=3, by="list"), gone("b", after=3, by="list"))
    assert reply.outcome == Deleted(vanished)
    assert stage.publisher.last.stops == 1
    assert stage.clean()
    await stage.close()


async def test_a_list_that_comes_right_behind_the_catalogues_answer_is_not_missed() -> None:
    class Racing(FakeCatalogue):
        def locate(self, takedown: Takedown, tell: Tell) -> None:
            stage.bus.publish(listed("x", after=1))  # it has been read when the search is answered
            tell(ContainersFound(takedown.takedown_id, places("a"), listed("a", after=2).listed_at))
            stage.bus.publish(listed("a", "b", after=3))  # before anybody is Active

    stage = Stage()
    stage.actor._catalogue = Racing()
    stage.begin()
    await settle()
    assert stage.publisher.last.containers == places("a")
    stage.publisher.last.acknowledge()
    await settle()
    assert stage.publisher.last.containers == places("b")
    assert len(stage.publisher.publications) == 2
    await stage.close()


async def test_containers_that_come_while_requests_are_on_their_way_are_asked_together() -> None:
    stage = Stage("a")
    stage.begin()
    await settle()
    for names in ("ab", "abc", "abcd", "acd"):
        stage.list_anew(*names)
    await settle()
    assert len(stage.publisher.publications) == 1
    stage.publisher.last.acknowledge()
    await settle()
    assert len(stage.publisher.publications) == 2
    assert stage.publisher.last.containers == places("c", "d")
    await stage.close()


async def test_a_flood_of_lists_has_one_publication_on_its_way_at_a_time() -> None:
    stage = Stage("c0")
    _, reply = stage.begin()
    await settle()
    names = [f"c{number}" for number in range(1001)]
    for count in range(2, len(names) + 1):
        stage.list_anew(*names[:count])
    await settle()
    assert len(stage.publisher.publications) == 1
    stage.publisher.last.acknowledge()
    await settle()
    assert len(stage.publisher.publications) == 2
    assert stage.publisher.last.containers == places(*names[1:])
    stage.delete(*names)
    await settle()
    assert reply.outcome == Deleted(tuple(gone(name) for name in names))
    assert stage.clean()
    await stage.close()


async def test_what_comes_and_goes_is_asked_for_once_each_time_that_it_comes() -> None:
    stage = await begun("a", "b")
    for _ in range(3):
        stage.list_anew("b")
        stage.list_anew("a", "b")
        await settle()
        stage.publisher.last.acknowledge()
    await settle()
    assert [p.containers for p in stage.publisher.publications] == [
        places("a", "b"),
        places("a"),
        places("a"),
        places("a"),
    ]
    stage.delete("a", "b")
    await settle()
    assert stage.clean()
    await stage.close()


async def test_what_vanished_and_was_then_confirmed_is_not_asked_again() -> None:
    stage = await begun("a", "b")
    stage.list_anew("b", after=1)
    stage.delete("a")
    stage.list_anew("a", "b", after=2)
    await settle()
    assert len(stage.publisher.publications) == 1
    stage.delete("b", after=2)
    await settle()
    assert [told.outcome for told in stage.told] == [Deleted((gone("a"), gone("b", after=2)))]
    await stage.close()


async def test_what_was_added_and_cannot_be_handed_over_is_a_502() -> None:
    stage = Stage("a", "b")
    _, reply = stage.begin()
    await settle()
    stage.publisher.last.acknowledge()
    stage.delete("b")
    stage.list_anew("a", "b", "c")
    await settle()
    stage.publisher.last.fail(handed_over=False, cause="no broker")
    await settle()
    assert reply.outcome == Refused(
        "no broker", places("a", "b"), places("c"), places("b"), places("a", "c")
    )
    assert stage.clean()
    await stage.close()


async def test_nothing_was_handed_over_though_a_list_had_added_something_is_a_503() -> None:
    stage = Stage("a")
    _, reply = stage.begin()
    await settle()
    stage.list_anew("a", "b")
    await settle()
    stage.publisher.last.fail(handed_over=False, cause="no broker")
    await settle()
    assert reply.outcome == Unavailable("kafka-unreachable", "no broker")
    assert len(stage.publisher.publications) == 1
    await stage.close()


async def test_another_items_list_is_not_heard() -> None:
    stage = await begun("a")
    assert stage.bus.publish(listed("a", "b", item=OTHER_ITEM)) == 0
    stage.ref.tell(listed("a", "b", item=OTHER_ITEM))  # and changes nothing if it is
    await settle()
    assert len(stage.publisher.publications) == 1
    await stage.close()


async def test_a_list_of_the_last_takedown_does_not_reach_the_next() -> None:
    stage = await begun("a")
    stage.list_anew("a", "b")
    stage.delete("a", "b")
    await settle()
    stage.publisher.publications[-1].acknowledge()
    stage.delete("b")
    await settle()
    assert stage.actor.state is State.IDLE
    stage.ref.tell(listed("x"))
    stage.ref.tell(Flush())
    stage.catalogue.items[ITEM] = places("c")
    _, reply = stage.begin()
    await settle()
    assert stage.publisher.last.containers == places("c")
    stage.delete("c")
    await settle()
    assert reply.outcome == Deleted((gone("c"),))
    await stage.close()


async def test_a_censor_that_does_not_follow_hears_of_no_list() -> None:
    stage = Stage("a", "b", follow_changes=False)
    _, reply = stage.begin()
    await settle()
    assert stage.bus.statistics().subscriptions == 2
    assert stage.bus.followed() == ()
    stage.list_anew("b", "c")
    stage.list_anew()
    await settle()
    assert reply.outcomes == []
    assert len(stage.publisher.publications) == 1
    stage.delete("a", "b")
    await settle()
    assert reply.outcome == Deleted((gone("a"), gone("b")))
    await stage.close()


async def test_a_restarted_censor_follows_its_next_item() -> None:
    stage = Stage("a", supervised=True)
    stage.begin()
    await settle()
    stage.ref.tell("what is this?")
    await settle()
    assert stage.bus.followed() == ()
    stage.begin()
    await settle()
    assert stage.bus.followed() == (ITEM,)
    stage.list_anew()
    await settle()
    assert [type(told.outcome) for told in stage.told[1:]] == [Deleted]
    await stage.close()
