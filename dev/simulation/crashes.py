"""Actors that fail at any message, or that the process stops at; mailboxes that count."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from actors.fsm.actor import MachineActor
from actors.item_censor.actor import ItemCensor
from actors.item_censor.states import Answer, FindContainers
from actors.runtime.actor import LoopActor
from actors.runtime.mailbox import Mailbox
from coordinator.coordinator import Coordinator
from dev.simulation.faults import Fault

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator

    from dev.simulation.event_log import Journal
    from dev.simulation.faults import Faults

_RESTARTS = 3
_WITHIN = 15.0


class Crash(Exception):
    """An actor was made to fail."""


class CountingMailbox(Mailbox):
    """Counts what goes in and what comes out."""

    __slots__ = ("got", "putted")

    def __init__(self) -> None:
        super().__init__()
        self.putted = 0
        self.got = 0

    def put(self, message: Any, /) -> None:
        """Add a message at the end."""
        self.putted += 1
        super().put(message)

    def get(self) -> Any:
        """Take the first message."""
        message = super().get()
        self.got += 1
        return message


def _item_of(message: Any) -> str:
    takedown = getattr(message, "takedown", message)
    return str(getattr(takedown, "item_id", ""))[-4:]


class Actors:
    """What was seen of all actors of one run.

    Args:
        faults: what goes wrong.
        journal: where it is written down.
        pause: stops the process for so many seconds.
    """

    def __init__(
        self, faults: Faults, journal: Journal, *, pause: Callable[[float], object]
    ) -> None:
        self._faults = faults
        self._journal = journal
        self._pause = pause
        self._failures: dict[str, list[float]] = defaultdict(list)
        self._fuses: dict[str, int] = {}
        self._sought: dict[str, str] = {}
        self.mailboxes: list[CountingMailbox] = []
        self.crashes: list[float] = []
        self.violations: list[str] = []

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within the block, actors fail as the faults say, and their mailboxes count."""
        inbox = LoopActor.__dict__["_create_actor_inbox"]
        receive_censor, receive_coordinator = MachineActor.on_receive, Coordinator.on_receive
        patches: list[tuple[Any, str, Any, Any]] = [
            (LoopActor, "_create_actor_inbox", staticmethod(self._mailbox), inbox),
        ]
        kinds = self._faults.kinds
        if Fault.CENSOR_CRASHED in kinds:
            failing = self._failing(receive_censor, Fault.CENSOR_CRASHED, "censor", by_effect=True)
            patches.append((MachineActor, "on_receive", failing, receive_censor))
        if Fault.COORDINATOR_CRASHED in kinds:
            failing = self._failing(receive_coordinator, Fault.COORDINATOR_CRASHED, "coordinator")
            patches.append((Coordinator, "on_receive", failing, receive_coordinator))
        carry_out = performing = ItemCensor.carry_out
        if Fault.PAUSED_AT_ANSWER in kinds:
            performing = {kind: self._pausing(method) for kind, method in performing.items()}
        if Fault.CENSOR_CRASHED in kinds:
            performing = {kind: self._fused(method) for kind, method in performing.items()}
        patches.append((ItemCensor, "carry_out", performing, carry_out))
        for where, name, new, _ in patches:
            setattr(where, name, new)
        try:
            yield
        finally:
            for where, name, _, old in patches:
                setattr(where, name, old)

    def _mailbox(self) -> CountingMailbox:
        mailbox = CountingMailbox()
        self.mailboxes.append(mailbox)
        return mailbox

    def _failing(
        self, receive: Callable[..., Any], kind: Fault, lane: str, *, by_effect: bool = False
    ) -> Callable[..., Any]:
        def on_receive(actor: Any, message: Any) -> Any:
            self._check_budget(actor)
            name = type(message).__name__
            rng = self._faults.strikes(kind, name, _item_of(message))
            if rng is None:
                return receive(actor, message)
            point = rng.choice(("before", "after", "within") if by_effect else ("before", "after"))
            self._journal.write(lane, lane, f"! crashes {point} {name}")
            if point == "before":
                raise self._crash(actor, rng)
            if point == "within":
                self._fuses[actor.actor_urn] = rng.randint(0, 3)
            answer = receive(actor, message)
            if point == "after" or self._fuses.pop(actor.actor_urn, None) is not None:
                raise self._crash(actor, rng)
            return answer

        return on_receive

    def _fused(self, perform: Callable[..., Any]) -> Callable[..., Any]:
        def fused(actor: Any, effect: Any) -> None:
            left = self._fuses.get(actor.actor_urn)
            if left == 0:
                del self._fuses[actor.actor_urn]
                self._note(actor)
                raise Crash(f"at {type(effect).__name__}")
            if left is not None:
                self._fuses[actor.actor_urn] = left - 1
            perform(actor, effect)

        return fused

    def _pausing(self, perform: Callable[..., Any]) -> Callable[..., Any]:
        """The process stops when a censor has answered, and before the server has heard of it."""

        def pausing(actor: Any, effect: Any) -> None:
            perform(actor, effect)
            if type(effect) is FindContainers:
                self._sought[actor.actor_urn] = _item_of(effect)
            elif type(effect) is Answer:
                what = type(effect.outcome).__name__, self._sought.pop(actor.actor_urn)
                if (rng := self._faults.strikes(Fault.PAUSED_AT_ANSWER, *what)) is not None:
                    self._pause(rng.choice((0.3, 1.0, 3.0)) * rng.uniform(0.3, 1.5))

        return pausing

    def _crash(self, actor: Any, rng: random.Random) -> BaseException:
        self._note(actor)
        if rng.random() < 0.25:
            return asyncio.CancelledError()
        return Crash("made to fail")

    def _note(self, actor: Any) -> None:
        now = actor.loop.time()
        self.crashes.append(now)
        self._failures[actor.actor_urn].append(now)

    def _check_budget(self, actor: Any) -> None:
        """An actor that has used its restarts up lives no longer."""
        failures = self._failures.get(actor.actor_urn)
        if failures is None:
            return
        for first, last in zip(failures, failures[_RESTARTS:], strict=False):
            if last - first < _WITHIN:
                self.violations.append(f"supervision: {actor} lives on after {failures}")
                return

    def check_restarts(self, actors: Iterable[Any]) -> None:
        """No actor has failed but by us."""
        for actor in actors:
            if actor.restarts > len(self._failures.get(actor.actor_urn, ())):
                self.violations.append(f"supervision: {actor} failed by itself")

    def check_mailboxes(self, *, stopped: bool) -> None:
        """Once quiet, nothing is left in a mailbox, and all that went in came out."""
        for mailbox in self.mailboxes:
            if mailbox.putted != mailbox.got or len(mailbox):
                self.violations.append(
                    f"mailbox: {mailbox.putted} messages in, {mailbox.got} out, {stopped=}"
                )
