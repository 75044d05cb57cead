"""What an actor on the loop promises: order, fairness, life and statistics."""

from __future__ import annotations

import asyncio
import logging
import weakref
from itertools import pairwise
from typing import Any

import pytest
from pykka import ActorDeadError, ActorRegistry
from support.fakes import Recorder, collected, recorder
from support.settling import settle

from actors.runtime.actor import LoopActor, count_alive
from actors.runtime.ref import LoopActorRef


class Living(LoopActor):
    """Writes down the hooks of its life and what it receives."""

    def __init__(self, diary: list[Any], *, fail_in: str = "") -> None:
        super().__init__()
        self.diary = diary
        self.fail_in = fail_in

    def on_start(self) -> None:
        self._note("start")

    def on_stop(self) -> None:
        self._note("stop")

    def on_failure(self, *_exc_info: Any) -> None:
        self._note("failure")

    def on_receive(self, message: Any) -> Any:
        self.diary.append(message)
        if isinstance(message, BaseException):
            raise message
        return message

    def _note(self, hook: str) -> None:
        self.diary.append(hook)
        if self.fail_in == hook:
            raise ValueError(hook)


async def test_an_actor_handles_its_messages_in_the_order_they_were_told() -> None:
    ref, received = recorder()
    for number in range(1000):
        ref.tell(number)
    await ref.stop()
    assert received == list(range(1000))


async def test_a_hundred_thousand_messages_pass_in_order() -> None:
    ref, received = recorder()
    for number in range(100_000):
        ref.tell(number)
    assert await ref.stop(timeout=60)
    assert received == list(range(100_000))


async def test_a_tell_never_runs_the_handler_itself() -> None:
    ref, received = recorder()
    ref.tell("later")
    assert received == []
    await settle()
    assert received == ["later"]
    await ref.stop()


async def test_messages_to_itself_queue_behind_those_that_wait() -> None:
    class Echo(Recorder):
        def on_receive(self, message: Any) -> Any:
            if message == "first":
                self.actor_ref.tell("third")
            return super().on_receive(message)

    ref = Echo.start()
    actor = ref.actor()
    assert actor is not None
    ref.tell("first")
    ref.tell("second")
    await settle()
    assert actor.received == ["first", "second", "third"]
    await ref.stop()


async def test_an_actor_with_a_huge_mailbox_handles_no_more_than_throughput_each_turn() -> None:
    ref, received = recorder()
    for number in range(1000):
        ref.tell(number)
    await asyncio.sleep(0)
    assert len(received) == LoopActor.throughput
    await asyncio.sleep(0)
    assert len(received) == 2 * LoopActor.throughput
    await ref.stop()


async def test_an_actor_with_a_huge_mailbox_does_not_starve_another() -> None:
    greedy, _ = recorder()
    modest, received = recorder()
    for number in range(10_000):
        greedy.tell(number)
    modest.tell("hello")
    while not received:  # noqa: ASYNC110 - it counts iterations of the loop
        await asyncio.sleep(0)
    assert received == ["hello"]
    assert greedy.statistics().mailbox_depth > 9000
    await greedy.stop()
    await modest.stop()


async def test_throughput_can_be_set_for_a_class_of_actors() -> None:
    class Slow(Recorder):
        throughput = 3

    ref = Slow.start()
    for number in range(10):
        ref.tell(number)
    await asyncio.sleep(0)
    assert ref.statistics().handled == 3
    await ref.stop()


async def test_on_start_runs_on_the_loop_before_the_first_message() -> None:
    diary: list[Any] = []
    ref = Living.start(diary)
    ref.tell("message")
    assert diary == []
    await settle()
    assert diary == ["start", "message"]
    await ref.stop()


async def test_on_start_runs_though_no_message_ever_comes() -> None:
    diary: list[Any] = []
    ref = Living.start(diary)
    await settle()
    assert diary == ["start"]
    await ref.stop()


async def test_stop_handles_what_is_in_the_mailbox_and_then_calls_on_stop() -> None:
    diary: list[Any] = []
    ref = Living.start(diary)
    ref.tell("before")
    stopped = ref.stop()
    assert ref.is_alive()
    assert await stopped is True
    assert not ref.is_alive()
    assert diary == ["start", "before", "stop"]


async def test_stop_of_a_dead_actor_says_so() -> None:
    ref, _ = recorder()
    assert await ref.stop() is True
    assert await ref.stop() is False


async def test_stops_that_wait_together_are_all_told_of_success() -> None:
    ref, _ = recorder()
    one, two = ref.stop(), ref.stop()
    assert await one is await two is True


async def test_tell_stop_stops_and_is_harmless_to_a_dead_actor() -> None:
    ref, received = recorder()
    ref.tell("before")
    ref.tell_stop()
    await settle()
    assert received == ["before"]
    assert not ref.is_alive()
    ref.tell_stop()
    await settle()


async def test_an_actor_can_stop_itself() -> None:
    class Suicidal(Recorder):
        def on_receive(self, message: Any) -> Any:
            self.stop()
            return super().on_receive(message)

    ref = Suicidal.start()
    assert await ref.ask("question") == "question"
    await settle()
    assert not ref.is_alive()


async def test_an_on_start_that_raises_stops_the_actor_without_a_hook() -> None:
    diary: list[Any] = []
    ref = Living.start(diary, fail_in="start")
    asked = ref.ask("question")
    with pytest.raises(ActorDeadError):
        await asked
    assert diary == ["start"]
    assert not ref.is_alive()


async def test_an_on_stop_that_raises_stops_the_actor_all_the_same() -> None:
    diary: list[Any] = []
    ref = Living.start(diary, fail_in="stop")
    assert await ref.stop() is True
    assert not ref.is_alive()
    assert diary == ["start", "stop"]


async def test_on_failure_is_called_instead_of_on_stop() -> None:
    diary: list[Any] = []
    ref = Living.start(diary)
    error = ValueError("bad")
    ref.tell(error)
    await settle()
    assert diary == ["start", error, "failure"]
    assert not ref.is_alive()


async def test_an_on_failure_that_raises_stops_the_actor_all_the_same() -> None:
    diary: list[Any] = []
    ref = Living.start(diary, fail_in="failure")
    ref.tell(ValueError("bad"))
    await settle()
    assert diary[-1] == "failure"
    assert not ref.is_alive()


def test_an_actor_started_off_the_loop_says_what_is_wrong() -> None:
    with pytest.raises(RuntimeError, match="Recorder must be started on a running event loop"):
        Recorder.start()
    assert ActorRegistry.get_all() == []


async def test_the_registry_knows_living_actors_and_forgets_dead_ones() -> None:
    assert count_alive() == 0
    one, _ = recorder()
    diary: list[Any] = []
    two = Living.start(diary)
    assert count_alive() == 2
    assert ActorRegistry.get_by_urn(one.actor_urn) is one
    two.tell(ValueError("bad"))
    await settle()
    assert count_alive() == 1
    await one.stop()
    assert count_alive() == 0


async def test_statistics_say_what_an_actor_has_done() -> None:
    ref, _ = recorder()
    ref.tell("one")
    ref.tell("two")
    before = ref.statistics()
    assert (before.urn, before.kind, before.alive) == (ref.actor_urn, "Recorder", True)
    assert (before.mailbox_depth, before.handled, before.restarts) == (2, 0, 0)
    await settle()
    after = ref.statistics()
    assert (after.mailbox_depth, after.handled) == (0, 2)
    await ref.stop()
    assert not ref.statistics().alive


async def test_statistics_count_a_failed_message_as_handled() -> None:
    diary: list[Any] = []
    ref = Living.start(diary)
    ref.tell(ValueError("bad"))
    await settle()
    assert ref.statistics().handled == 1
    assert ref.statistics().restarts == 0


async def test_a_stopped_actor_is_garbage_once_nobody_refers_to_it() -> None:
    ref: LoopActorRef[Recorder] | None
    ref, _ = recorder()
    actor = weakref.ref(ref.actor())
    ref.tell("message")
    await ref.stop()
    ref = None
    await settle()
    assert collected(actor)


async def test_a_failed_actor_is_garbage_once_nobody_refers_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "pykka")  # what pytest captures keeps the traceback
    diary: list[Any] = []
    ref: LoopActorRef[Living] | None = Living.start(diary)
    assert ref is not None
    actor = weakref.ref(ref.actor())
    ref.tell(ValueError("bad"))
    await settle()
    ref = None
    diary.clear()  # the error's traceback refers to the actor's frames
    await settle()
    assert collected(actor)


async def test_an_unexpected_message_is_survived_by_an_actor_without_handler() -> None:
    ref = LoopActor.start()
    assert await ref.ask("what is this?") is None
    assert ref.is_alive()
    await ref.stop()


class Slow(LoopActor):
    """Each of its messages takes long."""

    def __init__(self, turns: list[int]) -> None:
        super().__init__()
        self._turns = turns

    def on_receive(self, message: Any) -> None:
        self._turns.append(message)
        self.gives_way = True


async def test_of_messages_that_take_long_one_is_handled_in_a_turn_of_the_loop() -> None:
    """Whether they wait for one actor or for several."""
    handled: list[int] = []
    refs = [Slow.start(handled) for _ in range(3)]
    await settle()
    for ref in refs:
        for number in range(2):
            ref.tell(number)
    counts = []
    while len(handled) < 6:
        await asyncio.sleep(0)
        counts.append(len(handled))
    assert max(after - before for before, after in pairwise([0, *counts])) == 1
    await asyncio.gather(*(ref.stop(block=False) for ref in refs))
