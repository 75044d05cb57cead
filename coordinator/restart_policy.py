"""One for one, restart, at most so many restarts within so many seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.runtime.ref import LoopActorRef

ChildFailed = Callable[["LoopActorRef[Any]", BaseException, bool], None]


class OneForOne:
    """Restarts the actor that failed and no other, while its budget lasts.

    Args:
        now: the loop's clock.
        on_failure: told of each failure: who, why, and whether it lives on.
        restarts: how many restarts one actor may have ...
        within: ... in this many seconds; one more and it is stopped.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        on_failure: ChildFailed,
        restarts: int = 3,
        within: float = 15.0,
    ) -> None:
        self._now = now
        self._on_failure = on_failure
        self._restarts = restarts
        self._within = within
        self._history: dict[str, deque[float]] = {}

    def may_restart(self, urn: str) -> bool:
        """Whether this actor's budget allows one more restart; takes it out of the budget."""
        now = self._now()
        history = self._history.setdefault(urn, deque())
        while history and history[0] <= now - self._within:
            history.popleft()
        if len(history) >= self._restarts:
            return False
        history.append(now)
        return True

    def child_failed(self, ref: LoopActorRef[Any], error: BaseException, *, alive: bool) -> None:
        """Pass the failure on; forget the history of an actor that is gone."""
        if not alive:
            self._history.pop(ref.actor_urn, None)
        self._on_failure(ref, error, alive)
