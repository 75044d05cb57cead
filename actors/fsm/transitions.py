"""The transition feed: what happens in every machine, for whoever wants to watch.

Observers are functions called on the loop with `Entered` (the current state of each live
machine, once, when they subscribe) and then with each `Transition`. One that raises is logged
and goes on being called; it never touches a takedown. One that would have to wait uses
`stream()`: a bounded buffer of its own that drops the oldest and counts what it dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from enum import Enum

    from actors.fsm.timers import NamedTimers

logger = logging.getLogger("takedown.actors")


class Entered(Struct, frozen=True):
    """A machine is in this state now; the first thing an observer hears of it."""

    actor: str
    machine: str
    state: Any
    data: Any


class Transition(Struct, frozen=True):
    """A machine went from one state to another, or stayed, on an event.

    Attributes:
        actor: the URN of the actor that runs it.
        machine: the machine's name.
        source: the state before.
        event: the event.
        target: the state after; the same as `source` if it stayed.
        before: the data before.
        data: the data after.
        at: the loop's time.
        effects: what it asks for, in their order.
    """

    actor: str
    machine: str
    source: Any
    event: Any
    target: Any
    before: Any
    data: Any
    at: float
    effects: tuple[Any, ...] = ()


class Left(Struct, frozen=True):
    """A machine is gone: its actor has stopped."""

    actor: str
    machine: str


FeedItem: TypeAlias = Entered | Transition | Left
Observer: TypeAlias = Callable[[FeedItem], None]


class Observable(Protocol):
    """An actor that runs a machine, as the feed sees it."""

    @property
    def actor_urn(self) -> str:
        """Its name."""

    @property
    def machine_name(self) -> str:
        """Its machine's name."""

    @property
    def state(self) -> Enum:
        """Its current state."""

    @property
    def data(self) -> Any:
        """Its current data."""

    @property
    def timers(self) -> NamedTimers:
        """Its timers."""


class TransitionFeed:
    """Passes on what happens in the machines that joined it."""

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()  # replaced, never changed: it is being read
        self._machines: dict[str, Observable] = {}
        self._failures = 0
        self.observed = False
        """Whether anyone is watching; if not, nothing needs to be built."""

    @property
    def failures(self) -> int:
        """How often an observer raised."""
        return self._failures

    def __len__(self) -> int:
        return len(self._machines)

    def machines(self) -> tuple[Observable, ...]:
        """Every machine that is alive."""
        return tuple(self._machines.values())

    def machine(self, actor: str) -> Observable | None:
        """The machine of this actor, if it is alive."""
        return self._machines.get(actor)

    def join(self, machine: Observable) -> None:
        """Show this machine to the observers from now on."""
        self._machines[machine.actor_urn] = machine
        if self._observers:
            self.publish(_entered(machine))

    def leave(self, machine: Observable) -> None:
        """The machine is gone."""
        if self._machines.pop(machine.actor_urn, None) is not None and self._observers:
            self.publish(Left(machine.actor_urn, machine.machine_name))

    def publish(self, item: FeedItem) -> None:
        """Tell every observer."""
        for observer in self._observers:
            try:
                observer(item)
            except Exception as error:  # noqa: BLE001 - it is logged, and is not the takedown's
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        logger.error("An observer of the transitions failed", exc_info=error)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` the current state of each machine, then everything that happens.

        Returns:
            a function that ends the subscription.
        """
        for machine in tuple(self._machines.values()):
            try:
                observer(_entered(machine))
            except Exception as error:  # noqa: BLE001 - see publish
                self._failed(error)
        self._observers = (*self._observers, observer)
        self.observed = True

        def unsubscribe() -> None:
            left = list(self._observers)
            if observer in left:
                left.remove(observer)
                self._observers = tuple(left)
                self.observed = bool(left)

        return unsubscribe

    def stream(self, *, capacity: int = 10_000) -> FeedStream:
        """A bounded stream of the feed, for an observer that has to wait for something."""
        return FeedStream(self, capacity)


class FeedStream:
    """`async for` over the feed; when it is not read, the oldest items are dropped.

    Use it as a context manager: it is subscribed inside the block.
    """

    def __init__(self, feed: TransitionFeed, capacity: int) -> None:
        self._feed = feed
        self._items: deque[FeedItem] = deque(maxlen=capacity)
        self._arrived = asyncio.Event()
        self._unsubscribe: Callable[[], None] | None = None
        self.dropped = 0

    def __enter__(self) -> Self:
        self._unsubscribe = self._feed.subscribe(self._put)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()

    def _put(self, item: FeedItem) -> None:
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(item)
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[FeedItem]:
        while True:
            while self._items:
                yield self._items.popleft()
            self._arrived.clear()
            await self._arrived.wait()


def _entered(machine: Observable) -> Entered:
    return Entered(machine.actor_urn, machine.machine_name, machine.state, machine.data)
