"""An actor that runs a state machine.

The machine decides, the actor does: it hands each event to the pure transition function, takes
on the new state, and carries out the effects in their order. Events that arise while it does so
(`raise_event`) queue, and are handled before the next message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from msgspec import Struct

from actors.fsm.machine import BadStep, CancelTimer, Effect, Machine, StartTimer, StateTimeout
from actors.fsm.timers import NamedTimers, TimerFired
from actors.fsm.transitions import Transition, TransitionFeed
from actors.runtime.actor import LoopActor, Supervisor
from actors.runtime.dead_letters import DEAD_LETTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum
    from types import TracebackType

D = TypeVar("D")

STATE_TIMER = "(state)"


class LogEntry(Struct, frozen=True, gc=False):
    """One of the last transitions of an actor: when (the loop's time), on what, whither.

    It holds the things themselves: many are written, and few are read.
    """

    at: float
    kind: type
    before: Enum
    after: Enum

    @property
    def event(self) -> str:
        """The name of the event's type."""
        return self.kind.__name__

    @property
    def source(self) -> str:
        """The name of the state before."""
        return self.before.name

    @property
    def target(self) -> str:
        """The name of the state after."""
        return self.after.name


class MachineActor(LoopActor, Generic[D]):
    """Runs `machine`; subclasses carry out its effects, by a table or in `perform`.

    Attributes:
        carry_out: methods by the type of effect; `perform` gets what is not among them.

    Args:
        feed: hears of every transition.
        supervisor: as for `LoopActor`.
    """

    machine: Machine[Any, Any]
    log_size: ClassVar[int] = 8
    carry_out: ClassVar[Mapping[type[Effect], Callable[[Any, Any], object]]] = {}

    def __init__(self, *, feed: TransitionFeed, supervisor: Supervisor | None = None) -> None:
        super().__init__(supervisor=supervisor)
        self._feed = feed
        self.timers = NamedTimers(self.loop, self._actor_ref.try_tell)
        self.log: list[LogEntry] = []
        self._queued: tuple[Any, ...] = ()
        self._in_transition = False
        self._set_initial()

    def _set_initial(self) -> None:
        self.state: Enum = self.machine.initial.state
        self.data: D = self.machine.initial.data

    @property
    def machine_name(self) -> str:
        """The machine's name."""
        return self.machine.name

    # ------------------------------------------------------------------------- life

    def on_start(self) -> None:
        """Join the feed and carry out the initial effects."""
        self._feed.join(self)
        try:
            if self.machine.timeouts:
                self._start_state_timer()
            self._perform_all(self.machine.initial.effects)
        except BaseException:
            self._end()  # an actor that did not start gets no other hook
            raise

    def on_stop(self) -> None:
        """Put the world in order and leave the feed."""
        self._end()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the world in order and leave the feed."""
        self._end()

    def on_restart(self, error: BaseException) -> None:
        """Put the world in order and begin anew, in the initial state."""
        self._end()
        self._set_initial()
        self.on_start()

    def _end(self) -> None:
        try:
            self._terminate()
        finally:
            self._feed.leave(self)

    def _terminate(self) -> None:
        self.timers.cancel_all()
        self._queued = ()
        self._in_transition = False
        if self.machine.on_termination is not None:
            failed: Exception | None = None
            for effect in self.machine.on_termination(self.state, self.data):
                try:
                    self._perform_all((effect,))
                except Exception as error:  # noqa: BLE001 - the others still have to be tried
                    failed = failed or error
            if failed is not None:
                raise failed

    # ----------------------------------------------------------------------- events

    def on_receive(self, message: Any) -> None:
        """Handle an event, or a timer that is still wanted.

        Timers that are due come first, even if the loop has not delivered them yet: what is
        handled after a deadline must not count as if it had come before it.
        """
        if self.timers.first_due <= self.loop.time():
            while (due := self.timers.take_due()) is not None:
                self.raise_event(due)
        if type(message) is TimerFired:
            message = self.timers.accept(message)
            if message is None:
                return
        if self.actor_stopped.already:  # a timer ended the machine before this was handled
            DEAD_LETTERS.add(message, str(self))
            return
        self.raise_event(message)

    def raise_event(self, event: Any) -> None:
        """Handle an event now or, within a transition, right after it."""
        if self._in_transition:
            self._queued = (*self._queued, event)
            return
        self._in_transition = True
        try:
            self._transition(event)
            while self._queued:
                event, *later = self._queued
                self._queued = tuple(later)
                self._transition(event)
        finally:
            self._in_transition = False

    def _transition(self, event: Any) -> None:
        source, before = self.state, self.data
        step = self.machine.transition(source, before, event)
        self.state, self.data = step.state, step.data
        now = self.loop.time()
        if step.state is not source and self.machine.timeouts:
            self._start_state_timer()
        log = self.log
        if len(log) == self.log_size:
            del log[0]
        log.append(LogEntry(now, type(event), source, step.state))
        if self._feed.observed:
            self._feed.publish(
                Transition(
                    self.actor_urn,
                    self.machine.name,
                    source,
                    event,
                    step.state,
                    before,
                    step.data,
                    now,
                    step.effects,
                )
            )
        if step.effects:
            self._perform_all(step.effects)
        if self.state in self.machine.final:
            self._stop()  # at once: it takes no event any more, so what waits is dead letters

    def _start_state_timer(self) -> None:
        seconds = self.machine.timeouts.get(self.state)
        if seconds is None:
            self.timers.cancel(STATE_TIMER)
        else:
            self.timers.start(STATE_TIMER, self.loop.time() + seconds, StateTimeout())

    # ---------------------------------------------------------------------- effects

    def _perform_all(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            carry_out = self.carry_out.get(type(effect))
            if carry_out is not None:
                carry_out(self, effect)
            elif type(effect) is StartTimer:
                self.timers.start(effect.name, effect.at, effect.event)
            elif type(effect) is CancelTimer:
                self.timers.cancel(effect.name)
            else:
                self.perform(effect)

    def perform(self, effect: Effect) -> None:
        """Carry out an effect that is not in the table; the timers' are done here."""
        raise BadStep(f"{type(self).__name__} cannot carry out {effect!r}")
