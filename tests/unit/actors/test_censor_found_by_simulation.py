"""What the simulation has found in the censor, each in as few steps as it takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.fakes import ITEM, T0, deletion, places, takedown
from support.settling import settle
from support.stage import Stage

from actors.item_censor.actor import ItemCensor
from actors.item_censor.machine import ITEM_CENSOR
from actors.item_censor.states import Answer, ItemsToBeDeleted
from domain.messages import Begin, CensorFailed, ContainersFound, Deleted, ItemListed


async def test_a_censor_that_fails_before_it_has_begun_says_which_takedown_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receive = ItemCensor.on_receive

    def fail_at_begin(censor: ItemCensor, message: Any) -> None:
        if type(message) is Begin:
            raise MemoryError
        receive(censor, message)

    stage = Stage("a", supervised=True)
    await settle()
    monkeypatch.setattr(ItemCensor, "on_receive", fail_at_begin)
    mine, reply = stage.begin()
    await settle()
    (failed,) = stage.told
    assert isinstance(failed, CensorFailed)
    assert (failed.alive, failed.takedown_id) == (True, mine.takedown_id)
    assert reply.outcomes == [], "the coordinator answers"
    monkeypatch.undo()
    await stage.close()


async def test_a_censor_that_fails_while_it_is_idle_says_that_nothing_is_lost() -> None:
    stage = Stage("a", supervised=True)
    await settle()
    stage.ref.tell("what is this?")
    await settle()
    (failed,) = stage.told
    assert failed.takedown_id is None
    await stage.close()


def test_a_deletion_that_is_read_while_no_list_has_its_container_still_confirms_it() -> None:
    mine = takedown(ITEM)
    state, data = ITEM_CENSOR.initial.state, ITEM_CENSOR.initial.data

    def listed(second: int, *names: str) -> ItemListed:
        return ItemListed(ITEM, places(*names), T0 + timedelta(seconds=second))

    for event in (
        Begin(mine, None),  # type: ignore[arg-type] # the machine does not look at it
        ContainersFound(mine.takedown_id, places("a", "b"), T0),
        listed(1, "b"),
        deletion("a"),
        listed(2, "a", "b"),
    ):
        step = ITEM_CENSOR.transition(state, data, event)
        state, data = step.state, step.data
    assert isinstance(data, ItemsToBeDeleted)
    assert data.outstanding == {"b"}
    assert data.due == frozenset(), "it is not asked for again"
    step = ITEM_CENSOR.transition(state, data, deletion("b", after=2))
    (answer,) = (effect for effect in step.effects if isinstance(effect, Answer))
    assert isinstance(answer.outcome, Deleted)
    assert {c.container_id for c in answer.outcome.containers} == {"a", "b"}
