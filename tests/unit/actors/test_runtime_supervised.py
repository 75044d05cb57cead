"""Restart in place: same ref, same mailbox, fresh state, within a budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pykka import ActorDeadError
from support.settling import settle

from actors.runtime.actor import LoopActor
from actors.runtime.dead_letters import DEAD_LETTERS
from actors.runtime.ref import LoopActorRef


class Budget:
    """A supervisor that allows so many restarts."""

    def __init__(self, restarts: int) -> None:
        self.left = restarts
        self.asked: list[str] = []
        self.heard: list[tuple[str, BaseException, bool]] = []

    def may_restart(self, urn: str) -> bool:
        self.asked.append(urn)
        self.left -= 1
        return self.left >= 0

    def child_failed(self, ref: LoopActorRef[Any], error: BaseException, *, alive: bool) -> None:
        self.heard.append((ref.actor_urn, error, alive))


class Counting(LoopActor):
    """Counts its messages until a restart; raises each exception that it receives."""

    def __init__(
        self,
        supervisor: Budget,
        *,
        restart_error: BaseException | None = None,
        start_error: Exception | None = None,
        stop_error: BaseException | None = None,
    ) -> None:
        super().__init__(supervisor=supervisor)
        self.restart_error = restart_error
        self.start_error = start_error
        self.stop_error = stop_error
        self.count = 0
        self.hooks: list[str] = []

    def on_start(self) -> None:
        self.hooks.append("start")
        if self.start_error is not None:
            raise self.start_error

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        self.count += 1
        return self.count

    def on_restart(self, error: BaseException) -> None:
        self.hooks.append(f"restart after {error}")
        if self.restart_error is not None:
            raise self.restart_error
        self.count = 0

    def on_stop(self) -> None:
        self.hooks.append("stop")
        if self.stop_error is not None:
            raise self.stop_error

    def on_failure(self, *_exc_info: Any) -> None:
        self.hooks.append("failure")


def counting(budget: Budget, **options: Any) -> tuple[LoopActorRef[Counting], Counting]:
    ref = Counting.start(budget, **options)
    actor = ref.actor()
    assert actor is not None
    return ref, actor


async def test_a_supervised_actor_is_restarted_with_the_same_ref_and_a_fresh_state() -> None:
    budget = Budget(1)
    ref, actor = counting(budget)
    assert await ref.ask("one") == 1
    error = ValueError("bad")
    ref.tell(error)
    assert await ref.ask("one again") == 1
    assert ref.actor() is actor
    assert actor.hooks == ["start", "restart after bad"]
    assert budget.heard == [(ref.actor_urn, error, True)]
    assert ref.statistics().restarts == 1
    await ref.stop()


async def test_the_mailbox_survives_a_restart() -> None:
    ref, _ = counting(Budget(1))
    before = DEAD_LETTERS.count
    ref.tell(ValueError("bad"))
    answers = [ref.ask(number) for number in range(100)]
    assert [await answer for answer in answers] == list(range(1, 101))
    assert DEAD_LETTERS.count == before
    await ref.stop()


async def test_the_asker_gets_the_exception_though_the_actor_lives_on() -> None:
    ref, _ = counting(Budget(1))
    with pytest.raises(ValueError, match="bad"):
        await ref.ask(ValueError("bad"))
    assert ref.is_alive()
    await ref.stop()


async def test_a_cancelled_error_is_a_failure_that_a_restart_can_mend() -> None:
    ref, actor = counting(Budget(1))
    with pytest.raises(ActorDeadError):
        await ref.ask(asyncio.CancelledError())
    assert ref.is_alive()
    assert len(actor.hooks) == 2
    await ref.stop()


async def test_no_restart_is_made_once_the_budget_is_spent() -> None:
    budget = Budget(2)
    ref, actor = counting(budget)
    errors = [ValueError(str(number)) for number in range(3)]
    for error in errors:
        ref.tell(error)
    await settle()
    assert not ref.is_alive()
    assert actor.hooks == ["start", "restart after 0", "restart after 1", "failure"]
    assert budget.heard == [
        (ref.actor_urn, errors[0], True),
        (ref.actor_urn, errors[1], True),
        (ref.actor_urn, errors[2], False),
    ]
    assert ref.statistics().restarts == 2


async def test_what_waits_in_the_mailbox_when_the_budget_is_spent_is_dead_letters() -> None:
    ref, _ = counting(Budget(0))
    before = DEAD_LETTERS.count
    ref.tell(ValueError("bad"))
    asked = ref.ask("question")
    with pytest.raises(ActorDeadError):
        await asked
    assert DEAD_LETTERS.count == before + 1


async def test_an_on_restart_that_raises_stops_the_actor_after_all() -> None:
    budget = Budget(5)
    second = RuntimeError("cannot restart")
    ref, actor = counting(budget, restart_error=second)
    ref.tell(ValueError("bad"))
    await settle()
    assert not ref.is_alive()
    assert actor.hooks == ["start", "restart after bad", "failure"]
    assert budget.heard == [(ref.actor_urn, second, False)]
    assert ref.statistics().restarts == 0


async def test_an_actor_that_does_not_say_how_it_restarts_is_stopped() -> None:
    class Plain(LoopActor):
        def on_receive(self, message: Any) -> None:
            raise ValueError(message)

    budget = Budget(5)
    ref = Plain.start(supervisor=budget)
    ref.tell("bad")
    await settle()
    assert not ref.is_alive()
    assert [alive for _, _, alive in budget.heard] == [False]


async def test_an_on_start_that_raises_is_not_retried_and_the_supervisor_hears_of_it() -> None:
    budget = Budget(5)
    error = ValueError("cannot start")
    ref, actor = counting(budget, start_error=error)
    await settle()
    assert not ref.is_alive()
    assert budget.asked == []
    assert budget.heard == [(ref.actor_urn, error, False)]
    assert actor.hooks == ["start"]


async def test_an_actor_whose_on_stop_fails_is_not_brought_back_to_life() -> None:
    budget = Budget(5)
    ref, actor = counting(budget, stop_error=asyncio.CancelledError())
    await ref.stop()
    assert not ref.is_alive()
    assert actor.hooks == ["start", "stop"]
    assert [alive for _, _, alive in budget.heard] == [False]


def test_a_supervisor_is_not_asked_about_what_is_meant_for_the_program() -> None:
    budget = Budget(5)
    refs: list[LoopActorRef[Any]] = []

    async def main() -> None:
        refs.append(counting(budget)[0])
        refs[0].tell(SystemExit(7))
        await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    with pytest.raises(SystemExit):
        loop.run_until_complete(main())
    assert not refs[0].is_alive()
    assert budget.asked == []
    assert [alive for _, _, alive in budget.heard] == [False]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(settle())
    loop.close()


async def test_a_stop_in_the_mailbox_is_obeyed_after_a_restart() -> None:
    ref, actor = counting(Budget(1))
    ref.tell(ValueError("bad"))
    assert await ref.stop() is True
    assert actor.hooks == ["start", "restart after bad", "stop"]


async def test_an_actor_that_is_stopped_in_good_order_is_no_failure() -> None:
    budget = Budget(1)
    ref, _ = counting(budget)
    await ref.stop()
    assert budget.heard == []
