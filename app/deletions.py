"""From a record of `item_deleted` to the event bus: the fifth stop of a takedown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.kafka.codec import decode_item_deleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.kafka.record_handler import Record
    from domain.messages import ItemDeleted


def deliver_deletions(
    publish: Callable[[ItemDeleted], object], unmatched: Callable[[ItemDeleted], object]
) -> Callable[[Record], None]:
    """The handler of each record of `item_deleted`: it puts the deletion on the event bus.

    Args:
        publish: delivers a deletion; returns whether an actor waited for it.
        unmatched: receives those for which no actor waited.
    """

    def handle(record: Record) -> None:
        event = decode_item_deleted(record.value)
        if not publish(event):
            unmatched(event)

    return handle
