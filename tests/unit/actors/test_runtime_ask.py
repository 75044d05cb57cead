"""Asks, their futures, and proxies, on the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import pytest
from pykka import ActorDeadError
from support.fakes import recorder
from support.settling import settle

from actors.runtime.actor import LoopActor
from actors.runtime.future import LoopFuture
from actors.runtime.ref import DEFAULT_ASK_TIMEOUT
from actors.runtime.timer_heap import alarms_of


class Deferring(LoopActor):
    """Takes over each asker, and answers when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[LoopFuture[Any]] = []

    def on_receive(self, message: Any) -> Any:
        if message == "defer":
            self.waiting.append(self.defer_reply())
        if message == "defer twice":
            self.defer_reply()
            self.defer_reply()
        if message == "defer and fail":
            self.waiting.append(self.defer_reply())
            raise ValueError("after deferring")
        return "not the answer"


def deferring() -> tuple[Any, list[LoopFuture[Any]]]:
    ref = Deferring.start()
    actor = ref.actor()
    assert actor is not None
    return ref, actor.waiting


async def test_ask_on_the_loop_gives_an_awaitable_answer() -> None:
    ref, _ = recorder()
    assert await ref.ask("question") == "question"
    await ref.stop()


async def test_an_answer_can_be_awaited_again() -> None:
    ref, _ = recorder()
    answer = ref.ask("question")
    assert await answer == "question"
    assert await answer == "question"
    assert answer.get() == "question"
    await ref.stop()


@pytest.mark.parametrize("timeout", [0.5, 3.0, None])
async def test_an_ask_fails_exactly_at_its_timeout(timeout: float | None) -> None:
    ref, waiting = deferring()
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    with pytest.raises(pykka.Timeout, match="seconds"):
        await ref.ask("defer", timeout=timeout)
    assert loop.time() - asked_at == pytest.approx(timeout or DEFAULT_ASK_TIMEOUT)
    assert waiting[0].done()
    await ref.stop()


async def test_an_ask_has_a_timeout_though_nobody_gave_one() -> None:
    ref, _ = deferring()
    asked_at = asyncio.get_running_loop().time()
    with pytest.raises(pykka.Timeout):
        await ref.ask("defer")
    assert asyncio.get_running_loop().time() - asked_at == pytest.approx(DEFAULT_ASK_TIMEOUT)
    await ref.stop()


async def test_an_answer_after_the_timeout_is_dropped() -> None:
    ref, waiting = deferring()
    with pytest.raises(pykka.Timeout):
        await ref.ask("defer", timeout=1)
    waiting[0].set("too late")
    waiting[0].set_exception((ValueError, ValueError("too late"), None))
    assert ref.is_alive()
    await ref.stop()


async def test_an_asker_that_was_cancelled_does_not_hurt_the_one_who_answers() -> None:
    ref, waiting = deferring()

    async def ask() -> Any:
        return await ref.ask("defer")

    task = asyncio.create_task(ask())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert waiting[0].done()
    waiting[0].set("to nobody")
    await ref.stop()


async def test_an_asker_that_was_cancelled_leaves_no_timer_once_it_is_answered() -> None:
    ref, waiting = deferring()
    alarms = alarms_of(asyncio.get_running_loop())
    future = ref.ask("defer", timeout=60)
    await settle()
    assert len(alarms) == 1
    future._future.cancel()
    waiting[0].set("to nobody")
    assert (future._alarm, future._grace, len(alarms)) == (None, None, 0)
    await ref.stop()


async def test_an_answered_ask_leaves_no_timer() -> None:
    ref, _ = recorder()
    alarms = alarms_of(asyncio.get_running_loop())
    future = ref.ask("question", timeout=60)
    assert await future == "question"
    assert (future._alarm, future._grace, len(alarms)) == (None, None, 0)
    await ref.stop()


async def test_two_answers_to_one_ask_are_a_defect_that_raises() -> None:
    future: LoopFuture[str] = LoopFuture()
    future.set("one")
    with pytest.raises(asyncio.InvalidStateError):
        future.set("two")
    with pytest.raises(asyncio.InvalidStateError):
        future.set_exception((ValueError, ValueError(), None))
    assert await future == "one"


async def test_an_ask_that_would_block_the_loop_raises_and_sends_nothing() -> None:
    ref, received = recorder()
    with pytest.raises(RuntimeError, match="block"):
        ref.ask("question", block=True)
    await settle()
    assert received == []
    await ref.stop()


async def test_a_stop_that_would_block_the_loop_raises_and_stops_nothing() -> None:
    ref, _ = recorder()
    with pytest.raises(RuntimeError, match="block"):
        ref.stop(block=True)
    await settle()
    assert ref.is_alive()
    await ref.stop()


async def test_get_on_the_loop_raises_until_the_answer_is_there() -> None:
    ref, _ = recorder()
    future = ref.ask("question")
    with pytest.raises(RuntimeError, match="block"):
        future.get()
    await future
    assert future.get() == "question"
    await ref.stop()


async def test_the_registry_stops_all_actors_from_the_loop_without_blocking() -> None:
    one, _ = recorder()
    two, _ = recorder()
    await asyncio.gather(*(stopped for stopped in pykka.ActorRegistry.stop_all(block=False)))
    assert not one.is_alive()
    assert not two.is_alive()


async def test_an_ask_to_a_dead_actor_fails_with_actor_dead_error() -> None:
    ref, _ = recorder()
    await ref.stop()
    with pytest.raises(ActorDeadError):
        await ref.ask("question")


async def test_a_deferred_reply_answers_the_asker_later() -> None:
    ref, waiting = deferring()
    asked = ref.ask("defer")
    await settle()
    assert not asked.done()
    waiting[0].set("the answer")
    assert await asked == "the answer"
    await ref.stop()


async def test_deferring_a_message_that_nobody_asked_is_a_defect() -> None:
    ref, _ = deferring()
    ref.tell("defer")
    await settle()
    assert not ref.is_alive()


async def test_deferring_twice_is_a_defect_and_the_asker_hears_of_it() -> None:
    ref, _ = deferring()
    with pytest.raises(RuntimeError, match="no caller to answer"):
        await ref.ask("defer twice")
    assert not ref.is_alive()


async def test_an_asker_hears_of_a_failure_after_its_reply_was_deferred() -> None:
    """Else it would wait for its whole timeout: the one who had the reply is dead."""
    ref, _ = deferring()
    asked_at = asyncio.get_running_loop().time()
    with pytest.raises(ValueError, match="after deferring"):
        await ref.ask("defer and fail")
    assert asyncio.get_running_loop().time() == asked_at


async def test_set_exception_takes_the_exception_that_is_being_handled() -> None:
    future: LoopFuture[None] = LoopFuture()
    try:
        raise KeyError("this one")
    except KeyError:
        future.set_exception()
    with pytest.raises(KeyError, match="this one"):
        await future


async def test_set_exception_without_an_exception_is_one_itself() -> None:
    future: LoopFuture[None] = LoopFuture()
    future.set_exception()
    with pytest.raises(RuntimeError, match="without an exception"):
        await future


class Account(LoopActor):
    """Something to make proxies of."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = 10

    def deposit(self, amount: int) -> int:
        if amount < 0:
            raise ValueError("negative")
        self.balance += amount
        return self.balance


async def test_a_proxy_calls_methods_and_reads_and_sets_attributes() -> None:
    ref = Account.start()
    proxy: Any = ref.proxy()
    assert await proxy.deposit(5) == 15
    assert await proxy.balance == 15
    proxy.balance = 100
    assert await proxy.balance == 100
    await proxy.stop()
    await settle()
    assert not ref.is_alive()


async def test_a_proxy_can_defer_a_call() -> None:
    ref = Account.start()
    proxy: Any = ref.proxy()
    assert proxy.deposit.defer(5) is None
    assert await proxy.balance == 15
    await ref.stop()


async def test_a_method_that_raises_through_a_proxy_fails_the_actor() -> None:
    ref = Account.start()
    proxy: Any = ref.proxy()
    with pytest.raises(ValueError, match="negative"):
        await proxy.deposit(-1)
    assert not ref.is_alive()
    with pytest.raises(ActorDeadError):
        await proxy.balance


async def test_a_proxy_of_a_dead_actor_is_refused() -> None:
    ref = Account.start()
    await ref.stop()
    with pytest.raises(ActorDeadError):
        ref.proxy()
