"""The pool of censors: grows to a maximum, and reuses before it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.runtime.ref import LoopActorRef
    from domain.messages import Reply, Takedown

Ref: TypeAlias = "LoopActorRef[Any]"


class InFlight(Struct, frozen=True):
    """A takedown, the censor that carries it, and whom to answer if the censor cannot."""

    censor: Ref
    takedown: Takedown
    reply: Reply


class CensorPool:
    """Hands out idle censors.

    Args:
        start: starts a new censor.
        maximum: how many there may be.
    """

    def __init__(self, *, start: Callable[[], Ref], maximum: int) -> None:
        self._start = start
        self._maximum = maximum
        # The last one back is the first one out: its memory is warm, and the others' can sleep.
        self._idle: dict[str, Ref] = {}
        self._busy: dict[str, InFlight] = {}

    @property
    def maximum(self) -> int:
        """How many censors there may be."""
        return self._maximum

    @property
    def idle(self) -> int:
        """How many wait for work."""
        return len(self._idle)

    @property
    def in_flight(self) -> int:
        """How many carry a takedown."""
        return len(self._busy)

    def take(self, takedown: Takedown, reply: Reply) -> Ref | None:
        """An idle censor, now busy with this takedown; None if all are busy."""
        if self._idle:
            _, censor = self._idle.popitem()
        elif len(self._busy) < self._maximum:
            censor = self._start()
        else:
            return None
        self._busy[censor.actor_urn] = InFlight(censor, takedown, reply)
        return censor

    def finish(self, urn: str) -> InFlight | None:
        """The takedown of this censor is over: take both out; None if it was not busy."""
        return self._busy.pop(urn, None)

    def find(self, urn: str) -> InFlight | None:
        """What this censor carries, if anything."""
        return self._busy.get(urn)

    def put_back(self, censor: Ref) -> None:
        """This censor may be used again."""
        self._idle[censor.actor_urn] = censor

    def remove(self, urn: str) -> None:
        """This censor is dead; a new one is started when it is needed."""
        self._idle.pop(urn, None)
        self._busy.pop(urn, None)

    def clear(self) -> tuple[tuple[InFlight, ...], tuple[Ref, ...]]:
        """Empty the pool; returns what was in flight, and every censor."""
        in_flight = tuple(self._busy.values())
        censors = (*(entry.censor for entry in in_flight), *self._idle.values())
        self._busy.clear()
        self._idle.clear()
        return in_flight, censors
