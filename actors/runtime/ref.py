"""References to actors on the event loop: tell, ask and stop, from any thread."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from pykka import ActorDeadError, ActorRef
from pykka.messages import _ActorStop

from actors.runtime.dead_letters import DEAD_LETTERS
from actors.runtime.future import LoopFuture
from actors.runtime.shared import ActorStatistics, Asked, DrivenActor

if TYPE_CHECKING:
    import asyncio

    from actors.runtime.mailbox import Mailbox
    from actors.runtime.shared import StoppedFlag

DEFAULT_ASK_TIMEOUT = 5.0
"""Seconds an `ask` waits when its caller does not say how long."""

A = TypeVar("A", bound=DrivenActor)


class LoopActorRef(ActorRef[A]):
    """A reference to an actor on the loop; safe to share between threads."""

    actor_inbox: Mailbox
    actor_stopped: StoppedFlag  # type: ignore[assignment]  # as much as pykka asks of it

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
                default: no ask waits for ever.

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
        """The actor itself, to be observed; None if it is dead and collected."""
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
        return  # the waiting task was cancelled
    error = None if answer.cancelled() else answer.exception()
    if error is None or isinstance(error, ActorDeadError):
        stopped.set(error is None)
    else:
        stopped.set_exception((type(error), error, None))
