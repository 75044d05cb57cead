"""The one error policy: what becomes of an actor, its asker and the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pykka import ActorDeadError
from support.fakes import Recorder, recorder
from support.settling import settle

from actors.runtime.actor import LoopActor
from actors.runtime.ref import LoopActorRef


class Raising(LoopActor):
    """Raises each exception that it receives."""

    def __init__(self, *, on_start: BaseException | None = None) -> None:
        super().__init__()
        self.start_error = on_start
        self.stop_error: BaseException | None = None
        self.failure_error: BaseException | None = None
        self.failures: list[BaseException | None] = []
        self.stops = 0

    def on_start(self) -> None:
        if self.start_error is not None:
            raise self.start_error

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message

    def on_stop(self) -> None:
        self.stops += 1
        if self.stop_error is not None:
            raise self.stop_error

    def on_failure(self, _kind: Any, error: BaseException | None, _traceback: Any) -> None:
        self.failures.append(error)
        if self.failure_error is not None:
            raise self.failure_error


def raising() -> tuple[LoopActorRef[Raising], Raising]:
    ref = Raising.start()
    actor = ref.actor()
    assert actor is not None
    return ref, actor


def run_to_the_end(main: Callable[[], Any]) -> BaseException | None:
    """Run `main` on a loop of its own, and give back what came out of the loop itself."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    try:
        loop.run_until_complete(task)
    except (SystemExit, KeyboardInterrupt) as error:
        return error
    finally:
        # What `main` itself came to is heard here: else it is logged in whichever test is next.
        loop.run_until_complete(asyncio.gather(task, settle(), return_exceptions=True))
        loop.close()
    return None


async def test_an_exception_under_tell_stops_the_actor_alone() -> None:
    other, _ = recorder()
    ref, actor = raising()
    error = ValueError("bad")
    ref.tell(error)
    await settle()
    assert not ref.is_alive()
    assert actor.failures == [error]
    assert actor.stops == 0
    assert other.is_alive()
    await other.stop()


async def test_an_exception_under_ask_goes_to_the_asker_and_stops_the_actor_too() -> None:
    ref, actor = raising()
    error = ValueError("bad")
    with pytest.raises(ValueError, match="bad") as raised:
        await ref.ask(error)
    assert raised.value is error
    assert not ref.is_alive()
    assert actor.failures == [error]


async def test_nothing_is_handled_after_a_failure() -> None:
    ref, actor = raising()
    ref.tell(ValueError("first"))
    ref.tell(ValueError("second"))
    answer = ref.ask("question")
    with pytest.raises(ActorDeadError, match="stopped before handling"):
        await answer
    assert len(actor.failures) == 1
    assert ref.statistics().handled == 1


async def test_a_cancelled_error_under_tell_fails_this_actor_and_no_other() -> None:
    other, _ = recorder()
    ref, actor = raising()
    error = asyncio.CancelledError()
    ref.tell(error)
    await settle()
    assert not ref.is_alive()
    assert actor.failures == [error]
    assert other.is_alive()
    await other.stop()


async def test_a_cancelled_error_under_ask_does_not_cancel_the_asker() -> None:
    other, _ = recorder()
    ref, _ = raising()
    error = asyncio.CancelledError()
    with pytest.raises(ActorDeadError, match="CancelledError") as raised:
        await ref.ask(error)
    assert raised.value.__cause__ is error
    assert not ref.is_alive()
    assert other.is_alive()
    await other.stop()


async def test_a_stop_iteration_under_ask_reaches_the_asker_as_an_error_it_can_await() -> None:
    ref, _ = raising()
    with pytest.raises(ActorDeadError, match="StopIteration"):
        await ref.ask(StopIteration())
    assert not ref.is_alive()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_is_meant_for_the_program_stops_the_actor_and_goes_on_to_the_loop(
    kind: type[BaseException],
) -> None:
    error = kind()
    seen: dict[str, Any] = {}

    async def main() -> None:
        other, _ = recorder()
        ref, actor = raising()
        seen.update(other=other, ref=ref, actor=actor)
        ref.tell(error)
        seen["left"] = ref.ask("question")
        await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    with pytest.raises(kind) as raised:
        loop.run_until_complete(main())
    assert raised.value is error
    assert not seen["ref"].is_alive()
    assert seen["actor"].failures == [error]
    assert seen["other"].is_alive()
    with pytest.raises(ActorDeadError):
        seen["left"].get()
    seen["other"].tell_stop()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(settle())
    loop.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_the_asker_of_what_is_meant_for_the_program_gets_an_error_of_its_own(
    kind: type[BaseException],
) -> None:
    answers: list[Any] = []

    async def main() -> None:
        ref, _ = raising()
        answers.append(ref.ask(kind()))
        await answers[0]

    assert isinstance(run_to_the_end(main), kind)
    with pytest.raises(ActorDeadError, match=kind.__name__):
        answers[0].get()


def test_a_system_exit_in_on_start_goes_on_to_the_loop_and_answers_the_mailbox() -> None:
    answers: list[Any] = []

    async def main() -> None:
        ref = Raising.start(on_start=SystemExit(3))
        answers.append(ref.ask("question"))
        await answers[0]

    assert isinstance(run_to_the_end(main), SystemExit)
    with pytest.raises(ActorDeadError):
        answers[0].get()


async def test_a_cancelled_error_in_on_start_stops_this_actor_alone() -> None:
    other, _ = recorder()
    ref = Raising.start(on_start=asyncio.CancelledError())
    with pytest.raises(ActorDeadError):
        await ref.ask("question")
    assert not ref.is_alive()
    assert other.is_alive()
    await other.stop()


async def test_a_cancelled_error_in_on_stop_stops_this_actor_alone() -> None:
    other, _ = recorder()
    ref, actor = raising()
    actor.stop_error = asyncio.CancelledError()
    assert await ref.stop() is False  # it did not stop as it should have
    assert not ref.is_alive()
    assert (actor.stops, actor.failures) == (1, [])
    assert other.is_alive()
    await other.stop()


@pytest.mark.parametrize("second", [ValueError("second"), asyncio.CancelledError()])
async def test_an_on_failure_that_raises_harms_nobody_else(second: BaseException) -> None:
    other, _ = recorder()
    ref, actor = raising()
    actor.failure_error = second
    first = ValueError("first")
    with pytest.raises(ValueError, match="first"):
        await ref.ask(first)
    assert not ref.is_alive()
    assert actor.failures == [first]
    assert other.is_alive()
    await other.stop()


async def test_a_failure_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    ref, _ = raising()
    ref.tell(ValueError("this is why"))
    await settle()
    (record,) = [r for r in caplog.records if r.name == "pykka" and r.exc_info is not None]
    assert "this is why" in str(record.exc_info)
    assert str(ref) in record.getMessage()


async def test_an_asker_that_no_longer_waits_does_not_keep_a_failure_from_being_handled() -> None:
    ref, actor = raising()
    answer = ref.ask(ValueError("bad"))
    answer._future.cancel()
    await settle()
    assert not ref.is_alive()
    assert len(actor.failures) == 1


async def test_a_response_that_is_an_exception_is_a_value_like_any_other() -> None:
    class Returning(Recorder):
        def on_receive(self, message: Any) -> Any:
            return ValueError("as a value")

    ref = Returning.start()
    assert isinstance(await ref.ask("question"), ValueError)
    assert ref.is_alive()
    await ref.stop()
