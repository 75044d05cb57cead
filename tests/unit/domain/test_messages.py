"""Messages are frozen, and what travels is spelt as the contract says."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from support.fakes import T0, FakeReply, deletion, gone, place, takedown

from domain import messages
from domain.messages import Begin, ItemDeleted, ItemId, Unavailable

STRUCTS = [
    value
    for _, value in inspect.getmembers(messages, inspect.isclass)
    if issubclass(value, Struct) and value is not Struct
]

ON_THE_WIRE = {
    messages.Container,
    messages.DeletedContainer,
    messages.ItemPublished,
    messages.ItemReported,
    messages.ItemDeleted,
}


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_every_message_is_frozen(kind: Any) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_what_travels_is_in_camel_case_and_the_rest_is_not(kind: Any) -> None:
    renamed = kind.__struct_encode_fields__ != kind.__struct_fields__
    assert renamed == (kind in ON_THE_WIRE)
    assert not [name for name in kind.__struct_encode_fields__ if "_" in name and renamed]


def test_no_message_can_be_changed() -> None:
    event = deletion("a")
    with pytest.raises(AttributeError):
        event.item_id = ItemId("other")  # type: ignore[misc]


def test_messages_of_the_same_content_are_equal() -> None:
    assert deletion("a") == deletion("a")
    assert deletion("a") != deletion("b")
    mine, reply = takedown(name="t"), FakeReply()
    assert Begin(mine, reply) == Begin(mine, reply)


def test_unknown_fields_are_ignored_by_every_record() -> None:
    for kind in ON_THE_WIRE:
        assert not kind.__struct_config__.forbid_unknown_fields


def test_a_refusal_says_when_to_try_again() -> None:
    assert Unavailable("overloaded", "full").retry_after == 1


def test_a_deleted_container_carries_its_time() -> None:
    value = msgspec.json.decode(msgspec.json.encode(gone("a")))
    assert value == {
        "containerId": "a",
        "containerType": "group",
        "deletedAt": T0.isoformat().replace("+00:00", "Z"),
        "confirmedBy": "deletion",
    }
    assert msgspec.json.decode(msgspec.json.encode(place("a"))) == {
        "containerId": "a",
        "containerType": "group",
    }


def test_a_deletion_is_hashable_and_can_be_a_member_of_a_set() -> None:
    assert len({deletion("a"), deletion("a"), deletion("b")}) == 2
    assert isinstance(deletion("a"), ItemDeleted)
