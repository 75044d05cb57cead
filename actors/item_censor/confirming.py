"""In Active: deletions confirm containers, and the catalogue proves or doubts their list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.ending import finish_if_complete
from actors.item_censor.evidence import confirmed, confirmed_again, stale_since
from actors.item_censor.persistent import type_of, with_entry, without
from actors.item_censor.states import CLOCK_TOLERANCE, ReportStaleDeletion, State
from domain.messages import DeletedContainer

if TYPE_CHECKING:
    from datetime import timedelta

    from actors.item_censor.states import CensorStep, ItemsToBeDeleted
    from domain.messages import CatalogueCaughtUp, ItemDeleted, ItemInDoubt


def deleted(
    data: ItemsToBeDeleted, event: ItemDeleted, *, tolerance: timedelta = CLOCK_TOLERANCE
) -> CensorStep:
    """Count the deletion, unless it is older than the list that names its container."""
    vanished = event.container_id in data.vanished
    if event.container_id not in data.outstanding and not vanished:
        return Step(State.ACTIVE, confirmed_again(data, event))
    if (listed_at := stale_since(data, event, tolerance)) is not None:
        stale = ReportStaleDeletion(data.takedown.takedown_id, event, listed_at)
        return Step(State.ACTIVE, data, (stale,))
    if vanished:
        # By a list it was deleted already; now it is confirmed, also if it is listed again.
        others = without(data.vanished, event.container_id)
        return Step(State.ACTIVE, replace(data, vanished=others, deleted=confirmed(data, event)))
    container_type = type_of(event.container_id, data.containers)
    entry = DeletedContainer(event.container_id, container_type, event.deleted_at)
    return finish_if_complete(
        replace(
            data,
            outstanding=without(data.outstanding, event.container_id),
            deleted=with_entry(data.deleted, entry),
        )
    )


def in_doubt(data: ItemsToBeDeleted, _event: ItemInDoubt) -> CensorStep:
    """The newest record of the item cannot be read: no success until a list can be."""
    return Step(State.ACTIVE, replace(data, doubted=True))


def caught_up(data: ItemsToBeDeleted, _event: CatalogueCaughtUp) -> CensorStep:
    """No list that is newer than the known one was missed."""
    return finish_if_complete(replace(data, proven=True))
