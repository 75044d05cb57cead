"""How a takedown ends: the same effects in the same order, and the outcome for the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from actors.fsm.machine import CancelTimer, Step
from actors.item_censor.evidence import is_complete
from actors.item_censor.states import (
    DEADLINE,
    Answer,
    Release,
    State,
    StopPublishing,
    Uninitialized,
    UnsubscribeAll,
)
from domain.messages import Deleted, NotFound, TimedOut, Unavailable

if TYPE_CHECKING:
    from actors.fsm.machine import Effect
    from actors.item_censor.states import CensorStep, Data, ItemsToBeDeleted, ItemToBeLocated
    from domain.messages import DeadlinePassed, Outcome, Takedown, UnavailableReason

_Reason: TypeAlias = tuple[str, "UnavailableReason"]
_UNPROVEN: _Reason = (
    "It could not be shown in time that the list of the item's containers is the newest",
    "not-ready",
)
_UNREADABLE: _Reason = ("The newest record of the item cannot be read", "item-in-doubt")

FINISH = (CancelTimer, StopPublishing, UnsubscribeAll, Answer, Release)
"""The effects of `finish`."""


def finish(takedown: Takedown, outcome: Outcome) -> CensorStep:
    """End the takedown with this outcome."""
    return Step(
        State.IDLE,
        Uninitialized(),
        (
            CancelTimer(DEADLINE),
            StopPublishing(),
            UnsubscribeAll(),
            Answer(outcome),
            Release(takedown, outcome),
        ),
    )


def finish_if_complete(data: ItemsToBeDeleted, *effects: Effect) -> CensorStep:
    """Finish with what is known, or stay and do `effects`."""
    if not is_complete(data):
        return Step(State.ACTIVE, data, effects)
    outcome = Deleted(tuple(data.deleted)) if data.containers else NotFound()
    return finish(data.takedown, outcome)


def too_many(containers_max: int) -> Unavailable:
    """The outcome of a takedown of an item that is in too many containers."""
    # Waiting changes nothing: so there is no time after which to try again.
    reason = f"The item is in more than {containers_max} containers (TAKEDOWN_CONTAINERS_MAX)"
    return Unavailable("too-many-containers", reason, None)


def not_located_in_time(data: ItemToBeLocated, _event: DeadlinePassed) -> CensorStep:
    """The deadline has passed in Locating."""
    reason = "The catalogue did not answer before the deadline; nothing was published"
    return finish(data.takedown, Unavailable("not-ready", reason))


def timed_out(data: ItemsToBeDeleted, _event: DeadlinePassed) -> CensorStep:
    """The deadline has passed in Active."""
    if not data.containers:  # nothing was published
        reason, code = _UNREADABLE if data.doubted else _UNPROVEN
        return finish(data.takedown, Unavailable(code, reason))
    return finish(
        data.takedown,
        TimedOut(
            data.already_deleted(),
            data.still_outstanding(),
            data.proven,
            data.doubted,
            data.too_long_at is not None,
        ),
    )


def leave_no_trace(_state: State, _data: Data) -> tuple[Effect, ...]:
    """What puts the world in order when the actor stops, fails or is restarted."""
    # The answer is not given here: the coordinator gives it, since it also knows of a takedown
    # that never came out of the mailbox.
    return (StopPublishing(), UnsubscribeAll())
