"""An item in very many containers: what one event costs, and where the limit is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from support.censor_cases import LOCATING, MINE, TID, done
from support.fakes import T0, deletion, listed, places

from actors.item_censor.machine import ITEM_CENSOR, item_censor
from actors.item_censor.states import Answer, Data, ItemsToBeDeleted, State
from domain.messages import (
    CatalogueCaughtUp,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    ItemListed,
    RequestsPublished,
    TimedOut,
    Unavailable,
)

FEW, MANY = 1_000, 8_000
NAMES = [f"c{number}" for number in range(MANY)]


class Work:
    """Counts how much of Python is executed: calls, of ours and of C, and lines."""

    def __init__(self) -> None:
        self.events = 0

    def of(self, what: Callable[[], Any]) -> int:
        """The calls and lines that this takes, added up."""
        before = self.events
        sys.setprofile(self._count)
        sys.settrace(self._trace)
        try:
            what()
        finally:
            sys.settrace(None)
            sys.setprofile(None)
        return self.events - before

    def _count(self, _frame: Any, _event: str, _argument: Any) -> None:
        self.events += 1

    def _trace(self, _frame: Any, event: str, _argument: Any) -> Any:
        self.events += event == "line"
        return self._trace


class Takedown:
    """One takedown in `containers` places, up to where it is active."""

    def __init__(self, containers: int, *, proven: bool = True) -> None:
        self.names = NAMES[:containers]
        self.state: State = State.LOCATING
        self.data: Data = LOCATING
        self.outcome: Any = None
        self.handle(ContainersFound(TID, places(*self.names), T0, proven=proven))
        assert self.state is State.ACTIVE
        self.handle(RequestsPublished(TID))

    def handle(self, event: Any) -> None:
        step = ITEM_CENSOR.transition(self.state, self.data, event)
        self.state, self.data = step.state, step.data
        for effect in step.effects:
            if type(effect) is Answer:
                self.outcome = effect.outcome

    def copied(self, event: Any) -> int:
        """Bytes of the collections that a transition has made anew."""
        before = {id(value) for value in _collections(self.data)}
        self.handle(event)
        return sum(
            sys.getsizeof(value)
            for value in _collections(self.data)
            if id(value) not in before and isinstance(value, frozenset | tuple | set | dict)
        )


def _collections(data: Any) -> list[Any]:
    return [getattr(data, name) for name in getattr(data, "__struct_fields__", ())]


def replayed(names: list[str], after: float = 0.0) -> list[Any]:
    return [deletion(name, after=after) for name in names]


SEQUENCES: dict[str, tuple[bool, Callable[[list[str]], list[list[Any]]]]] = {
    "deletions": (True, lambda names: [replayed(names)[:-1]]),
    "deletions before the evidence": (False, lambda names: [replayed(names)]),
    "each deletion twice": (
        False,
        lambda names: [replayed(names), replayed(names, 0.5)],
    ),
    "deletions that are too old": (True, lambda names: [replayed(names, -60)]),
    "deletions of what a list has confirmed": (
        False,
        lambda names: [[listed(after=1)], replayed(names, 2)],
    ),
    "deletions of what the newest list does not name": (
        False,
        lambda names: [
            [listed(after=2)],
            [ItemListed(MINE.item_id, places(*names), T0 + timedelta(seconds=1))],
            replayed(names, 3),
        ],
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_an_event_costs_the_same_in_few_containers_and_in_many(name: str) -> None:
    proven, sequence = SEQUENCES[name]
    each: list[float] = []
    for containers in (FEW, MANY):
        takedown = Takedown(containers, proven=proven)
        *first, last = sequence(takedown.names)
        for events in first:
            for event in events:
                takedown.handle(event)
        part = last[:: max(1, len(last) // 200)]
        rest = [event for event in last if event not in part]
        for event in rest:  # so that it is far on its way
            takedown.handle(event)
        work = Work()
        each.append(sum(work.of(partial(takedown.handle, one)) for one in part) / len(part))
    few, many = each
    assert many < 1.3 * few, f"{few:.0f} steps in {FEW} containers, {many:.0f} in {MANY}"


@pytest.mark.parametrize("name", SEQUENCES)
def test_no_event_copies_the_containers(name: str) -> None:
    proven, sequence = SEQUENCES[name]
    takedown = Takedown(MANY, proven=proven)
    *first, last = sequence(takedown.names)
    for events in first:
        for event in events:
            takedown.handle(event)
    copied = [takedown.copied(event) for event in last]
    assert sum(copied) < 200 * MANY


def test_many_containers_end_in_one_200_with_each_of_them_once() -> None:
    takedown = Takedown(MANY, proven=False)
    for event in (*replayed(takedown.names), *replayed(takedown.names, 0.5)):
        takedown.handle(event)
    takedown.handle(CatalogueCaughtUp(TID))
    assert isinstance(takedown.outcome, Deleted)
    assert type(takedown.outcome.containers) is tuple
    assert [c.container_id for c in takedown.outcome.containers] == takedown.names


def test_many_containers_end_in_a_504_that_splits_them_in_two() -> None:
    takedown = Takedown(MANY)
    for event in replayed(takedown.names[: MANY // 2]):
        takedown.handle(event)
    takedown.handle(DeadlinePassed(TID))
    assert isinstance(takedown.outcome, TimedOut)
    assert takedown.outcome.deleted == places(*takedown.names[: MANY // 2])
    assert takedown.outcome.outstanding == places(*takedown.names[MANY // 2 :])


# --------------------------------------------------------------------------------- limit

THREE = item_censor(follow_changes=True, containers_max=3)
TOO_MANY = Unavailable(
    "too-many-containers",
    "The item is in more than 3 containers (TAKEDOWN_CONTAINERS_MAX)",
    None,
)


def test_an_item_in_too_many_containers_is_refused_and_nothing_is_published() -> None:
    for proven in (True, False):
        found = ContainersFound(TID, places(*"abcd"), T0, proven=proven)
        assert THREE.transition(State.LOCATING, LOCATING, found) == done(TOO_MANY)


def test_an_item_in_as_many_as_allowed_is_taken_down_also_if_its_list_repeats_them() -> None:
    for names in ("abc", "abcabcabc"):
        found = ContainersFound(TID, places(*names), T0)
        step = THREE.transition(State.LOCATING, LOCATING, found)
        assert step.state is State.ACTIVE
        assert isinstance(step.data, ItemsToBeDeleted)
        assert step.data.containers == places(*"abc")


def _active() -> ItemsToBeDeleted:
    found = ContainersFound(TID, places(*"abc"), T0, proven=False)
    data = THREE.transition(State.LOCATING, LOCATING, found).data
    assert isinstance(data, ItemsToBeDeleted)
    return data


def test_a_newer_list_that_is_too_long_is_not_followed_and_there_is_no_200() -> None:
    data: Data = _active()
    step = THREE.transition(State.ACTIVE, data, listed(*"abcd", after=1))
    assert step.data == replace(data, too_long_at=T0 + timedelta(seconds=1))
    assert step.effects == ()
    data = step.data
    for event in (deletion("a"), deletion("b"), deletion("c"), CatalogueCaughtUp(TID)):
        step = THREE.transition(State.ACTIVE, data, event)
        assert step.state is State.ACTIVE
        data = step.data
    step = THREE.transition(State.ACTIVE, data, DeadlinePassed(TID))
    outcome = TimedOut(places(*"abc"), (), proven=True, doubted=False, too_many=True)
    assert step == done(outcome)


def test_a_shorter_list_after_one_that_was_too_long_is_followed_again() -> None:
    data: Data = THREE.transition(State.ACTIVE, _active(), listed(*"abcd", after=1)).data
    data = THREE.transition(State.ACTIVE, data, CatalogueCaughtUp(TID)).data
    step = THREE.transition(State.ACTIVE, data, listed(after=2))
    assert step.state is State.IDLE
    (answer,) = [effect for effect in step.effects if type(effect) is Answer]
    assert isinstance(answer.outcome, Deleted)


def test_a_list_older_than_one_that_was_too_long_does_not_take_its_place() -> None:
    data: Data = THREE.transition(State.ACTIVE, _active(), listed(*"abcd", after=3)).data
    data = THREE.transition(State.ACTIVE, data, CatalogueCaughtUp(TID)).data
    for event in (
        listed(*"abc", after=2),
        deletion("a", after=4),
        listed(after=1),
        listed(after=2),
    ):
        step = THREE.transition(State.ACTIVE, data, event)
        assert step.state is State.ACTIVE
        data = step.data
    assert THREE.transition(State.ACTIVE, data, listed(after=3)).state is State.IDLE


def test_a_list_that_is_too_long_is_a_503_as_long_as_nothing_was_published() -> None:
    found = ContainersFound(TID, (), T0, proven=False)
    data = THREE.transition(State.LOCATING, LOCATING, found).data
    step = THREE.transition(State.ACTIVE, data, listed(*"abcd", after=1))
    assert step == done(TOO_MANY)
