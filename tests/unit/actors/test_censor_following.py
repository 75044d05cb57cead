"""Lists that change under a takedown, in any order with all else that may happen to it.

The model beside the machine is as simple as the rules are in words: for each container, whether it
is outstanding, confirmed by a deletion, or vanished from a list; whether it is proven that the list
is the newest; whether it can be read. Invariant I2 is said once more by itself, from what was told.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.examples import examples
from support.fakes import ITEM, OTHER_ITEM, T0, FakeReply, deletion, listed, places, takedown

from actors.fsm.machine import Effect
from actors.item_censor.machine import ITEM_CENSOR
from actors.item_censor.states import (
    Answer,
    Data,
    FollowItem,
    ItemsToBeDeleted,
    PublishRequests,
    ReportStaleDeletion,
    State,
    SubscribeToDeletions,
    Uninitialized,
)
from domain.messages import (
    Begin,
    CatalogueCaughtUp,
    Container,
    ContainersFound,
    DeadlinePassed,
    Deleted,
    ItemInDoubt,
    NotFound,
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
dates = st.integers(-2, 6)
TOLERANCE = 1


def named(containers: tuple[Any, ...]) -> list[str]:
    return [str(c.container_id) for c in containers]


class Followed(RuleBasedStateMachine):
    """One takedown. Whoever breaks a rule of the contract fails here, whatever the table says."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = takedown(name="none yet")
        self.state = State.IDLE
        self.data: Data = Uninitialized()
        self.stale = False
        self.sent: tuple[Container, ...] = ()
        self.forget()

    def forget(self) -> None:
        self.answer: object = None
        self.subscribed: set[str] = set()
        self.on_their_way: tuple[Container, ...] = ()
        self.open: tuple[Container, ...] = ()  # of those: what is not settled
        self.lost: tuple[Container, ...] = ()  # of those: what has failed
        self.asked: set[str] = set()  # since they appeared last
        self.acknowledged: set[str] = set()  # of those
        self.handed_over = False
        # The model: what is known of each container, in the words of the rules.
        self.fate: dict[str, str] = {}
        self.dated: dict[str, int] = {}  # by the deletion that confirmed it
        self.named: dict[str, int] = {}  # the time of the newest list that names it
        self.newest = 0
        self.proven = False
        self.doubted = False
        # What was told, for I2: lists with their times, and deletions with their dates.
        self.told: list[tuple[str, int]] = []
        self.before = 0  # how many lists there were when the evidence came
        self.heard: set[tuple[str, int]] = set()

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
                self.on_their_way = self.open = containers
                self.lost = ()
                self.asked |= set(named(containers))
                self.acknowledged -= set(named(containers))
            case Answer(outcome):
                assert self.answer is None
                self.answer = outcome
            case ReportStaleDeletion():
                self.stale = True
            case _:
                pass

    # ------------------------------------------------------------------------------ rules

    @initialize(found=lists, proven=st.booleans())
    def begin(self, found: str, proven: bool) -> None:
        self.forget()
        self.mine = takedown()
        self.give(Begin(self.mine, FakeReply()))
        self.give(listed(*NAMES, after=9))  # older than the answer of the catalogue
        self.give(ItemInDoubt(ITEM, T0))
        self.fate = dict.fromkeys(found, "outstanding")
        self.named = dict.fromkeys(found, 0)
        self.told = [(found, 0)]
        self.before = 1
        self.proven = proven
        self.give(ContainersFound(self.mine.takedown_id, places(*found), T0, proven=proven))

    answered = precondition(lambda self: self.answer is not None)
    in_flight = precondition(lambda self: self.answer is None)
    publishing = precondition(lambda self: self.answer is None and self.on_their_way)

    @answered
    @rule(found=lists, proven=st.booleans())
    def begin_the_next(self, found: str, proven: bool) -> None:
        self.begin(found, proven)

    @answered
    @rule(
        event=st.sampled_from([deletion("a"), listed("a"), listed(), ItemInDoubt(ITEM, T0)]),
    )
    def be_told_late(self, event: object) -> None:
        before = self.answer
        self.give(event)
        self.give(CatalogueCaughtUp(self.mine.takedown_id))
        assert self.answer is before
        assert self.state is State.IDLE

    @in_flight
    @rule(name=names, date=dates, item=st.sampled_from([ITEM, ITEM, ITEM, OTHER_ITEM]))
    def delete(self, name: str, date: int, item: Any) -> None:
        self.stale = False
        fate = self.fate.get(name) if item == ITEM else None
        if fate is not None:
            self.heard.add((name, date))
        stale = fate in {"outstanding", "vanished"} and self.named[name] - date > TOLERANCE
        if fate in {"outstanding", "vanished"} and not stale:
            self.fate[name] = "confirmed"
            self.dated[name] = date
        elif fate == "confirmed" and not self.proven:
            self.dated[name] = max(date, self.dated[name])
        self.give(deletion(name, item, after=date))
        assert self.stale == stale

    @in_flight
    @rule(content=lists, after=times, item=st.sampled_from([ITEM, ITEM, ITEM, OTHER_ITEM]))
    def list_anew(self, content: str, after: int, item: Any) -> None:
        if item == ITEM:
            self.told.append((content, after))
            self.before += not self.proven
            for name in content:
                refuted = not self.proven and after - self.dated.get(name, after) > TOLERANCE
                if self.fate.get(name) in {None, "vanished"} or refuted:
                    self.fate[name] = "outstanding"
                    self.dated.pop(name, None)
                    self.asked.discard(name)
                    self.acknowledged.discard(name)
                self.named[name] = max(after, self.named.get(name, after))
            if after >= self.newest:
                self.newest = after
                self.doubted = False
                for name in self.fate.keys() - set(content):
                    if self.fate[name] == "outstanding":
                        self.fate[name] = "vanished"
        self.give(listed(*content, item=item, after=after))

    @in_flight
    @rule(item=st.sampled_from([ITEM, OTHER_ITEM]))
    def doubt(self, item: Any) -> None:
        self.doubted |= item == ITEM
        self.give(ItemInDoubt(item, T0))

    @in_flight
    @rule(mine=st.booleans())
    def catch_up(self, mine: bool) -> None:
        self.proven |= mine
        name = self.mine.takedown_id if mine else takedown(name="earlier").takedown_id
        self.give(CatalogueCaughtUp(name))

    @publishing
    @precondition(lambda self: not self.lost)
    @rule()
    def acknowledge(self) -> None:
        self.settle(self.open)
        self.give(RequestsPublished(self.mine.takedown_id))

    @publishing
    @rule(data=st.data(), handed_over=st.booleans())
    def fail(self, data: st.DataObject, handed_over: bool) -> None:
        """Some more are acknowledged, some fail; the last that are left may stay open."""
        sent = handed_over or self.open != self.on_their_way
        some = data.draw(st.integers(0, len(self.open))) if sent else 0
        rest = self.open[some:]
        left = data.draw(st.integers(0, len(rest))) if sent else 0
        lost, still = rest[: len(rest) - left], rest[len(rest) - left :]
        if not lost and not (self.lost and not still):
            return  # nothing to tell
        self.lost = (*self.lost, *lost)
        self.settle(self.open[:some], still=still, handed_over=sent)
        settled = {c.container_id for c in (*self.lost, *still)}
        event = PublishFailed(
            self.mine.takedown_id,
            "cause",
            sent,
            tuple(c for c in self.sent if c.container_id not in settled),
            self.lost,
            still,
        )
        self.give(event)

    def settle(
        self,
        published: tuple[Container, ...],
        *,
        still: tuple[Container, ...] = (),
        handed_over: bool = True,
    ) -> None:
        self.sent = self.on_their_way
        self.open = still
        if not still:
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
        assert set(named(tuple(self.data.deleted))) == self.of("confirmed", "vanished")
        assert named(self.data.containers) == list(dict.fromkeys(named(self.data.containers)))
        assert self.of("outstanding") <= self.subscribed
        not_asked = self.of("outstanding") - self.asked
        assert not not_asked or self.on_their_way, "nothing else would have them asked for"

    @invariant()
    def there_is_an_answer_as_soon_as_there_may_be_one(self) -> None:
        ready = self.proven and not self.doubted and not self.of("outstanding")
        assert self.answer is not None or not ready
        if isinstance(self.answer, Deleted | NotFound):
            assert ready

    @invariant()
    def a_200_is_true(self) -> None:
        """I2, of the newest list before the evidence came."""
        if not isinstance(self.answer, Deleted):
            return
        content, at = self.told[self.before - 1]
        for name in content:
            assert any(n == name and at - date <= TOLERANCE for n, date in self.heard) or any(
                name not in later for later, _ in self.told[self.before :]
            )

    @invariant()
    def the_answer_is_whole_and_true(self) -> None:
        if self.answer is None:
            assert self.state is State.ACTIVE or not self.told
            return
        assert self.state is State.IDLE
        deleted, outstanding = self.of("confirmed", "vanished"), self.of("outstanding")
        match self.answer:
            case Deleted(containers):
                assert containers
                assert not outstanding, "never with a container that is not known to be deleted"
                by = {str(c.container_id): c.confirmed_by for c in containers}
                dates = {str(c.container_id): c.deleted_at for c in containers}
                assert by.keys() == deleted
                assert len(containers) == len(by)
                for name, fate in self.fate.items():
                    assert by[name] == ("deletion" if fate == "confirmed" else "list")
                    if fate == "confirmed":
                        assert dates[name] == T0 + timedelta(seconds=self.dated[name])
            case NotFound():
                assert not self.fate
            case TimedOut(gone, rest, proven, doubted):
                assert sorted(named(gone)) == sorted(deleted)
                assert sorted(named(rest)) == sorted(outstanding)
                assert (proven, doubted) == (self.proven, self.doubted)
                assert self.fate
            case Refused(_, published, unpublished, gone, rest, unacknowledged):
                assert self.handed_over
                assert sorted(named(gone)) == sorted(deleted)
                assert sorted(named(rest)) == sorted(outstanding)
                assert set(named(published)) == self.acknowledged
                assert set(named(unacknowledged)) == set(named(self.open))
                all_three = (*published, *unpublished, *unacknowledged)
                assert sorted(named(all_three)) == sorted(self.fate)
            case Unavailable():
                assert not self.handed_over, "503 only if nothing was published"
            case other:
                raise AssertionError(other)


TestFollowed = Followed.TestCase
TestFollowed.settings = settings(deadline=None, max_examples=examples(400), stateful_step_count=25)
