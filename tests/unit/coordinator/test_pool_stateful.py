"""The pool, whatever is taken, finished, put back and lost in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.examples import examples
from support.fakes import FakeReply, takedown

from coordinator.pool import CensorPool


class Ref:
    def __init__(self, number: int) -> None:
        self.actor_urn = f"censor {number}"


class Pool(RuleBasedStateMachine):
    @initialize(maximum=st.integers(0, 4))
    def begin(self, maximum: int) -> None:
        self.maximum = maximum
        self.started: list[Any] = []
        self.pool = CensorPool(start=self._start, maximum=maximum)
        self.idle: list[Any] = []
        self.busy: dict[str, tuple[Any, Any]] = {}

    def _start(self) -> Any:
        self.started.append(Ref(len(self.started)))
        return self.started[-1]

    @rule()
    def take(self) -> None:
        mine, reply, started = takedown(), FakeReply(), len(self.started)
        censor = self.pool.take(mine, reply)
        if self.idle:
            assert censor is self.idle.pop(), "the last one back is the first one out"
        elif len(self.busy) < self.maximum:
            assert len(self.started) == started + 1
        else:
            assert censor is None
            assert len(self.started) == started
            return
        assert censor is not None
        assert censor.actor_urn not in self.busy
        self.busy[censor.actor_urn] = (censor, mine)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def finish_and_put_back(self, data: st.DataObject) -> None:
        urn = data.draw(st.sampled_from(sorted(self.busy)))
        censor, mine = self.busy.pop(urn)
        entry = self.pool.finish(urn)
        assert entry is not None
        assert (entry.censor, entry.takedown) == (censor, mine)
        assert self.pool.finish(urn) is None
        self.pool.put_back(censor)
        self.idle.append(censor)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        censor = data.draw(st.sampled_from(self.started))
        self.pool.remove(censor.actor_urn)
        self.busy.pop(censor.actor_urn, None)
        self.idle = [each for each in self.idle if each is not censor]

    @rule()
    def clear(self) -> None:
        in_flight, censors = self.pool.clear()
        assert [entry.censor for entry in in_flight] == [c for c, _ in self.busy.values()]
        assert list(censors) == [*(c for c, _ in self.busy.values()), *self.idle]
        self.busy.clear()
        self.idle.clear()

    @invariant()
    def it_knows_who_is_busy_with_what(self) -> None:
        assert (self.pool.idle, self.pool.in_flight) == (len(self.idle), len(self.busy))
        assert self.pool.in_flight <= self.maximum
        for urn, (_, mine) in self.busy.items():
            entry = self.pool.find(urn)
            assert entry is not None
            assert entry.takedown is mine


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
