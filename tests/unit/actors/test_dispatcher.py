"""One line for all mailboxes of a loop: what actors tell each other is handled in one turn."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from actors.runtime import dispatcher
from actors.runtime.actor import LoopActor
from actors.runtime.dispatcher import AT_ONCE, MOST_AT_ONCE, Dispatcher, dispatcher_of


class Relay(LoopActor):
    """Passes a number on to the next one, less one; notes in which turn it came to nought."""

    def __init__(self, turns: list[int]) -> None:
        super().__init__()
        self.next: Any = None
        self._turns = turns
        self._count = 0

    def on_receive(self, message: Any) -> None:
        if message == 0:
            self._turns.append(Turns.now)
        else:
            self.next.tell(message - 1)


class Turns:
    """Counts the turns of the loop from now on, until it is stopped."""

    now = 0

    def __init__(self) -> None:
        Turns.now = 0
        self._handle: asyncio.Handle = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        Turns.now += 1
        self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def stop(self) -> None:
        self._handle.cancel()


async def passed_on(times: int) -> int:
    """In how many turns of the loop a message is passed on so many times."""
    ended: list[int] = []
    one, other = Relay.start(ended), Relay.start(ended)
    for relay, following in ((one, other), (other, one)):
        actor = relay.actor()
        assert actor is not None
        actor.next = following
    await asyncio.sleep(0.01)
    turns = Turns()
    one.tell(times)
    while not ended:  # noqa: ASYNC110 - the iterations are what is counted
        await asyncio.sleep(0)
    turns.stop()
    await asyncio.gather(one.stop(block=False), other.stop(block=False))
    return ended[0]


async def test_a_message_is_passed_on_in_the_same_turn_of_the_loop() -> None:
    assert await passed_on(AT_ONCE - 1) == 1


async def test_actors_that_never_end_leave_everybody_else_his_turn() -> None:
    assert await passed_on(10 * AT_ONCE - 1) == 10


async def test_whoever_comes_first_is_first() -> None:
    line = dispatcher_of(asyncio.get_running_loop())
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        line.add(lambda: seen.append("third"))

    line.add(first)
    line.add(lambda: seen.append("second"))
    assert seen == []
    await asyncio.sleep(0)
    assert seen == ["first", "second", "third"]


async def test_one_that_raises_does_not_stop_the_others() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    line = dispatcher_of(loop)
    seen: list[str] = []

    def raising() -> None:
        raise ValueError("a defect")

    line.add(raising)
    line.add(lambda: seen.append("after it"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == ["after it"]
    assert [type(context["exception"]) for context in told] == [ValueError]
    line.add(lambda: seen.append("later"))
    await asyncio.sleep(0)
    assert seen == ["after it", "later"]


def test_each_loop_has_its_own_and_those_that_are_closed_are_forgotten() -> None:
    lines: list[Dispatcher] = []
    for _ in range(3):
        with asyncio.Runner() as runner:
            line = dispatcher_of(runner.get_loop())
            assert dispatcher_of(runner.get_loop()) is line
            lines.append(line)
    assert len(set(map(id, lines))) == 3
    with asyncio.Runner() as runner:
        dispatcher_of(runner.get_loop())
        assert list(dispatcher._DISPATCHERS) == [runner.get_loop()]


async def test_all_who_wait_have_their_turn_in_the_next_one_of_the_loop_up_to_a_bound() -> None:
    for waiting, turns in ((AT_ONCE + 1, 1), (MOST_AT_ONCE, 1), (MOST_AT_ONCE + 1, 2)):
        line = Dispatcher(asyncio.get_running_loop())
        done: list[int] = []
        for number in range(waiting):
            line.add(partial(done.append, number))
        needed = 0
        while len(done) < waiting:
            await asyncio.sleep(0)
            needed += 1
        assert needed == turns
        assert done == list(range(waiting))
