"""The mailbox: everything that goes in comes out once, in its order, whoever puts it there."""

from __future__ import annotations

import asyncio
import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.examples import examples

from actors.runtime.mailbox import Mailbox
from dev.simulation.loop import SimulatedLoop


class Box(RuleBasedStateMachine):
    """Handlers take a few messages a turn, and may put new ones in."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SimulatedLoop()
        self.mailbox = Mailbox()
        self.put: list[int] = []
        self.got: list[int] = []
        self.turn = 1
        self.attached = False

    def teardown(self) -> None:
        self.loop.close()

    def _receive(self) -> None:
        for _ in range(self.turn):
            if self.mailbox.empty():
                break
            message = self.mailbox.get()
            self.got.append(message)
            if message % 7 == 0:
                self._put(message + 1)

    def _put(self, message: int) -> None:
        self.put.append(message)
        self.mailbox.put(message)

    @rule(turn=st.integers(1, 3))
    def attach(self, turn: int) -> None:
        if not self.attached:
            self.attached = True
            self.turn = turn
            self.mailbox.attach(self.loop, self._receive)

    @rule(message=st.integers(1, 100))
    def put_one(self, message: int) -> None:
        self._put(message)

    @rule(messages=st.lists(st.integers(1, 100), max_size=5))
    def put_from_another_thread(self, messages: list[int]) -> None:
        def put() -> None:
            for message in messages:
                self._put(message)

        thread = threading.Thread(target=put)
        thread.start()
        thread.join()

    @rule()
    def run_to_the_end(self) -> None:
        async def turns() -> None:
            for _ in range(5 * len(self.put) + 5):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        if self.attached:
            assert self.got == self.put
            assert self.mailbox.empty()

    @rule()
    def run_a_turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    @invariant()
    def nothing_is_lost_doubled_or_overtaken(self) -> None:
        assert self.got == self.put[: len(self.got)]
        assert len(self.mailbox) == len(self.put) - len(self.got)


TestBox = Box.TestCase
TestBox.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
