"""Writes each transition to the log, for the level `debug`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from actors.fsm.transitions import Transition

if TYPE_CHECKING:
    from actors.fsm.transitions import FeedItem

logger = logging.getLogger("takedown.actors")


def log_transition(item: FeedItem) -> None:
    """Log one transition, with the takedown that it belongs to."""
    if not isinstance(item, Transition):
        return
    takedown = getattr(item.data, "takedown", None) or getattr(item.before, "takedown", None)
    facts = {"actor": item.actor, "state": item.target.value}
    if takedown is not None:
        facts |= {"takedownId": takedown.takedown_id, "itemId": takedown.item_id}
    logger.debug(
        "%s: %s -> %s on %s",
        item.machine,
        item.source.value,
        item.target.value,
        type(item.event).__name__,
        extra=facts,
    )
