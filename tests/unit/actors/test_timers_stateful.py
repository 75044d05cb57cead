"""Named timers against a table of what should come when, on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.examples import examples

from actors.fsm.timers import NamedTimers, TimerFired
from dev.simulation.loop import SimulatedLoop

NAMES = st.sampled_from(["deadline", "state", "other"])


class Timers(RuleBasedStateMachine):
    """What the loop delivers waits in a mailbox, and is looked at when a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimulatedLoop()
        self.mailbox: list[TimerFired] = []
        self.timers = NamedTimers(self.loop, self.mailbox.append)
        self.wanted: dict[str, tuple[float, int]] = {}
        self.number = 0

    def teardown(self) -> None:
        self.timers.cancel_all()
        self.loop.close()

    @rule(name=NAMES, seconds=st.floats(-1.0, 5.0))
    def start(self, name: str, seconds: float) -> None:
        self.number += 1
        at = self.loop.time() + seconds
        self.timers.start(name, at, self.number)
        self.wanted[name] = (at, self.number)

    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        self.timers.cancel(name)
        self.wanted.pop(name, None)

    @rule()
    def cancel_all(self) -> None:
        self.timers.cancel_all()
        self.wanted.clear()

    @rule(seconds=st.floats(0.0, 3.0))
    def let_time_pass(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(seconds=st.floats(0.0, 3.0))
    def be_stopped(self, seconds: float) -> None:
        """The clock goes on, and nothing is delivered."""
        self.loop.pause(seconds)

    @precondition(lambda self: self.mailbox)
    @rule()
    def look_into_the_mailbox(self) -> None:
        event = self.timers.accept(self.mailbox.pop(0))
        if event is not None:
            self._came(event)

    @rule()
    def take_what_is_due(self) -> None:
        due = {n: (at, e) for n, (at, e) in self.wanted.items() if at <= self.loop.time()}
        event: Any = self.timers.take_due()
        if not due:
            assert event is None
            return
        assert event is not None
        assert min(at for at, _ in due.values()) == next(a for a, e in due.values() if e == event)
        self._came(event)

    def _came(self, event: int) -> None:
        (name,) = (name for name, (_, number) in self.wanted.items() if number == event)
        at, _ = self.wanted.pop(name)
        assert at <= self.loop.time(), "not before its time"

    @invariant()
    def those_are_active_that_were_started_and_have_not_come(self) -> None:
        assert len(self.timers) == len(self.wanted)
        left = self.timers.remaining()
        assert left.keys() == self.wanted.keys()
        for name, (at, _) in self.wanted.items():
            assert abs(left[name] - (at - self.loop.time())) < 1e-6


TestTimers = Timers.TestCase
TestTimers.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
