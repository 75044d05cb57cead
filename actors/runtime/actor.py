"""Actors that the event loop drives: pykka's actors without their threads.

Theory of operation
-------------------
A message in the mailbox (`mailbox`) causes a drain on the event loop. A drain handles at most
`throughput` messages, so that no actor starves the others.

An actor belongs to the loop that ran when it was started, and all its code runs there. `tell`
works from any thread; `ask` gives a future that is awaited on the loop or read with `get()`
elsewhere, and that always has a timeout.

The error policy (there is one, whether the message came by tell or by ask)
---------------------------------------------------------------------------
- Whatever escapes from a handler **fails the actor**: its state can no longer be trusted. The
  asker, if there is one, gets the exception. (Stock pykka lets the actor live after an ask.)
- A supervised actor that failed is **restarted in place** (same ref, same mailbox, fresh state)
  while its supervisor's budget lasts, otherwise it is stopped. One without supervisor is stopped.
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
import logging
from typing import Any, ClassVar, Protocol, Self

from pykka import ActorDeadError, ActorRegistry
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from actors.runtime.dead_letters import DEAD_LETTERS
from actors.runtime.future import LoopFuture
from actors.runtime.mailbox import Mailbox
from actors.runtime.ref import LoopActorRef
from actors.runtime.shared import Asked, DrivenActor, StoppedFlag

logger = logging.getLogger("takedown.actors")

_PYKKAS_OWN = frozenset((_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr))


class Supervisor(Protocol):
    """Decides what becomes of an actor that failed. Called on the loop, must not raise."""

    def may_restart(self, urn: str) -> bool:
        """Whether the actor is restarted in place (True) or stopped (False)."""

    def child_failed(self, ref: LoopActorRef[Any], error: BaseException, *, alive: bool) -> None:
        """Receive the failure, after the actor was restarted (`alive`) or stopped."""


class LoopActor(DrivenActor):
    """A pykka actor that runs on the event loop it was started on.

    Start it with `start()` from code that runs on the loop. Override `on_receive`, and where
    needed `on_start`, `on_stop`, `on_failure` and `on_restart`. Handlers must not block.

    Args:
        supervisor: decides about restarts and receives failures; without one, a failed actor
            is stopped.
    """

    throughput: ClassVar[int] = 64
    """How many messages one iteration of the event loop may handle for this actor."""

    _actor_ref: LoopActorRef[Any]
    actor_inbox: Mailbox
    actor_stopped: StoppedFlag  # type: ignore[assignment]

    def __init__(self, *, supervisor: Supervisor | None = None) -> None:
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"{type(self).__name__} must be started on a running event loop"
            ) from None
        super().__init__()
        self.actor_stopped = StoppedFlag()
        self._actor_ref = LoopActorRef(self)
        self._supervisor = supervisor
        self._message: Any = None
        self._asker: LoopFuture[Any] | None = None
        self._deferred: LoopFuture[Any] | None = None
        self._started = False
        self.handled = 0
        self.restarts = 0
        self.gives_way = False
        """Set while a message is handled that takes long: others on the loop run after it."""

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
        """The message that is handled now, or that was when the actor failed; None otherwise."""
        return self._message

    def defer_reply(self) -> LoopFuture[Any]:
        """Accept the duty to answer the current message's asker, now or later.

        If the handler fails before it returns, the asker gets its exception all the same.

        Raises:
            RuntimeError: the current message came by tell, or was deferred before.
        """
        asker = self._asker
        if asker is None:
            raise RuntimeError("There is no caller to answer")
        self._asker = None
        self._deferred = asker
        return asker

    # -------------------------------------------------------------------------- driving

    def _drain(self) -> bool:
        """Handle what is there; True if others on the loop should run now."""
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
                asker = self._deferred  # the code that was to answer it has failed here
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

        It stays attached: a message that another thread sent while the actor was dying arrives here
        a little later.
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
