"""Reports what the catalogue reads to the takedowns in flight, through the event bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.messages import ItemInDoubt, ItemListed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from bus.event_bus import EventBus
    from catalogue.view import CatalogueView
    from domain.messages import Container, ItemId


class ListChanges:
    """What the catalogue's view calls when something changes.

    Args:
        bus: delivers to the censors that follow the item.
        view: the catalogue's view, which is built after this.
    """

    def __init__(self, bus: EventBus, view: Callable[[], CatalogueView]) -> None:
        self._bus = bus
        self._view = view

    def on_change(
        self, item_id: ItemId, containers: tuple[Container, ...], listed_at: datetime
    ) -> None:
        """A newer list of this item was read."""
        self._bus.publish(ItemListed(item_id, containers, listed_at))

    def on_doubt(self, item_id: ItemId, doubted_at: datetime) -> None:
        """The newest record of this item cannot be read."""
        self._bus.publish(ItemInDoubt(item_id, doubted_at))

    def on_gap(self) -> None:
        """Records were skipped that may concern any item."""
        for item_id in self._bus.followed():
            if (doubt := self._view().doubt(item_id)) is not None:
                self.on_doubt(item_id, doubt.doubted_at)

    def on_rebuilt(self) -> None:
        """The whole topic was read again.

        An item that is missing now is not gone: no record says so. So nothing is published for it.
        """
        view = self._view()
        for item_id in self._bus.followed():
            if (found := view.known(item_id)) is not None:
                self.on_change(item_id, found.containers, found.listed_at)
            elif (doubt := view.doubt(item_id)) is not None:
                self.on_doubt(item_id, doubt.doubted_at)
