"""Items in very many containers, for whose takedowns there is no room now."""

from __future__ import annotations

from typing import Any

import pytest
from support.fakes import ITEM, T0, FakeLog, FakeRecord, places, takedown_now
from support.settling import settle

from bus.kafka.codec import encode
from catalogue import lookup
from catalogue.store import entries
from catalogue.store.store import MemoryStore
from catalogue.view import CatalogueView
from domain.messages import CatalogueUnavailable, ContainersFound, ItemPublished


def only_two(containers: int) -> str | None:
    return f"{containers} are too many" if containers > 2 else None


@pytest.mark.parametrize("caught_up", [True, False], ids=["a hit", "a search"])
async def test_a_list_for_which_there_is_no_room_is_not_decoded(
    monkeypatch: pytest.MonkeyPatch, caught_up: bool
) -> None:
    view = CatalogueView(MemoryStore(), why_no_room=only_two)
    log = FakeLog()
    log.caught_up = caught_up
    view.attach(log)
    decoded: list[bytes] = []
    unpack = entries.unpack

    def unpack_and_note(key: bytes, value: bytes) -> Any:
        decoded.append(key)
        return unpack(key, value)

    monkeypatch.setattr(lookup, "unpack", unpack_and_note)
    for names, known in ((("a", "b", "c"), False), (("a", "b"), True)):
        view.apply(FakeRecord(ITEM.encode(), encode(ItemPublished(ITEM, places(*names), T0))))
        decoded.clear()
        told: list[Any] = []
        mine = takedown_now()
        view.locate(mine, told.append)
        await settle()
        log.reach_end()
        await settle()
        if known:
            assert isinstance(told[0], ContainersFound)
            assert decoded
        else:
            refusal = CatalogueUnavailable(mine.takedown_id, "3 are too many", "overloaded")
            assert told == [refusal]
            assert decoded == []
    assert view.known(ITEM) is not None
    await view.stop()


async def test_what_others_ask_of_a_list_is_answered_also_without_room() -> None:
    view = CatalogueView(MemoryStore(), why_no_room=only_two)
    view.attach(FakeLog())
    names = ("a", "b", "c")
    view.apply(FakeRecord(ITEM.encode(), encode(ItemPublished(ITEM, places(*names), T0))))
    known = view.known(ITEM)
    assert known is not None
    assert known.containers == places(*names)
