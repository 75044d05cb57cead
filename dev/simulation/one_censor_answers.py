"""What must hold of each answer of the modelled ItemCensor: I1 to I4 and I6 of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.simulation.search import Wrong
from domain.messages import Deleted, NotFound, Outcome, Refused, TimedOut, Unavailable

if TYPE_CHECKING:
    from dev.simulation.one_censor_world import World


def check_answer(world: World, outcome: Outcome) -> None:
    """Check one answer against everything that happened in this world.

    Raises:
        Wrong: it breaks an invariant of the contract.
    """
    if world.answered:
        raise Wrong(f"I1: a second answer, {outcome}")
    match outcome:
        case Deleted(containers):
            named = {c.container_id for c in containers}
            unconfirmed = (world.ever - world.heard) & world.newest
            if unconfirmed or not named or named != world.ever:
                raise Wrong(f"I2: {sorted(unconfirmed)} of {sorted(world.ever)}")
            if not world.proven or world.doubted:
                raise Wrong("I2: 200 without evidence that the list is the newest")
            by = {c.container_id for c in containers if c.confirmed_by == "deletion"}
            if by != world.heard & world.ever:
                raise Wrong(f"I4: confirmed by deletions: {sorted(by)}, not {sorted(world.heard)}")
        case NotFound():
            if world.ever or world.reached:
                raise Wrong("I6: 404 for an item that was found")
            if not world.proven or world.doubted:
                raise Wrong("I6: 404 without evidence")
        case Unavailable():
            if world.reached:
                raise Wrong("I3: 503, and a request was sent")
        case TimedOut(deleted, outstanding) | Refused(deleted=deleted, outstanding=outstanding):
            named = {c.container_id for c in deleted}
            left = {c.container_id for c in outstanding}
            truly = (world.ever - world.newest) | (world.heard & world.ever)
            if named != truly or left != world.ever - truly:
                raise Wrong(f"I4: {sorted(named)} and {sorted(left)}, truly {sorted(truly)}")
            _check_words(world, outcome)


def _check_words(world: World, outcome: TimedOut | Refused) -> None:
    """I4: what a 504 says of the evidence, and a 502 of each request."""
    if isinstance(outcome, TimedOut):
        if (outcome.proven, outcome.doubted) != (world.proven, world.doubted):
            raise Wrong(f"I4: the evidence is said to be {outcome}")
        return
    three = (*outcome.published, *outcome.unpublished, *outcome.unacknowledged)
    if sorted(c.container_id for c in three) != sorted(world.ever):
        raise Wrong(f"I4: {outcome} does not name each container once")
