"""The core alone: coordinator, censors and bus, without HTTP and without Kafka.

    python -m dev.bench.core cost --containers 3        # CPU of one takedown
    python -m dev.bench.core memory --takedowns 100000  # what one in flight holds
    python -m dev.bench.core timeouts --takedowns 100000  # all of them at one deadline
    python -m dev.bench.core messages                   # actor messages a second, and pykka's own
    python -m dev.bench.core floor                      # what the loop itself costs, without us

Each prints one JSON object. What is outside of the core answers at once and costs next to nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pykka
import uvloop

from actors.fsm.transitions import TransitionFeed
from actors.item_censor.actor import ItemCensor
from actors.runtime.actor import LoopActor
from bus.event_bus import EventBus
from coordinator.coordinator import Coordinator
from dev.bench.load import percentile
from dev.bench.processes import BenchError
from domain.messages import (
    Container,
    ContainerId,
    ContainersFound,
    Deleted,
    ItemDeleted,
    ItemId,
    RequestsPublished,
    TakeDown,
    Takedown,
    TakedownId,
    TimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors.runtime.actor import Supervisor
    from actors.runtime.future import LoopFuture
    from actors.runtime.ref import LoopActorRef

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ASKED_AT_ONCE = 128
GRACE = 60.0
NEVER = 120.0


def item_id(number: int) -> ItemId:
    """One of as many items as anybody may want."""
    return ItemId(f"00000000-0000-4000-8000-{number:012d}")


class Surroundings:
    """A catalogue that knows every item, and a publisher that has published before it is asked."""

    def __init__(self, containers: int) -> None:
        self.containers = tuple(
            Container(ContainerId(f"group-{number:04d}"), "group") for number in range(containers)
        )
        self.published = 0

    def locate(self, takedown: Takedown, tell: Callable[[Any], object]) -> None:
        tell(ContainersFound(takedown.takedown_id, self.containers))

    def publish(
        self, takedown: Takedown, _containers: object, tell: Callable[[Any], object]
    ) -> Surroundings:
        self.published += 1
        tell(RequestsPublished(takedown.takedown_id))
        return self

    def stop(self) -> None:
        """There is nothing to be stopped."""


class Core:
    """A coordinator with its censors and the bus, as the service has them.

    Args:
        containers: of every item.
        pool_max: how many takedowns may be in flight.
    """

    def __init__(self, containers: int, pool_max: int) -> None:
        self.surroundings = Surroundings(containers)
        self.bus = EventBus()
        self.feed = TransitionFeed()
        self.ref = Coordinator.start(
            start_censor=self._start_censor, pool_max=pool_max, why_not_ready=lambda: None
        )

    def _start_censor(
        self, *, coordinator: LoopActorRef[Any], supervisor: Supervisor
    ) -> LoopActorRef[Any]:
        return ItemCensor.start(
            catalogue=self.surroundings,
            publisher=self.surroundings,
            bus=self.bus,
            coordinator=coordinator,
            feed=self.feed,
            supervisor=supervisor,
        )

    def ask(self, number: int, deadline: float) -> LoopFuture[Any]:
        """Ask as the public API does."""
        now = asyncio.get_running_loop().time()
        takedown = Takedown(
            takedown_id=TakedownId(f"takedown-{number}"),
            item_id=item_id(number),
            accepted_at=now,
            deadline=deadline,
            accepted_utc=NOON,
            deadline_utc=NOON + timedelta(seconds=deadline - now),
            traceparent=TRACE,
        )
        answer: LoopFuture[Any] = self.ref.ask(
            TakeDown(takedown), block=False, timeout=deadline - now + GRACE
        )
        return answer

    def delete(self, number: int) -> None:
        """Every deletion of this item is read."""
        for container in self.surroundings.containers:
            self.bus.publish(
                ItemDeleted(item_id(number), container.container_id, container.container_type, NOON)
            )

    async def until_active(self, count: int) -> None:
        """Wait until so many takedowns in all have subscribed to their deletions."""
        give_up = time.monotonic() + NEVER
        while self.surroundings.published < count:
            if time.monotonic() > give_up:
                raise BenchError(f"{self.surroundings.published} of {count} takedowns are active")
            await asyncio.sleep(0)


async def cost(*, containers: int, takedowns: int) -> dict[str, float]:
    """CPU microseconds of one takedown, from the question to the answer."""
    core = Core(containers, 2 * ASKED_AT_ONCE)  # who has answered is back in the pool a bit later
    loop = asyncio.get_running_loop()
    best = float("inf")
    asked = 0
    for _ in range(3):
        started = time.process_time()
        for first in range(0, takedowns, ASKED_AT_ONCE):
            answers = [core.ask(first + n, loop.time() + 10) for n in range(ASKED_AT_ONCE)]
            asked += ASKED_AT_ONCE
            await core.until_active(asked)
            for n in range(ASKED_AT_ONCE):
                core.delete(first + n)
            for answer in answers:
                assert isinstance(await answer, Deleted)
        best = min(best, (time.process_time() - started) / takedowns)
    return {"containers": containers, "cpu_us": best * 1e6}


async def memory(*, containers: int, takedowns: int) -> dict[str, float]:
    """Bytes that a takedown in flight holds, with everything of it from coordinator to bus."""
    core = Core(containers, takedowns)
    deadline = asyncio.get_running_loop().time() + 3600
    await asyncio.sleep(0)
    gc.collect()
    before = psutil.Process().memory_info().rss
    answers = [core.ask(number, deadline) for number in range(takedowns)]
    await core.until_active(takedowns)
    gc.collect()
    held = psutil.Process().memory_info().rss - before
    for number in range(takedowns):
        core.delete(number)
    for answer in answers:
        await answer
    return {"containers": containers, "takedowns": takedowns, "bytes": held / takedowns}


async def timeouts(*, containers: int, takedowns: int) -> dict[str, float]:
    """So many takedowns that time out together: how late their answers are."""
    core = Core(containers, takedowns)
    loop = asyncio.get_running_loop()
    # By the deadline all of them must be in flight: how long that takes, a few of them say.
    few = min(takedowns, 2000)
    first = Core(containers, few)
    began = loop.time()
    for number in range(few):
        first.ask(number, began + 3600)
    await first.until_active(few)
    deadline = loop.time() + 2 + 1.5 * (loop.time() - began) / few * takedowns
    await first.ref.stop(block=False)
    late: list[float] = []

    finished = asyncio.Event()

    def answered(future: asyncio.Future[Any]) -> None:
        assert isinstance(future.result(), TimedOut)
        late.append(time.monotonic() - deadline)  # uvloop reads its own clock once in a turn
        if len(late) == takedowns:
            finished.set()

    answers = [core.ask(number, deadline) for number in range(takedowns)]
    for answer in answers:
        answer.when_done(answered)
    await core.until_active(takedowns)
    spare = deadline - loop.time()
    started = time.process_time()
    await finished.wait()
    cpu = time.process_time() - started
    return {
        "takedowns": takedowns,
        "spare_seconds": spare,
        "p50_ms": percentile(late, 0.5) * 1e3,
        "latest_ms": max(late) * 1e3,
        "too_late": sum(one > 0.25 for one in late),
        "cpu_us": cpu / takedowns * 1e6,
    }


async def floor(*, takedowns: int) -> dict[str, float]:
    """What the loop itself costs: timers that fire together, and one hop of a message.

    `latest_ms` is how late the last of so many bare timers comes that each only answer a future;
    `hop_us` is a `call_soon` and a deque, the least that a mailbox can be made of.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1 + takedowns / 100_000
    futures = [loop.create_future() for _ in range(takedowns)]
    late: list[float] = []
    for future in futures:
        future.add_done_callback(lambda _: late.append(time.monotonic() - deadline))
        loop.call_at(deadline, future.set_result, None)
    while len(late) < takedowns:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    waiting: deque[int] = deque()
    finished = loop.create_future()

    def hop() -> None:
        left = waiting.popleft()
        if not left:
            finished.set_result(None)
            return
        waiting.append(left - 1)
        loop.call_soon(hop)

    waiting.append(takedowns)
    started = time.process_time()
    hop()
    await finished
    hop_us = (time.process_time() - started) / takedowns * 1e6
    return {"takedowns": takedowns, "latest_ms": max(late) * 1e3, "hop_us": hop_us}


class _Passing:
    """Passes a number on to the next actor, less one; what nobody takes it counts.

    Args:
        left: calls `done` when it has counted so many.
        done: see there; may be called in any thread.
    """

    def __init__(self, left: int = 0, done: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.left = left
        self.done = done
        self.next_one: pykka.ActorRef[Any] | None = None

    def on_receive(self, message: Any) -> None:
        if isinstance(message, pykka.ActorRef):
            self.next_one = message
        elif message and self.next_one is not None:
            self.next_one.tell(message - 1)
        else:
            self.left -= 1
            if self.left <= 0 and self.done is not None:
                self.done()


class Ours(_Passing, LoopActor):
    """On our loop."""


class Pykkas(_Passing, pykka.ThreadingActor):
    """As a thread."""


async def messages(*, count: int) -> dict[str, dict[str, float]]:
    """Messages a second, the best of three: on our loop, and as pykka's own threads.

    `tell`: to one actor, from one sender that does not wait. `ask`: the same, and each answer is
    waited for. `many`: a hundred messages run round a ring of a thousand actors.
    """
    found: dict[str, dict[str, float]] = {}
    for shape, send in (("tell", _tell), ("ask", _ask), ("many", _round_the_ring)):
        rates = {"ours": 0.0, "pykka": 0.0}
        for _ in range(3):
            for name, kind in (("ours", Ours), ("pykka", Pykkas)):
                rates[name] = max(rates[name], await send(kind, count))
        found[shape] = rates | {"ratio": rates["ours"] / rates["pykka"]}
    return found


async def _tell(kind: type[Any], count: int) -> float:
    loop, finished = asyncio.get_running_loop(), asyncio.Event()
    actor = kind.start(count, functools.partial(loop.call_soon_threadsafe, finished.set))
    started = time.perf_counter()
    for _ in range(count):
        actor.tell(0)
    await finished.wait()
    seconds = time.perf_counter() - started
    actor.stop(block=False)
    return count / seconds


async def _ask(kind: type[Any], count: int) -> float:
    actor = kind.start()
    asked = count // 10
    started = time.perf_counter()
    for _ in range(asked):
        if kind is Ours:
            await actor.ask(0, block=False)
        else:
            actor.ask(0)
    seconds = time.perf_counter() - started
    actor.stop(block=False)
    return asked / seconds


async def _round_the_ring(kind: type[Any], count: int) -> float:
    runners, size = 100, 1000
    loop, finished = asyncio.get_running_loop(), asyncio.Event()
    counter = kind.start(runners, functools.partial(loop.call_soon_threadsafe, finished.set))
    ring = [kind.start(0, functools.partial(counter.tell, 0)) for _ in range(size)]
    for actor, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        actor.tell(following)
    each = count // runners
    started = time.perf_counter()
    for number in range(runners):
        ring[number * (size // runners)].tell(each)
    await finished.wait()
    seconds = time.perf_counter() - started
    for actor in (*ring, counter):
        actor.stop(block=False)
    return runners * each / seconds


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bench.core", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    for name, takedowns in (("cost", 12_800), ("memory", 100_000), ("timeouts", 100_000)):
        one = what.add_parser(name)
        one.add_argument("--containers", type=int, default=1)
        one.add_argument("--takedowns", type=int, default=takedowns)
    what.add_parser("floor").add_argument("--takedowns", type=int, default=100_000)
    what.add_parser("messages").add_argument("--count", type=int, default=200_000)
    return parser


def main() -> None:
    options = vars(arguments().parse_args())
    work: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
        "cost": cost,
        "memory": memory,
        "timeouts": timeouts,
        "floor": floor,
        "messages": messages,
    }
    gc.freeze()
    gc.set_threshold(20_000)  # as `commands` has it for the service
    result = uvloop.run(work[options.pop("what")](**options))
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
