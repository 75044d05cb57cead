"""Observers hear the current state first, then everything; they can harm nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.door import Door, Knock, Lock, Pull, Push, Say, TearDown, Uses, door
from support.settling import settle

from actors.fsm.transitions import Entered, FeedItem, Left, Transition, TransitionFeed


def watched(feed: TransitionFeed) -> bool:
    return feed.observed


async def test_an_observer_hears_the_current_states_first_and_then_each_transition() -> None:
    feed = TransitionFeed()
    one, _ = door(feed)
    two, _ = door(feed)
    one.tell(Push())
    await settle()
    seen: list[FeedItem] = []
    feed.subscribe(seen.append)
    assert seen == [
        Entered(one.actor_urn, "Door", Door.OPEN, Uses(1)),
        Entered(two.actor_urn, "Door", Door.CLOSED, Uses(0)),
    ]
    seen.clear()
    await asyncio.sleep(3)
    one.tell(Pull())
    await settle()
    assert seen == [
        Transition(
            one.actor_urn,
            "Door",
            Door.OPEN,
            Pull(),
            Door.CLOSED,
            Uses(1),
            Uses(1),
            pytest.approx(3),  # type: ignore[arg-type]
            (Say("slam"),),
        )
    ]
    await asyncio.gather(one.stop(), two.stop())


async def test_an_observer_hears_of_machines_that_come_and_go() -> None:
    feed = TransitionFeed()
    seen: list[FeedItem] = []
    feed.subscribe(seen.append)
    ref, _ = door(feed)
    await settle()
    await ref.stop()
    assert seen == [
        Entered(ref.actor_urn, "Door", Door.CLOSED, Uses()),
        Left(ref.actor_urn, "Door"),
    ]


async def test_a_machine_that_ends_is_heard_of_with_its_last_transition_and_then_no_more() -> None:
    feed = TransitionFeed()
    seen: list[FeedItem] = []
    feed.subscribe(seen.append)
    ref, _ = door(feed)
    ref.tell(TearDown())
    await settle()
    assert [type(item) for item in seen] == [Entered, Transition, Left]


async def test_a_failed_machine_leaves_the_feed() -> None:
    feed = TransitionFeed()
    seen: list[FeedItem] = []
    ref, _ = door(feed)
    await settle()
    feed.subscribe(seen.append)
    ref.tell(Knock())
    await settle()
    assert [type(item) for item in seen] == [Entered, Left]
    assert len(feed) == 0


async def test_an_event_that_changes_nothing_is_a_transition_too() -> None:
    feed = TransitionFeed()
    ref, _ = door(feed)
    ref.tell(Push())
    await settle()
    seen: list[Any] = []
    feed.subscribe(seen.append)
    ref.tell(Knock())
    await settle()
    assert (seen[-1].source, seen[-1].target) == (Door.OPEN, Door.OPEN)
    await ref.stop()


async def test_an_observer_that_raises_is_counted_and_harms_neither_machine_nor_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed = TransitionFeed()
    seen: list[FeedItem] = []

    def broken(_item: FeedItem) -> None:
        raise ValueError("broken observer")

    feed.subscribe(broken)
    feed.subscribe(seen.append)
    ref, actor = door(feed)
    ref.tell(Push())
    ref.tell(Pull())
    await settle()
    assert (ref.is_alive(), actor.state) == (True, Door.CLOSED)
    assert feed.failures == 3
    assert [type(item) for item in seen] == [Entered, Transition, Transition]
    assert "An observer of the transitions failed" in caplog.text
    await ref.stop()


async def test_an_observer_that_raises_on_its_first_call_stays_subscribed() -> None:
    feed = TransitionFeed()
    ref, _ = door(feed)
    await settle()
    calls: list[FeedItem] = []

    def broken(item: FeedItem) -> None:
        calls.append(item)
        raise ValueError("broken observer")

    feed.subscribe(broken)
    ref.tell(Push())
    await settle()
    assert [type(item) for item in calls] == [Entered, Transition]
    await ref.stop()


async def test_a_subscription_ends_when_it_is_ended() -> None:
    feed = TransitionFeed()
    seen: list[FeedItem] = []
    assert not watched(feed)
    unsubscribe = feed.subscribe(seen.append)
    assert watched(feed)
    unsubscribe()
    unsubscribe()
    assert not watched(feed)
    ref, _ = door(feed)
    await ref.stop()
    assert seen == []


async def test_an_observer_may_unsubscribe_while_it_is_told() -> None:
    feed = TransitionFeed()
    seen: list[FeedItem] = []
    after: list[FeedItem] = []

    def once(item: FeedItem) -> None:
        seen.append(item)
        unsubscribe()

    unsubscribe = feed.subscribe(once)
    feed.subscribe(after.append)
    ref, _ = door(feed)
    await ref.stop()
    assert len(seen) == 1
    assert len(after) == 2


async def test_the_feed_knows_every_machine_that_is_alive() -> None:
    feed = TransitionFeed()
    one, actor = door(feed)
    two, _ = door(feed)
    await settle()
    assert len(feed) == 2
    await two.stop()
    assert feed.machines() == (actor,)
    await one.stop()
    assert feed.machines() == ()


async def test_a_restarted_machine_leaves_and_enters_again() -> None:
    class Restarting:
        def may_restart(self, _urn: str) -> bool:
            return True

        def child_failed(self, *_args: Any, alive: bool) -> None:
            assert alive

    feed = TransitionFeed()
    ref, _ = door(feed, Restarting())
    ref.tell(Push())
    await settle()
    seen: list[FeedItem] = []
    feed.subscribe(seen.append)
    ref.tell(Lock(1))  # an open door takes no lock
    await settle()
    assert seen[1:] == [
        Left(ref.actor_urn, "Door"),
        Entered(ref.actor_urn, "Door", Door.CLOSED, Uses()),
    ]
    assert len(feed) == 1
    await ref.stop()


async def test_a_stream_gives_what_happened_in_order_and_waits_for_more() -> None:
    feed = TransitionFeed()
    ref, _ = door(feed)
    await settle()
    seen: list[FeedItem] = []

    async def read() -> None:
        with feed.stream() as stream:
            async for item in stream:
                seen.append(item)  # noqa: PERF401 - it never ends

    reading = asyncio.create_task(read())
    await settle()
    assert [type(item) for item in seen] == [Entered]
    ref.tell(Push())
    ref.tell(Pull())
    await settle()
    assert [type(item) for item in seen] == [Entered, Transition, Transition]
    reading.cancel()
    await asyncio.wait([reading])
    assert not watched(feed)
    await ref.stop()


async def test_a_stream_that_is_not_read_is_bounded_and_drops_the_oldest() -> None:
    feed = TransitionFeed()
    with feed.stream(capacity=3) as stream:
        for number in range(10):
            feed.publish(Left(str(number), "Door"))
        assert stream.dropped == 7
        items = aiter(stream)
        assert [await anext(items) for _ in range(3)] == [
            Left(str(number), "Door") for number in (7, 8, 9)
        ]
        await items.aclose()  # type: ignore[attr-defined]
    assert stream.dropped == 7


async def test_a_stream_is_subscribed_inside_its_block_only() -> None:
    feed = TransitionFeed()
    stream = feed.stream(capacity=1)
    feed.publish(Left("before", "Door"))
    with stream:
        assert watched(feed)
    feed.publish(Left("after", "Door"))
    assert not watched(feed)
    assert stream.dropped == 0
