"""Actors on a real loop, spoken to by other threads; and pykka's threaded actors beside them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pykka
import pytest
from pykka import ActorDeadError
from support.fakes import Recorder, recorder
from support.settling import settle

from actors.runtime.actor import LoopActor
from actors.runtime.dead_letters import DEAD_LETTERS
from actors.runtime.future import LoopFuture
from actors.runtime.ref import LoopActorRef

T = TypeVar("T")


def on_a_real_loop(main: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await main()

    return asyncio.run(bounded())


class Deferring(LoopActor):
    def on_receive(self, message: Any) -> Any:
        self.defer_reply()


class Threaded(pykka.ThreadingActor):
    """A stock pykka actor; passes on to `other` what it is told."""

    def __init__(self, other: Any = None) -> None:
        super().__init__()
        self.other = other

    def on_receive(self, message: Any) -> Any:
        if self.other is not None:
            self.other.tell(message)
        return threading.get_ident()


def test_a_tell_from_another_thread_arrives_in_order_on_the_loops_thread() -> None:
    class Where(Recorder):
        def on_receive(self, message: Any) -> Any:
            self.received.append((message, threading.get_ident()))

    async def main() -> None:
        ref = Where.start()
        actor = ref.actor()
        assert actor is not None

        def tell_all() -> None:
            for number in range(5000):
                ref.tell(number)

        await asyncio.to_thread(tell_all)
        await ref.stop()
        assert actor.received == [(number, threading.get_ident()) for number in range(5000)]

    on_a_real_loop(main)


def test_a_tell_from_another_thread_wakes_a_loop_that_sleeps() -> None:
    async def main() -> None:
        class Waking(LoopActor):
            def on_receive(self, message: Any) -> None:
                woken.set()

        woken = asyncio.Event()
        ref = Waking.start()
        await settle()
        thread = threading.Thread(target=ref.tell, args=("wake up",))
        thread.start()
        await woken.wait()
        await asyncio.to_thread(thread.join)
        await ref.stop()

    on_a_real_loop(main)


def test_messages_of_several_threads_are_each_in_their_order_and_none_is_lost() -> None:
    async def main() -> None:
        ref, received = recorder()

        def tell_all(name: str) -> None:
            for number in range(2000):
                ref.tell((name, number))

        await asyncio.gather(*(asyncio.to_thread(tell_all, name) for name in "abcd"))
        await ref.stop()
        assert len(received) == 8000
        for name in "abcd":
            assert [n for who, n in received if who == name] == list(range(2000))

    on_a_real_loop(main)


def test_an_ask_from_another_thread_blocks_and_returns_the_answer() -> None:
    async def main() -> None:
        ref, _ = recorder()
        assert await asyncio.to_thread(ref.ask, "question") == "question"
        assert await asyncio.to_thread(lambda: ref.ask("again", block=True)) == "again"
        await ref.stop()

    on_a_real_loop(main)


def test_an_ask_from_another_thread_raises_what_the_actor_raised() -> None:
    class Raising(LoopActor):
        def on_receive(self, message: Any) -> None:
            raise ValueError(message)

    async def main() -> None:
        ref = Raising.start()
        with pytest.raises(ValueError, match="bad"):
            await asyncio.to_thread(ref.ask, "bad")
        with pytest.raises(ActorDeadError):
            await asyncio.to_thread(ref.ask, "anyone there?")

    on_a_real_loop(main)


def test_an_ask_from_another_thread_can_be_read_later() -> None:
    async def main() -> None:
        ref, _ = recorder()

        def ask_and_get() -> Any:
            answer = ref.ask("question", block=False)
            return answer.get(), answer.get(timeout=1)

        assert await asyncio.to_thread(ask_and_get) == ("question", "question")
        await ref.stop()

    on_a_real_loop(main)


def test_an_ask_from_another_thread_has_a_timeout() -> None:
    async def main() -> None:
        ref = Deferring.start()
        with pytest.raises(pykka.Timeout):
            await asyncio.to_thread(lambda: ref.ask("question", timeout=0.01))
        await ref.stop()

    on_a_real_loop(main)


def test_get_in_another_thread_can_give_up_before_the_ask_does() -> None:
    async def main() -> None:
        ref = Deferring.start()
        answer = ref.ask("question", timeout=60)
        with pytest.raises(pykka.Timeout, match=r"0\.01 seconds"):
            await asyncio.to_thread(lambda: answer.get(timeout=0.01))
        assert not answer.done()
        answer.set(None)
        await ref.stop()

    on_a_real_loop(main)


def test_stop_from_another_thread_blocks_until_the_actor_has_stopped() -> None:
    async def main() -> None:
        ref, received = recorder()
        ref.tell("before")

        def stop() -> tuple[bool, bool]:
            return ref.stop(), ref.is_alive()

        assert await asyncio.to_thread(stop) == (True, False)
        assert received == ["before"]
        assert await asyncio.to_thread(ref.stop) is False

    on_a_real_loop(main)


def test_stop_from_another_thread_without_blocking_gives_a_future() -> None:
    async def main() -> None:
        ref, _ = recorder()

        def stop() -> Any:
            stopped = ref.stop(block=False)
            assert isinstance(stopped, LoopFuture)
            return stopped.get(timeout=10)

        assert await asyncio.to_thread(stop) is True
        assert not ref.is_alive()

    on_a_real_loop(main)


def test_the_registry_stops_all_actors_from_another_thread() -> None:
    async def main() -> None:
        one, _ = recorder()
        two, _ = recorder()
        threaded = Threaded.start()
        assert await asyncio.to_thread(pykka.ActorRegistry.stop_all) == [True, True, True]
        assert not any(ref.is_alive() for ref in (one, two, threaded))

    on_a_real_loop(main)


def test_a_proxy_works_from_another_thread() -> None:
    class Account(LoopActor):
        balance = 10

        def deposit(self, amount: int) -> int:
            self.balance += amount
            return self.balance

    async def main() -> None:
        ref = Account.start()

        def use() -> None:
            proxy: Any = ref.proxy()
            assert proxy.deposit(5).get() == 15
            proxy.balance = 100
            assert proxy.balance.get() == 100

        await asyncio.to_thread(use)
        await ref.stop()

    on_a_real_loop(main)


def test_a_threading_actor_works_beside_and_tells_an_actor_on_the_loop() -> None:
    async def main() -> None:
        ref, received = recorder()
        threaded = Threaded.start(ref)
        thread_id = await asyncio.to_thread(threaded.ask, "hello")
        assert thread_id != threading.get_ident()
        await asyncio.to_thread(threaded.stop)
        await ref.stop()
        assert received == ["hello"]

    on_a_real_loop(main)


def test_an_actor_on_the_loop_tells_a_threading_actor() -> None:
    class Passing(LoopActor):
        def on_receive(self, message: Any) -> None:
            threaded.tell(message)

    threaded: Any = None

    async def main() -> None:
        nonlocal threaded
        last, received = recorder()
        threaded = Threaded.start(last)
        first = Passing.start()
        first.tell("round trip")
        await first.stop()
        await asyncio.to_thread(threaded.stop)
        await last.stop()
        assert received == ["round trip"]

    on_a_real_loop(main)


def test_a_failing_threading_actor_leaves_the_loops_actors_alone() -> None:
    class Failing(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> None:
            raise ValueError(message)

    async def main() -> None:
        ref, _ = recorder()
        threaded = Failing.start()
        threaded.tell("bad")
        await asyncio.to_thread(threaded.actor_stopped.wait)
        assert await ref.ask("alive?") == "alive?"
        await ref.stop()

    on_a_real_loop(main)


def test_a_message_that_another_thread_put_while_the_actor_died_becomes_a_dead_letter() -> None:
    """The thread saw the actor alive, and its message comes into the mailbox after the end."""

    class Dying(LoopActor):
        def on_receive(self, message: Any) -> None:
            raise ValueError(message)

    async def main() -> None:
        ref = Dying.start()
        before = DEAD_LETTERS.count
        alive, dead = threading.Event(), threading.Event()

        class SlowMailbox:
            """The ref's view of the mailbox, in which a put takes as long as a death."""

            def put(self, envelope: Any) -> None:
                alive.set()
                dead.wait(10)
                mailbox.put(envelope)

            def on_own_thread(self) -> bool:
                return mailbox.on_own_thread()

        mailbox = ref.actor_inbox
        theirs: LoopActorRef[Any] = LoopActorRef(ref.actor())
        theirs.actor_inbox = SlowMailbox()  # type: ignore[assignment]
        telling = asyncio.ensure_future(asyncio.to_thread(theirs.ask, "too late"))
        await asyncio.to_thread(alive.wait, 10)
        ref.tell("die")
        await settle()
        assert not ref.is_alive()
        dead.set()
        with pytest.raises(ActorDeadError, match="stopped before handling"):
            await telling
        assert DEAD_LETTERS.count == before + 1
        assert DEAD_LETTERS.recent[-1].message == "too late"
        assert ref.actor_inbox.empty()

    on_a_real_loop(main)


def test_a_future_derived_by_map_is_awaited_on_the_loop_or_read_in_a_thread() -> None:
    async def main() -> None:
        ref, _ = recorder()
        asked = ref.ask([1, 2, 3, 4])
        assert await asked.map(sum) == 10
        assert await asked.filter(lambda n: n > 2) == [3, 4]
        assert await asked.join(ref.ask("x")) == [[1, 2, 3, 4], "x"]
        assert await asked.reduce(lambda a, b: a + b, 0) == 10
        assert await asyncio.to_thread(lambda: ref.ask([5], block=False).map(len).get()) == 1
        await ref.stop()

    on_a_real_loop(main)


def test_a_derived_future_waits_for_the_answer_without_blocking_the_loop() -> None:
    async def main() -> None:
        future: LoopFuture[int] = LoopFuture()
        doubled = asyncio.ensure_future(_await(future.map(lambda n: n * 2)))
        await settle()
        assert not doubled.done()
        future.set(21)
        assert await doubled == 42

    on_a_real_loop(main)


def test_what_a_derived_futures_function_raises_reaches_the_one_who_waits() -> None:
    def unfinished(_value: Any) -> Any:
        raise NotImplementedError("not yet")

    async def main() -> None:
        ref, _ = recorder()
        with pytest.raises(NotImplementedError, match="not yet"):
            await ref.ask("question").map(unfinished)
        await ref.stop()

    on_a_real_loop(main)


async def _await(future: Any) -> Any:
    return await future
