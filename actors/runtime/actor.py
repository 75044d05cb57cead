"""Actors that the event loop drives: pykka's actors without their threads.

Theory of operation
-------------------
A mailbox is a list. Putting the first message into an empty mailbox puts one `_drain` into the
loop's line (`dispatcher`), so that what actors tell each other is handled in the same turn of the
loop; a drain handles at most `throughput` messages and, if more are waiting, schedules itself
again behind everything else that is ready, so that no actor starves the others.

An actor belongs to the loop that ran when it was started, and all its code runs there. `tell`
works from any thread; `ask` gives a future that is awaited on the loop or read with `get()`
elsewhere, and that always has a timeout.

The error policy (there is one, whether the message came by tell or by ask)
---------------------------------------------------------------------------
- Whatever escapes from a handler **fails the actor**: its state can no longer be trusted. The
  asker, if there is one, gets the exception. (Stock pykka lets the actor live after an ask.)
- A supervised actor that failed is **restarted in place** (same ref, same mailbox, fresh state)
  while its supervisor's budget lasts, else it is stopped. One without supervisor is stopped.
- `CancelledError` is a failure like any other, of this actor alone. (Stock pykka stops every
  actor of the process.)
- `SystemExit` and `KeyboardInterrupt` stop the actor and go on to the loop: they are meant for
  the program, not for the actor.
- Proxies are asks: a method that raises fails the actor too.

What pykka promises about `on_start`, `on_stop` and `on_failure` holds: `on_failure` instead of
`on_stop` when the actor dies of an exception; an exception in `on_start` or in `on_stop` is
logged and stops the actor.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import pykka
from msgspec import Struct
from pykka import ActorDeadError, ActorRef, ActorRegistry
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from actors.runtime.dead_letters import DEAD_LETTERS
from actors.runtime.dispatcher import dispatcher_of
from actors.runtime.future import LoopFuture

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("takedown.actors")

DEFAULT_ASK_TIMEOUT = 5.0
"""Seconds an `ask` waits when its caller does not say how long."""

_PYKKAS_OWN = frozenset((_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr))

_FEW = 8
"""So many messages are taken out of a mailbox one by one."""

A = TypeVar("A", bound="LoopActor")


class Supervisor(Protocol):
    """Decides what becomes of an actor that failed. Called on the loop, must not raise."""

    def may_restart(self, urn: str) -> bool:
        """Whether the actor is restarted in place (True) or stopped (False)."""

    def child_failed(self, ref: LoopActorRef[Any], error: BaseException, *, alive: bool) -> None:
        """Hear of the failure, after the actor was restarted (`alive`) or stopped."""


@dataclass(frozen=True, slots=True)
class ActorStatistics:
    """What one actor has done so far.

    Attributes:
        urn: the actor's name, unique in the process.
        kind: its class.
        alive: False once it has stopped.
        mailbox_depth: messages that wait to be handled.
        handled: messages handled, failed ones included.
        restarts: how often it was restarted after a failure.
    """

    urn: str
    kind: str
    alive: bool
    mailbox_depth: int
    handled: int
    restarts: int


class _Stopped:
    """What pykka uses a `threading.Event` for, as small as it can be: nobody waits for it here."""

    __slots__ = ("already",)

    def __init__(self) -> None:
        self.already = False

    def set(self) -> None:
        self.already = True

    def is_set(self) -> bool:
        return self.already


class Asked(Struct):
    """In a mailbox: a message whose sender waits for an answer. Others are there as they are."""

    message: Any
    reply_to: LoopFuture[Any]


class Mailbox:
    """An actor's inbox, drained by the loop. `put` may be called from any thread.

    Other threads only ever append to `arrived`, which stays the same list for ever; all the rest
    is done on the loop's thread, by single operations of the list, which no other thread can
    interrupt. One that appends between two of them does so behind what they take.

    (An empty deque would be 760 bytes for each actor.)
    """

    __slots__ = ("_dispatcher", "_loop", "_receive", "_scheduled", "_thread", "arrived", "taken")

    def __init__(self) -> None:
        self.arrived: list[Any] = []
        self.taken: list[Any] | None = None  # out of `arrived`, the first one last
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Callable[[], object] | None = None
        self._scheduled = False
        self._thread = 0

    def on_own_thread(self) -> bool:
        """Whether the caller runs on the thread of the loop that drains this mailbox."""
        return get_ident() == self._thread

    def attach(self, loop: asyncio.AbstractEventLoop, receive: Callable[[], object]) -> None:
        """Have `receive` called on `loop` whenever there is something to handle.

        If it returns something true, it has taken long, and the rest waits for its turn.
        """
        self._loop = loop
        self._dispatcher = dispatcher_of(loop)
        self._receive = receive
        self._thread = get_ident()
        self._schedule()  # on_start has to run, and messages may be waiting already

    def put(self, message: Any, /) -> None:
        """Add a message, or an `Asked`, at the end."""
        self.arrived.append(message)
        if self._loop is None or self._scheduled:
            return
        if get_ident() == self._thread:
            self._scheduled = True
            self._dispatcher.add(self._run)
        else:
            self._loop.call_soon_threadsafe(self._schedule)

    def get(self) -> Any:
        """Take the first message; IndexError if there is none."""
        if self.taken:
            return self.taken.pop()
        arrived = self.arrived
        if len(arrived) <= _FEW:
            return arrived.pop(0)
        # Of a long list each `pop(0)` would move all the others.
        taken = arrived.copy()
        del arrived[: len(taken)]
        taken.reverse()
        self.taken = taken
        return taken.pop()

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self.arrived and not self.taken

    def __len__(self) -> int:
        return len(self.arrived) + len(self.taken or ())

    def _schedule(self) -> None:
        if not self._scheduled and self._receive is not None and self._loop is not None:
            self._scheduled = True
            self._dispatcher.add(self._run)

    def _run(self) -> bool:
        # Cleared first: a put from another thread that comes after the drain looked for the
        # last time then schedules a run of its own, and at worst one run finds nothing.
        self._scheduled = False
        gives_way = False
        if self._receive is not None:
            gives_way = bool(self._receive())
            if (self.arrived or self.taken) and not self._scheduled and self._loop is not None:
                self._scheduled = True
                if gives_way:
                    # With others in front that took long, too: one of these in each turn.
                    self._dispatcher.add(self._run)
                else:
                    # More than it may handle at a time: the rest comes after everything else.
                    self._loop.call_soon(self._run)
        return gives_way


class LoopActorRef(ActorRef[A]):
    """A reference to an actor on the loop; safe to share between threads."""

    actor_inbox: Mailbox
    actor_stopped: _Stopped  # type: ignore[assignment]  # as much as pykka asks of it

    def __init__(self, actor: A) -> None:
        super().__init__(actor)
        self._loop = actor.loop

    def tell(self, message: Any) -> None:
        """Send a message and do not wait.

        Raises:
            ActorDeadError: the actor is dead; the message is a dead letter.
        """
        if self.actor_stopped.already:
            DEAD_LETTERS.add(message, str(self))
            raise ActorDeadError(f"{self} not found")
        self.actor_inbox.put(message)

    def try_tell(self, message: Any) -> bool:
        """Send a message and do not wait; False if the actor is dead (a dead letter then)."""
        if self.actor_stopped.already:
            DEAD_LETTERS.add(message, str(self))
            return False
        self.actor_inbox.put(message)
        return True

    def ask(
        self,
        message: Any,
        *,
        block: bool | None = None,
        timeout: float | None = DEFAULT_ASK_TIMEOUT,
    ) -> Any:
        """Send a message and get the answer.

        Args:
            message: what to send.
            block: True waits for the answer and returns it; False returns a `LoopFuture`. By
                default it is False on the loop's own thread and True in others.
            timeout: seconds until the future fails with `pykka.Timeout`. None means the
                default: an ask without end does not exist here.

        Returns:
            the answer, or the future that will hold it.

        Raises:
            RuntimeError: `block=True` on the loop's own thread, which could never end.
            pykka.Timeout: blocking, and the time ran out.
            ActorDeadError: blocking, and the actor was dead or died before it handled this.
        """
        limit = DEFAULT_ASK_TIMEOUT if timeout is None else timeout
        on_loop = self.actor_inbox.on_own_thread()
        if block and on_loop:
            raise RuntimeError("ask(block=True) would block the event loop: await the future")
        future: LoopFuture[Any] = LoopFuture(self._loop, timeout=limit)
        if self.actor_stopped.is_set():
            DEAD_LETTERS.add(message, str(self))
            error = ActorDeadError(f"{self} not found")
            future.set_exception((ActorDeadError, error, None))
        else:
            self.actor_inbox.put(Asked(message, future))
        if block is None:
            block = not on_loop
        return future.get() if block else future

    def stop(
        self, *, block: bool | None = None, timeout: float | None = DEFAULT_ASK_TIMEOUT
    ) -> Any:
        """Ask the actor to stop once it has handled what is in its mailbox.

        Returns:
            True if it stopped or was stopping, False if it was dead already; as a value or as a
            future, as for `ask`.

        Raises:
            RuntimeError: `block=True` on the loop's own thread, which could never end.
        """
        on_loop = self.actor_inbox.on_own_thread()
        if block and on_loop:
            raise RuntimeError("stop(block=True) would block the event loop: await the future")
        answer: LoopFuture[Any] = self.ask(_ActorStop(), block=False, timeout=timeout)
        stopped: LoopFuture[bool] = LoopFuture(self._loop)
        answer.when_done(functools.partial(_pass_on, stopped))
        if block is None:
            block = not on_loop
        return stopped.get() if block else stopped

    def tell_stop(self) -> None:
        """Ask the actor to stop once it has handled its mailbox, and do not wait."""
        if not self.actor_stopped.is_set():
            self.actor_inbox.put(_ActorStop())

    def actor(self) -> A | None:
        """The actor itself, for looking at; None if it is dead and gone."""
        return self._actor_weakref()

    def statistics(self) -> ActorStatistics:
        """What the actor has done so far; also of a dead one."""
        actor = self._actor_weakref()
        return ActorStatistics(
            urn=self.actor_urn,
            kind=self.actor_class.__name__,
            alive=self.is_alive(),
            mailbox_depth=len(self.actor_inbox),
            handled=actor.handled if actor is not None else 0,
            restarts=actor.restarts if actor is not None else 0,
        )


def _pass_on(stopped: LoopFuture[bool], answer: asyncio.Future[Any]) -> None:
    if stopped.done():
        return  # whoever waited was cancelled
    error = None if answer.cancelled() else answer.exception()
    if error is None or isinstance(error, ActorDeadError):
        stopped.set(error is None)
    else:
        stopped.set_exception((type(error), error, None))


class LoopActor(pykka.Actor):
    """A pykka actor that runs on the event loop it was started on.

    Start it with `start()` from code that runs on the loop. Override `on_receive`, and where
    needed `on_start`, `on_stop`, `on_failure` and `on_restart`. Handlers must not block.

    Args:
        supervisor: decides about restarts and hears of failures; without one, a failed actor
            is stopped.
    """

    throughput: ClassVar[int] = 64
    """How many messages one turn of the loop may handle for this actor."""

    _actor_ref: LoopActorRef[Any]
    actor_inbox: Mailbox
    actor_stopped: _Stopped  # type: ignore[assignment]

    def __init__(self, *, supervisor: Supervisor | None = None) -> None:
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{type(self).__name__} must be started on a running event loop"
            ) from None
        super().__init__()
        self.actor_stopped = _Stopped()
        self._actor_ref = LoopActorRef(self)
        self._supervisor = supervisor
        self._message: Any = None
        self._asker: LoopFuture[Any] | None = None
        self._deferred: LoopFuture[Any] | None = None
        self._started = False
        self.handled = 0
        self.restarts = 0
        self.gives_way = False
        """Set while a message is handled that takes long: others have their turn after it."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> LoopActorRef[Self]:
        """Start an actor on the running loop; arguments are the constructor's."""
        ref = super().start(*args, **kwargs)
        assert isinstance(ref, LoopActorRef)
        return ref

    # ------------------------------------------------------------------ pykka's seam

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def _start_actor_loop(self) -> None:
        self.actor_inbox.attach(self.loop, self._drain)

    # --------------------------------------------------------------------- to override

    def on_restart(self, error: BaseException) -> None:
        """Bring the state back to that of a new actor; runs instead of `on_failure`.

        What it raises stops the actor after all. The default refuses: an actor whose author did
        not say how it starts anew is not restarted.
        """
        raise error

    # ---------------------------------------------------------------- within a handler

    @property
    def handling(self) -> Any:
        """The message that is handled now, or that was when the actor failed; else None."""
        return self._message

    def defer_reply(self) -> LoopFuture[Any]:
        """Take over the duty to answer the current message's asker, now or later.

        If the handler fails before it returns, the asker hears of that all the same.

        Raises:
            RuntimeError: the current message came by tell, or was deferred before.
        """
        asker = self._asker
        if asker is None:
            raise RuntimeError("There is nobody to answer")
        self._asker = None
        self._deferred = asker
        return asker

    # -------------------------------------------------------------------------- driving

    def _drain(self) -> bool:
        """Handle what is there; whether others on the loop should have their turn now."""
        inbox, stopped = self.actor_inbox, self.actor_stopped
        try:
            if not self._started:
                self._begin_life()
            for _ in range(self.throughput):
                if stopped.already or not (inbox.arrived or inbox.taken):
                    break
                self._handle(inbox.get())
                if self.gives_way:
                    self.gives_way = False
                    return True
        finally:
            if stopped.already:
                self._bury()
        return False

    def _begin_life(self) -> None:
        self._started = True
        try:
            self.on_start()
        except BaseException as error:  # noqa: BLE001 - the policy above decides
            self._die(error, tell_hook=False)
            self._reraise_if_meant_for_the_program(error)

    def _handle(self, message: Any) -> None:
        if type(message) is Asked:
            self._asker = message.reply_to
            message = message.message
        self._message = message
        self.handled += 1
        try:
            if type(message) in _PYKKAS_OWN:
                response = self._handle_receive(message)
            else:
                response = self.on_receive(message)
            if self._asker is not None:
                self._asker.set(response)
        except BaseException as error:  # noqa: BLE001 - the policy above decides
            asker = self._asker
            if self._deferred is not None and not self._deferred.done():
                asker = self._deferred  # whoever was to answer it has failed here
            if asker is not None:
                answer = self._for_the_asker(error)
                asker.set_exception((type(answer), answer, answer.__traceback__))
            self._fail(error, message)
            self._reraise_if_meant_for_the_program(error)
        finally:
            self._message = None
            self._asker = None
            self._deferred = None

    def _for_the_asker(self, error: BaseException) -> BaseException:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            return error
        # A CancelledError would cancel the asker and a SystemExit end it: both are about us.
        answer = ActorDeadError(f"{self} failed with {error!r}")
        answer.__cause__ = error
        return answer

    @staticmethod
    def _reraise_if_meant_for_the_program(error: BaseException) -> None:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise error

    def _fail(self, error: BaseException, message: Any) -> None:
        # One that has stopped failed in on_stop, and is not brought back to life for that.
        stopped = self.actor_stopped.is_set()
        final = stopped or isinstance(error, SystemExit | KeyboardInterrupt)
        supervisor = self._supervisor
        if supervisor is not None and not final and supervisor.may_restart(self.actor_urn):
            logger.error(
                "%s failed on %s and is restarted", self, type(message).__name__, exc_info=error
            )
            try:
                self.on_restart(error)
            except BaseException as second:  # noqa: BLE001 - the policy above decides
                self._die(second, tell_hook=True)
            else:
                self.restarts += 1
                supervisor.child_failed(self._actor_ref, error, alive=True)
            return
        self._die(error, tell_hook=not stopped)

    def _die(self, error: BaseException, *, tell_hook: bool) -> None:
        self._handle_failure(type(error), error, error.__traceback__)
        if tell_hook:
            try:
                self.on_failure(type(error), error, error.__traceback__)
            except (Exception, asyncio.CancelledError):
                logger.exception("on_failure of %s failed", self)
        if self._supervisor is not None:
            self._supervisor.child_failed(self._actor_ref, error, alive=False)

    def _bury(self) -> None:
        """Answer or record what is in the mailbox of an actor that has stopped.

        It stays attached: a message that another thread sent while the actor was dying comes by
        here a little later.
        """
        inbox = self.actor_inbox
        while not inbox.empty():
            message, asker = inbox.get(), None
            if type(message) is Asked:
                message, asker = message.message, message.reply_to
            if isinstance(message, _ActorStop):
                if asker is not None:
                    asker.set(None)
                continue
            DEAD_LETTERS.add(message, str(self))
            if asker is not None:
                error = ActorDeadError(f"{self} stopped before handling the message")
                asker.set_exception((ActorDeadError, error, None))


def count_alive() -> int:
    """How many actors of this runtime are alive in the process."""
    return len(ActorRegistry.get_by_class(LoopActor))
