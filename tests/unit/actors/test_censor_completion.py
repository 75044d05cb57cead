"""Completion is decided by a set: whatever comes, in whatever order, however often."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import ITEM, OTHER_ITEM, FakeReply, deletion, places, takedown

from actors.fsm.machine import Effect, IllegalTransition
from actors.item_censor.machine import ITEM_CENSOR
from actors.item_censor.states import Answer, Data, ItemsToBeDeleted, State, Uninitialized
from domain.messages import (
    Begin,
    CatalogueUnavailable,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    Flush,
    ItemDeleted,
    ItemUnknown,
    PublishFailed,
    RequestsPublished,
    TakedownId,
)

NAMES = "abcdef"

deletions = st.builds(
    deletion,
    st.sampled_from([*NAMES, "a-b", "elsewhere"]),
    st.sampled_from([ITEM, ITEM, ITEM, OTHER_ITEM]),
)


class Run:
    """A machine that is given events, without an actor."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self.data: Data = Uninitialized()
        self.effects: list[Effect] = []

    def give(self, event: object) -> None:
        step = ITEM_CENSOR.transition(self.state, self.data, event)
        self.state, self.data = step.state, step.data
        self.effects += step.effects

    @property
    def answers(self) -> list[object]:
        return [effect.outcome for effect in self.effects if isinstance(effect, Answer)]


def active(names: str) -> Run:
    run = Run()
    mine = takedown(name="mine")
    run.give(Begin(mine, FakeReply()))
    run.give(ContainersFound(mine.takedown_id, places(*names)))
    return run


@settings(deadline=None)
@given(st.sets(st.sampled_from(NAMES), min_size=1), st.lists(deletions, max_size=30))
def test_any_deletions_end_in_success_if_and_only_if_they_cover_every_container(
    names: set[str], events: list[ItemDeleted]
) -> None:
    run = active("".join(sorted(names)))
    for event in events:
        run.give(event)
    heard = {event.container_id for event in events if event.item_id == ITEM}
    if names <= heard:
        assert run.state is State.IDLE
        (answer,) = run.answers
        assert isinstance(answer, Deleted)
        assert {c.container_id for c in answer.containers} == names
        assert len(answer.containers) == len(names)
    else:
        assert run.state is State.ACTIVE
        assert run.answers == []
        assert isinstance(run.data, ItemsToBeDeleted)
        assert run.data.outstanding == names - heard
        assert {c.container_id for c in run.data.deleted} == names & heard


@settings(deadline=None)
@given(st.permutations(NAMES))
def test_the_order_of_the_deletions_changes_only_the_order_of_the_list(order: list[str]) -> None:
    run = active(NAMES)
    for name in order:
        run.give(deletion(name))
    (answer,) = run.answers
    assert isinstance(answer, Deleted)
    assert [c.container_id for c in answer.containers] == order


@settings(deadline=None)
@given(st.data())
def test_the_lists_of_an_answer_always_split_the_containers_in_two(data: st.DataObject) -> None:
    run = active(NAMES)
    for event in data.draw(st.lists(deletions, max_size=8)):
        run.give(event)
    if isinstance(run.data, ItemsToBeDeleted):
        deleted, outstanding = run.data.already_deleted(), run.data.still_outstanding()
        assert set(deleted) | set(outstanding) == set(places(*NAMES))
        assert len(deleted) + len(outstanding) == len(NAMES)


mine_or_earlier = st.sampled_from([TakedownId("mine"), TakedownId("earlier")])
some_places = st.sets(st.sampled_from(NAMES)).map(lambda names: places(*sorted(names)))
any_event = st.one_of(
    st.just(Begin(takedown(name="mine"), FakeReply())),
    st.just(Flush()),
    deletions,
    st.builds(ContainersFound, mine_or_earlier, some_places),
    st.builds(ItemUnknown, mine_or_earlier),
    st.builds(CatalogueUnavailable, mine_or_earlier, st.just("behind")),
    st.builds(RequestsPublished, mine_or_earlier),
    st.builds(
        PublishFailed, mine_or_earlier, st.just("cause"), st.booleans(), some_places, some_places
    ),
    st.builds(DeadlinePassed, mine_or_earlier),
)


@settings(deadline=None)
@given(st.lists(any_event, max_size=40))
def test_whatever_comes_each_takedown_is_answered_once_and_none_is_forgotten(
    events: list[object],
) -> None:
    run = Run()
    begun = 0
    for event in events:
        before = (run.state, run.data, list(run.effects))
        try:
            run.give(event)
        except IllegalTransition:
            assert (run.state, run.data, run.effects) == before
            continue
        begun += isinstance(event, Begin)
        in_flight = run.state is not State.IDLE
        assert len(run.answers) == begun - in_flight
