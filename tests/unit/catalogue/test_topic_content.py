"""A topic that never held a list of an item is no evidence, unless it may be empty."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from support.fakes import ITEM, FakeLog, FakeRecord, takedown_now
from support.settling import settle
from support.views import published, tombstone

from catalogue.store.store import MemoryStore
from catalogue.view import CatalogueView
from domain.errors import UnreadableRecord
from domain.messages import (
    CatalogueUnavailable,
    ItemUnknown,
)


async def never_written(*, may_be_empty: bool) -> tuple[Any, str | None]:
    """What a search comes to in an empty topic, and the view's readiness then."""
    view = CatalogueView(MemoryStore(), topic="item_publishd", may_be_empty=may_be_empty)
    log = FakeLog()
    log.never_written = True
    view.attach(log)
    await view.start()
    told: list[Any] = []
    view.locate(takedown_now(), told.append)
    await settle()
    log.reach_end()
    await settle()
    (event,) = told
    return event, view.why_not_ready()


async def test_a_topic_that_never_had_a_record_is_neither_ready_nor_evidence() -> None:
    event, problem = await never_written(may_be_empty=False)
    assert isinstance(event, CatalogueUnavailable)
    assert event.code == "not-ready"
    assert problem is not None
    assert event.plain == "no list of any item is known"
    for text in (event.reason, problem):
        assert "item_publishd never had a record: is this the right topic?" in text
        assert "TAKEDOWN_CATALOGUE_MAY_BE_EMPTY=true" in text


async def test_a_topic_that_may_be_empty_is_evidence() -> None:
    event, problem = await never_written(may_be_empty=True)
    assert isinstance(event, ItemUnknown)
    assert problem is None


UNREADABLE = FakeRecord(b"order 7", b'{"orderId":7}')


async def only_unreadable(view: CatalogueView) -> tuple[Any, str | None]:
    """What a search comes to where no record is a list, and the view's readiness then."""
    log = FakeLog()
    view.attach(log)
    await view.start()
    with pytest.raises(UnreadableRecord):
        view.apply(UNREADABLE)
    told: list[Any] = []
    view.locate(takedown_now(), told.append)
    await settle()
    log.reach_end()
    await settle()
    (event,) = told
    return event, view.why_not_ready()


async def test_a_topic_without_a_single_list_is_neither_ready_nor_evidence() -> None:
    view = CatalogueView(MemoryStore(), topic="orders", may_be_empty=False)
    event, problem = await only_unreadable(view)
    assert isinstance(event, CatalogueUnavailable)
    assert event.code == "not-ready"
    assert problem is not None
    for text in (event.reason, problem):
        assert "orders has records, and none of them is a list of an item" in text
        assert "right topic?" in text
        assert "TAKEDOWN_CATALOGUE_MAY_BE_EMPTY=true" in text
    view.apply(published("a"))
    assert view.why_not_ready() is None


async def test_a_topic_without_a_single_list_is_evidence_where_it_may_be_empty() -> None:
    event, problem = await only_unreadable(CatalogueView(MemoryStore(), may_be_empty=True))
    assert isinstance(event, ItemUnknown)
    assert problem is None


@pytest.mark.parametrize(
    ("records", "trusted"),
    [
        ((), False),
        ((FakeRecord(ITEM.encode(), b"no JSON"),), False),
        ((tombstone(),), True),
        ((published("a"),), True),
    ],
    ids=["nothing", "a doubt", "a null value", "a list"],
)
async def test_what_is_stored_without_a_single_list_is_not_read_on_from(
    records: tuple[FakeRecord, ...], *, trusted: bool
) -> None:
    """The records themselves have to show whether it is the right topic."""
    store = MemoryStore()
    first = CatalogueView(store, may_be_empty=False)
    first.attach(FakeLog())
    await first.start()
    for record in records:
        with contextlib.suppress(UnreadableRecord):
            first.apply(record)
    await first.advance({0: 7}, None)
    await first.close()
    second = CatalogueView(store, may_be_empty=False)
    second.attach(FakeLog())
    await second.start()
    assert second.resume() is not None
    assert (second.distrust() is None) is trusted
    second.rewind()
    assert second.distrust() is None, "once is enough"


async def test_before_the_topic_is_read_it_is_not_called_empty() -> None:
    view = CatalogueView(MemoryStore(), may_be_empty=False)
    log = FakeLog()
    log.never_written = True
    log.caught_up = False
    view.attach(log)
    await view.start()
    assert view.why_not_ready() is None  # the reader says why not


async def test_a_topic_whose_records_are_all_gone_is_not_one_that_never_had_any() -> None:
    view = CatalogueView(MemoryStore(), may_be_empty=False)
    log = FakeLog()
    view.attach(log)
    await view.start()
    told: list[Any] = []
    view.locate(takedown_now(), told.append)
    await settle()
    log.reach_end()
    await settle()
    assert [type(event) for event in told] == [ItemUnknown]
    assert view.why_not_ready() is None
