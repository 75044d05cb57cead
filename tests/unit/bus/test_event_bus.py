"""The bus: four methods, no leaks, and nobody hears what is not theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.examples import examples
from support.fakes import ITEM, OTHER_ITEM, T0, deletion, listed, recorder
from support.settling import settle

from bus.event_bus import BusStatistics, EventBus, PartitionKey, list_key, partition_key
from domain.messages import ContainerId, ItemDeleted, ItemId, ItemInDoubt


class Mailbox:
    """A subscriber, dead or alive; may do something when it is told."""

    def __init__(self, name: str = "", *, heard: list[Any] | None = None) -> None:
        self.name = name
        self.alive = True
        self.heard: list[Any] = [] if heard is None else heard
        self.on_tell: Callable[[], object] = lambda: None

    def try_tell(self, message: object) -> bool:
        if self.alive:
            self.heard.append((self.name, message) if self.name else message)
            self.on_tell()
        return self.alive


def key(name: str) -> PartitionKey:
    return partition_key(ITEM, ContainerId(name))


def held(bus: EventBus) -> tuple[int, int, int]:
    statistics = bus.statistics()
    return statistics.keys, statistics.subscribers, statistics.subscriptions


def test_a_subscriber_hears_what_it_subscribed_to_and_nothing_else() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    bus.subscribe(one, key("a"))
    bus.subscribe(two, key("b"))
    assert bus.publish(deletion("a")) == 1
    assert bus.publish(deletion("c")) == 0
    assert bus.publish(deletion("a", OTHER_ITEM)) == 0
    assert one.heard == [deletion("a")]
    assert two.heard == []


def test_the_same_event_itself_is_told_and_not_a_copy() -> None:
    bus, one = EventBus(), Mailbox()
    bus.subscribe(one, key("a"))
    event = deletion("a")
    bus.publish(event)
    assert one.heard[0] is event


def test_all_subscribers_of_a_key_are_told_in_the_order_of_their_subscriptions() -> None:
    bus, heard = EventBus(), list[Any]()
    for name in ("first", "second", "third"):
        bus.subscribe(Mailbox(name, heard=heard), key("a"))
    assert bus.publish(deletion("a")) == 3
    assert [name for name, _ in heard] == ["first", "second", "third"]


def test_subscribing_twice_is_subscribing_once() -> None:
    bus, one = EventBus(), Mailbox()
    assert bus.subscribe(one, key("a")) is True
    assert bus.subscribe(one, key("a")) is False
    assert bus.publish(deletion("a")) == 1
    assert bus.unsubscribe(one, key("a")) is True
    assert bus.publish(deletion("a")) == 0


def test_one_who_unsubscribes_hears_no_more_of_that_key_and_still_of_its_others() -> None:
    bus, one = EventBus(), Mailbox()
    bus.subscribe(one, key("a"))
    bus.subscribe(one, key("b"))
    assert bus.unsubscribe(one, key("a")) is True
    bus.publish(deletion("a"))
    bus.publish(deletion("b"))
    assert one.heard == [deletion("b")]


def test_unsubscribing_from_what_was_not_subscribed_to_says_so_and_changes_nothing() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    bus.subscribe(one, key("a"))
    assert bus.unsubscribe(one, key("b")) is False
    assert bus.unsubscribe(two, key("a")) is False
    assert held(bus) == (1, 1, 1)


def test_unsubscribing_from_all_ends_all_of_ones_own_and_nobody_elses() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    for name in "abc":
        bus.subscribe(one, key(name))
    bus.subscribe(two, key("a"))
    assert bus.unsubscribe_all(one) == 3
    assert bus.unsubscribe_all(one) == 0
    assert bus.publish(deletion("a")) == 1
    assert bus.publish(deletion("b")) == 0
    assert (one.heard, two.heard) == ([], [deletion("a")])


def test_no_key_and_no_subscriber_stays_when_its_last_subscription_has_ended() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    bus.subscribe(one, key("a"))
    bus.subscribe(one, key("b"))
    bus.subscribe(two, key("b"))
    assert held(bus) == (2, 2, 3)
    bus.unsubscribe(one, key("a"))
    assert held(bus) == (1, 2, 2)
    bus.unsubscribe_all(one)
    assert held(bus) == (1, 1, 1)
    bus.unsubscribe(two, key("b"))
    assert held(bus) == (0, 0, 0)
    assert (bus._by_key, bus._by_subscriber) == ({}, {})


def test_publishing_to_a_key_without_subscribers_leaves_no_key_behind() -> None:
    bus = EventBus()
    for number in range(100):
        bus.publish(deletion(str(number)))
    assert held(bus) == (0, 0, 0)


def test_a_dead_subscriber_is_dropped_with_all_its_keys_when_it_is_found_out() -> None:
    bus, dead, living = EventBus(), Mailbox(), Mailbox()
    for name in "abc":
        bus.subscribe(dead, key(name))
    bus.subscribe(living, key("a"))
    dead.alive = False
    assert bus.publish(deletion("a")) == 1
    assert living.heard == [deletion("a")]
    assert held(bus) == (1, 1, 1)
    assert bus.statistics().dropped == 1
    assert bus.publish(deletion("b")) == 0
    assert bus.statistics().dropped == 1


async def test_a_dead_actor_is_dropped_too() -> None:
    bus = EventBus()
    ref, received = recorder()
    bus.subscribe(ref, key("a"))
    assert bus.publish(deletion("a")) == 1
    await settle()
    assert received == [deletion("a")]
    await ref.stop()
    assert bus.publish(deletion("a")) == 0
    assert held(bus) == (0, 0, 0)


def test_one_may_unsubscribe_while_it_is_told() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    for subscriber in (one, two):
        bus.subscribe(subscriber, key("a"))
    one.on_tell = lambda: bus.unsubscribe_all(one)
    assert bus.publish(deletion("a")) == 2
    assert bus.publish(deletion("a")) == 1
    assert (len(one.heard), len(two.heard)) == (1, 2)
    assert held(bus) == (1, 1, 1)


def test_one_may_subscribe_while_it_is_told_and_hears_from_the_next_event_on() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    bus.subscribe(one, key("a"))
    one.on_tell = lambda: bus.subscribe(two, key("a"))
    assert bus.publish(deletion("a")) == 1
    assert bus.publish(deletion("a")) == 2
    assert len(two.heard) == 1


def test_a_subscriber_that_ends_anothers_subscriptions_while_it_is_told_breaks_nothing() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    for subscriber in (one, two):
        bus.subscribe(subscriber, key("a"))
    two.alive = False
    one.on_tell = lambda: bus.unsubscribe_all(two)
    assert bus.publish(deletion("a")) == 1
    assert held(bus) == (1, 1, 1)


def test_container_ids_with_dashes_share_no_key_with_others() -> None:
    bus = EventBus()
    names = ["a", "a-b", "-a", "a-", "", "-", f"{ITEM}", f"{OTHER_ITEM}-a", "\x00", "é"]
    mailboxes = {name: Mailbox() for name in names}
    for name, mailbox in mailboxes.items():
        bus.subscribe(mailbox, key(name))
    assert held(bus) == (len(names), len(names), len(names))
    for name, mailbox in mailboxes.items():
        assert bus.publish(deletion(name)) == 1
        assert mailbox.heard == [deletion(name)]
    assert partition_key(ITEM, ContainerId("a")) != partition_key(OTHER_ITEM, ContainerId("a"))


def test_statistics_say_what_the_bus_holds_and_has_done() -> None:
    bus, one, two, dead = EventBus(), Mailbox(), Mailbox(), Mailbox()
    assert bus.statistics() == BusStatistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    bus.subscribe(one, key("a"))
    bus.subscribe(two, key("a"))
    bus.subscribe(two, key("b"))
    bus.subscribe(dead, key("b"))
    dead.alive = False
    bus.publish(deletion("a"))
    bus.publish(deletion("b"))
    bus.publish(deletion("nobody's"))
    bus.subscribe(one, list_key(ITEM))
    bus.publish(listed("a"))
    bus.publish(listed("a", item=OTHER_ITEM))
    bus.publish(ItemInDoubt(ITEM, T0))
    assert bus.statistics() == BusStatistics(
        keys=3,
        subscribers=2,
        subscriptions=4,
        published=3,
        matched=2,
        lists=2,
        lists_matched=1,
        doubts=1,
        delivered=5,
        dropped=1,
    )


def test_one_who_follows_an_item_hears_its_lists_and_not_its_deletions() -> None:
    bus, follower, waiting = EventBus(), Mailbox(), Mailbox()
    bus.subscribe(follower, list_key(ITEM))
    bus.subscribe(waiting, key("a"))
    assert bus.publish(listed("a")) == 1
    assert bus.publish(listed("a", item=OTHER_ITEM)) == 0
    assert bus.publish(deletion("a")) == 1
    assert follower.heard == [listed("a")]
    assert waiting.heard == [deletion("a")]


def test_the_items_that_somebody_follows_can_be_named() -> None:
    bus, one, two = EventBus(), Mailbox(), Mailbox()
    assert bus.followed() == ()
    bus.subscribe(one, key("a"))
    bus.subscribe(one, list_key(ITEM))
    bus.subscribe(two, list_key(ITEM))
    bus.subscribe(two, list_key(OTHER_ITEM))
    assert bus.followed() == (ITEM, OTHER_ITEM)
    bus.unsubscribe_all(two)
    assert bus.followed() == (ITEM,)
    bus.unsubscribe_all(one)
    assert bus.followed() == ()


@pytest.mark.parametrize("name", ["", "-", "a", ITEM])
def test_no_container_has_the_key_of_a_list(name: str) -> None:
    bus, follower = EventBus(), Mailbox()
    bus.subscribe(follower, list_key(ITEM))
    assert bus.publish(deletion(name)) == 0
    assert bus.publish(deletion(f"-{name}", ItemId(ITEM[:8]))) == 0
    assert follower.heard == []


NAMES = st.sampled_from(["a", "b", "a-b", "-"])
WHO = st.integers(min_value=0, max_value=3)


class BusModel(RuleBasedStateMachine):
    """The bus does what a list of pairs would do."""

    def __init__(self) -> None:
        super().__init__()
        self.bus = EventBus()
        self.mailboxes = [Mailbox() for _ in range(4)]
        self.pairs: list[tuple[int, str]] = []
        self.heard: list[list[ItemDeleted]] = [[] for _ in range(4)]

    def _forget(self, who: int) -> int:
        mine = [pair for pair in self.pairs if pair[0] == who]
        self.pairs = [pair for pair in self.pairs if pair[0] != who]
        return len(mine)

    @rule(who=WHO, name=NAMES)
    def subscribe(self, who: int, name: str) -> None:
        is_new = (who, name) not in self.pairs
        assert self.bus.subscribe(self.mailboxes[who], key(name)) is is_new
        if is_new:
            self.pairs.append((who, name))

    @rule(who=WHO, name=NAMES)
    def unsubscribe(self, who: int, name: str) -> None:
        known = (who, name) in self.pairs
        assert self.bus.unsubscribe(self.mailboxes[who], key(name)) is known
        if known:
            self.pairs.remove((who, name))

    @rule(who=WHO)
    def unsubscribe_all(self, who: int) -> None:
        assert self.bus.unsubscribe_all(self.mailboxes[who]) == self._forget(who)

    @rule(who=WHO)
    def die_or_come_back(self, who: int) -> None:
        self.mailboxes[who].alive = not self.mailboxes[who].alive

    @rule(name=NAMES, item=st.sampled_from([ITEM, ITEM, OTHER_ITEM]))
    def publish(self, name: str, item: Any) -> None:
        event = deletion(name, item)
        told = [who for who, theirs in self.pairs if theirs == name and item == ITEM]
        living = [who for who in told if self.mailboxes[who].alive]
        assert self.bus.publish(event) == len(living)
        for who in living:
            self.heard[who].append(event)
        for who in set(told) - set(living):
            self._forget(who)

    @invariant()
    def everyone_heard_what_the_model_says(self) -> None:
        assert [mailbox.heard for mailbox in self.mailboxes] == self.heard

    @invariant()
    def nothing_else_is_held(self) -> None:
        names, who = {name for _, name in self.pairs}, {who for who, _ in self.pairs}
        assert held(self.bus) == (len(names), len(who), len(self.pairs))


TestBusModel = BusModel.TestCase
TestBusModel.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
