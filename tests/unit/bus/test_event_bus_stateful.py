"""The bus against the simplest thing that could be it: a set of pairs."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.examples import examples
from support.fakes import T0, item_id

from bus.event_bus import EventBus, PartitionKey, list_key, partition_key
from domain.messages import ContainerId, ItemDeleted, ItemListed

ITEMS = [item_id(number) for number in range(3)]
PLACES = [ContainerId(name) for name in ("a", "b", "a-b")]
KEYS = [list_key(item) for item in ITEMS] + [
    partition_key(item, place) for item in ITEMS for place in PLACES
]


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []
        self.alive = True

    def try_tell(self, message: object) -> bool:
        if self.alive:
            self.heard.append(message)
        return self.alive


class Bus(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bus = EventBus()
        self.listeners = [Listener() for _ in range(4)]
        self.pairs: list[tuple[Listener, PartitionKey]] = []

    @rule(who=st.integers(0, 3), key=st.sampled_from(KEYS))
    def subscribe(self, who: int, key: PartitionKey) -> None:
        pair = (self.listeners[who], key)
        assert self.bus.subscribe(*pair) is (pair not in self.pairs)
        if pair not in self.pairs:
            self.pairs.append(pair)

    @rule(who=st.integers(0, 3), key=st.sampled_from(KEYS))
    def unsubscribe(self, who: int, key: PartitionKey) -> None:
        pair = (self.listeners[who], key)
        assert self.bus.unsubscribe(*pair) is (pair in self.pairs)
        if pair in self.pairs:
            self.pairs.remove(pair)

    @rule(who=st.integers(0, 3))
    def unsubscribe_all(self, who: int) -> None:
        mine = [pair for pair in self.pairs if pair[0] is self.listeners[who]]
        assert self.bus.unsubscribe_all(self.listeners[who]) == len(mine)
        self.pairs = [pair for pair in self.pairs if pair not in mine]

    @rule(who=st.integers(0, 3))
    def die(self, who: int) -> None:
        self.listeners[who].alive = False

    @rule(who=st.integers(0, 3))
    def be_replaced(self, who: int) -> None:
        self.pairs = [pair for pair in self.pairs if pair[0] is not self.listeners[who]]
        self.bus.unsubscribe_all(self.listeners[who])
        self.listeners[who] = Listener()

    @rule(item=st.sampled_from(ITEMS), place=st.sampled_from(PLACES))
    def delete(self, item: str, place: str) -> None:
        event = ItemDeleted(item, place, "group", T0)  # type: ignore[arg-type]
        self._publish(event, partition_key(event.item_id, event.container_id))

    @rule(item=st.sampled_from(ITEMS))
    def list_(self, item: str) -> None:
        event = ItemListed(item, (), T0)  # type: ignore[arg-type]
        self._publish(event, list_key(event.item_id))

    def _publish(self, event: ItemDeleted | ItemListed, key: PartitionKey) -> None:
        before = [len(listener.heard) for listener in self.listeners]
        subscribed = [listener for listener, theirs in self.pairs if theirs == key]
        assert self.bus.publish(event) == sum(listener.alive for listener in subscribed)
        for listener, count in zip(self.listeners, before, strict=True):
            hears = listener in subscribed and listener.alive
            assert len(listener.heard) == count + hears
        dead = [listener for listener in subscribed if not listener.alive]
        self.pairs = [pair for pair in self.pairs if pair[0] not in dead]

    @invariant()
    def it_holds_what_was_subscribed_and_nothing_else(self) -> None:
        held = self.bus.statistics()
        assert held.subscriptions == len(self.pairs)
        assert held.keys == len({key for _, key in self.pairs})
        assert held.subscribers == len({id(listener) for listener, _ in self.pairs})
        lists = {list_key(item): item for item in ITEMS}
        assert set(self.bus.followed()) == {lists[k] for _, k in self.pairs if k in lists}


TestBus = Bus.TestCase
TestBus.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
