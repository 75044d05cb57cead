"""The codec over a life of a topic: what is written is read, whatever stands beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.examples import examples
from support.fakes import item_id

from bus.kafka.codec import (
    decode_item_deleted,
    decode_item_published,
    encode,
    item_id_from_key,
    item_key,
    parse_item_id,
)
from domain.errors import UnreadableRecord
from domain.messages import Container, ContainerId, ItemDeleted, ItemPublished

ITEMS = st.integers(0, 3).map(item_id)
NAMES = st.text(min_size=1, max_size=20).map(ContainerId)
KINDS = st.text(max_size=10)
TIMES = st.datetimes(
    # The zone is drawn beside it.
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001
    max_value=datetime(9998, 1, 1),  # noqa: DTZ001
)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


class Topic(RuleBasedStateMachine):
    """Records by us, by others who write it in their way, and by whoever writes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[bytes] = []
        self.meant: list[ItemDeleted | None] = []
        self.lists: dict[str, tuple[Container, ...]] = {}
        self.published: list[tuple[bytes, bytes | None]] = []

    @rule(item=ITEMS, name=NAMES, kind=KINDS, at=TIMES)
    def confirm(self, item: Any, name: ContainerId, kind: str, at: datetime) -> None:
        event = ItemDeleted(item, name, kind, at.replace(tzinfo=UTC))
        self.values.append(encode(event))
        self.meant.append(event)

    @rule(item=ITEMS, name=NAMES, kind=KINDS, at=TIMES, zone=ZONES, extra=JSON, upper=st.booleans())
    def confirm_in_another_way(
        self, item: Any, name: ContainerId, kind: str, at: datetime, zone: timezone, extra: Any,
        upper: bool,
    ) -> None:  # fmt: skip
        when = at.replace(tzinfo=zone)
        members = {
            "trace": extra,
            "deletedAt": when.isoformat(),
            "containerType": kind,
            "itemId": item.upper() if upper else item,
            "containerId": name,
        }
        self.values.append(json.dumps(members, ensure_ascii=upper, indent=2).encode())
        self.meant.append(ItemDeleted(item, name, kind, when.astimezone(UTC)))

    @rule(junk=st.binary(max_size=30))
    def write_anything(self, junk: bytes) -> None:
        self.values.append(junk)
        self.meant.append(None)

    @rule(
        item=ITEMS,
        containers=st.lists(st.builds(Container, NAMES, KINDS), max_size=4).map(tuple),
        at=TIMES,
    )
    def publish(self, item: Any, containers: tuple[Container, ...], at: datetime) -> None:
        value = encode(ItemPublished(item, containers, at.replace(tzinfo=UTC)))
        self.published.append((item_key(item), value))
        self.lists[item] = containers

    @rule(item=ITEMS)
    def bury(self, item: Any) -> None:
        self.published.append((item_key(item), None))
        self.lists.pop(item, None)

    @invariant()
    def what_was_meant_is_what_is_read(self) -> None:
        for value, meant in zip(self.values[-3:], self.meant[-3:], strict=True):
            try:
                event = decode_item_deleted(value)
            except UnreadableRecord:
                assert meant is None
                continue
            if meant is not None:
                assert event == meant
            # What is read is canonical, and can be written again as it is.
            assert parse_item_id(event.item_id) == event.item_id
            assert decode_item_deleted(encode(event)) == event

    @invariant()
    def the_topic_read_from_its_start_gives_the_lists_of_now(self) -> None:
        lists: dict[str, tuple[Container, ...]] = {}
        for key, value in self.published:
            if value is None:
                lists.pop(item_id_from_key(key), None)
            else:
                message = decode_item_published(value)
                lists[message.item_id] = message.containers
        assert lists == self.lists


TestTopic = Topic.TestCase
TestTopic.settings = settings(max_examples=examples(50), stateful_step_count=25, deadline=None)
