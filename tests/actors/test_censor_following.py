"""Lists that change under a takedown, in any order with all else that may happen to it.

The model beside the machine is as simple as the rules are in words: for each container, whether it
is outstanding, confirmed by a deletion, or vanished from a list.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.fakes import ITEM, OTHER_ITEM, T0, FakeReply, deletion, listed, places, takedown

from actors.censor_machine import ITEM_CENSOR
from actors.censor_parts import (
    Answer,
    Data,
    FollowItem,
    ItemsToBeDeleted,
    PublishRequests,
    State,
    SubscribeToDeletions,
    Uninitialized,
)
from actors.fsm import Effect
from messages import (
    Begin,
    Container,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    PublishFailed,
    Refused,
    RequestsPublished,
    TimedOut,
    Unavailable,
)

NAMES = "abcdef"

names = st.sampled_from(NAMES)
lists = st.lists(names, unique=True, max_size=len(NAMES)).map("".join)
times = st.integers(0, 4)


def named(containers: tuple[Any, ...]) -> list[str]:
    return [str(c.container_id) for c in containers]


class Followed(RuleBasedStateMachine):
    """One takedown. Whoever breaks a rule of the contract fails here, whatever the table says."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = takedown(name="none yet")
        self.state = State.IDLE
        self.data: Data = Uninitialized()
        self.forget()

    def forget(self) -> None:
        self.answer: object = None
        self.subscribed: set[str] = set()
        self.on_their_way: tuple[Container, ...] = ()
        self.asked: set[str] = set()  # since they appeared last
        self.acknowledged: set[str] = set()  # of those
        self.handed_over = False
        # The model: what is known of each container, in the words of the rules.
        self.fate: dict[str, str] = {}
        self.newest = 0

    # ------------------------------------------------------------------------ the machine

    def give(self, event: object) -> None:
        step = ITEM_CENSOR.transition(self.state, self.data, event)
        self.state, self.data = step.state, step.data
        for effect in step.effects:
            self.perform(effect)

    def perform(self, effect: Effect) -> None:
        match effect:
            case FollowItem(item_id):
                assert item_id == ITEM
            case SubscribeToDeletions(item_id, containers):
                assert item_id == ITEM
                self.subscribed |= set(named(containers))
            case PublishRequests(_, containers):
                assert not self.on_their_way, "one publication at a time"
                assert containers, "and none of nothing"
                assert set(named(containers)) <= self.subscribed, "subscribe before publish"
                assert {self.fate[name] for name in named(containers)} == {"outstanding"}
                self.on_their_way = containers
                self.asked |= set(named(containers))
                self.acknowledged -= set(named(containers))
            case Answer(outcome):
                assert self.answer is None
                self.answer = outcome
            case _:
                pass

    # ------------------------------------------------------------------------------ rules

    @initialize(found=lists.filter(bool))
    def begin(self, found: str) -> None:
        self.forget()
        self.mine = takedown()
        self.give(Begin(self.mine, FakeReply()))
        self.give(listed(*NAMES, after=9))  # older than the answer of the catalogue
        self.fate = dict.fromkeys(found, "outstanding")
        self.give(ContainersFound(self.mine.takedown_id, places(*found), T0))

    answered = precondition(lambda self: self.answer is not None)
    in_flight = precondition(lambda self: self.answer is None)
    publishing = precondition(lambda self: self.answer is None and self.on_their_way)

    @answered
    @rule(found=lists.filter(bool))
    def begin_the_next(self, found: str) -> None:
        self.begin(found)

    @answered
    @rule(event=st.sampled_from([deletion("a"), listed("a"), listed()]))
    def be_told_late(self, event: object) -> None:
        before = self.answer
        self.give(event)
        assert self.answer is before
        assert self.state is State.IDLE

    @in_flight
    @rule(name=names, item=st.sampled_from([ITEM, ITEM, OTHER_ITEM]))
    def delete(self, name: str, item: Any) -> None:
        if item == ITEM and name in self.fate:
            self.fate[name] = "confirmed"
        self.give(deletion(name, item))

    @in_flight
    @rule(content=lists, after=times, item=st.sampled_from([ITEM, ITEM, ITEM, OTHER_ITEM]))
    def list_anew(self, content: str, after: int, item: Any) -> None:
        if item == ITEM:
            for name in content:
                if self.fate.get(name) in {None, "vanished"}:
                    self.fate[name] = "outstanding"
                    self.asked.discard(name)
                    self.acknowledged.discard(name)
            if after >= self.newest:
                self.newest = after
                for name in self.fate.keys() - set(content):
                    if self.fate[name] == "outstanding":
                        self.fate[name] = "vanished"
        self.give(listed(*content, item=item, after=after))

    @publishing
    @rule()
    def acknowledge(self) -> None:
        self.settle(self.on_their_way)
        self.give(RequestsPublished(self.mine.takedown_id))

    @publishing
    @rule(data=st.data(), handed_over=st.booleans())
    def fail(self, data: st.DataObject, handed_over: bool) -> None:
        some = data.draw(st.integers(0, len(self.on_their_way) - 1)) if handed_over else 0
        requests = self.on_their_way
        self.settle(requests[:some], handed_over=handed_over)
        event = PublishFailed(
            self.mine.takedown_id, "cause", handed_over, requests[:some], requests[some:]
        )
        self.give(event)

    def settle(self, published: tuple[Container, ...], *, handed_over: bool = True) -> None:
        self.on_their_way = ()
        self.handed_over |= handed_over
        self.acknowledged |= set(named(published)) & self.asked

    @in_flight
    @rule()
    def run_out_of_time(self) -> None:
        self.give(DeadlinePassed(self.mine.takedown_id))

    # -------------------------------------------------------------------------- invariants

    def of(self, *fates: str) -> set[str]:
        return {name for name, fate in self.fate.items() if fate in fates}

    @invariant()
    def what_is_outstanding_is_known_and_asked_for_or_will_be(self) -> None:
        if not isinstance(self.data, ItemsToBeDeleted):
            return
        assert self.data.outstanding == self.of("outstanding")
        assert set(named(self.data.deleted)) == self.of("confirmed", "vanished")
        assert named(self.data.containers) == list(dict.fromkeys(named(self.data.containers)))
        assert self.of("outstanding") <= self.subscribed
        not_asked = self.of("outstanding") - self.asked
        assert not not_asked or self.on_their_way, "nothing else would have them asked for"

    @invariant()
    def the_answer_is_whole_and_true(self) -> None:
        if self.answer is None:
            assert self.state is State.ACTIVE or not self.fate
            return
        assert self.state is State.IDLE
        deleted, outstanding = self.of("confirmed", "vanished"), self.of("outstanding")
        match self.answer:
            case Deleted(containers):
                assert not outstanding, "never with a container that is not known to be deleted"
                assert sorted(named(containers)) == sorted(deleted)
            case TimedOut(gone, rest):
                assert sorted(named(gone)) == sorted(deleted)
                assert sorted(named(rest)) == sorted(outstanding)
                assert outstanding
            case Refused(_, published, unpublished, gone, rest):
                assert self.handed_over
                assert sorted(named(gone)) == sorted(deleted)
                assert sorted(named(rest)) == sorted(outstanding)
                assert set(named(published)) == self.acknowledged
                assert sorted(named((*published, *unpublished))) == sorted(self.fate)
            case Unavailable():
                assert not self.handed_over, "503 only if nothing was published"
            case other:
                raise AssertionError(other)


TestFollowed = Followed.TestCase
TestFollowed.settings = settings(deadline=None, max_examples=400, stateful_step_count=25)
