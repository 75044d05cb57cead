"""The view of `item_published` in memory.

What it knows it tells at once. What it does not know, it does not take for an answer: the item
may have been published a moment ago. So on a miss it waits until the topic is read to its end as
it was then, and only then says that the item is unknown: a 404 is evidence, or it is not given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bus.codec import decode_item_published, item_id_from_key
from errors import KafkaUnavailable
from messages import CatalogueUnavailable, ContainersFound, ItemUnknown

if TYPE_CHECKING:
    from bus.reader import Record
    from messages import Container, ItemId, Takedown

logger = logging.getLogger("takedown.catalogue")

Tell = Callable[[Any], object]

_MARGIN = 0.1
"""Seconds before the deadline at which a search is given up, so that its answer is in time."""


class Log(Protocol):
    """The topic behind the view."""

    async def catch_up(self) -> None:
        """Wait until all is read that was there when this was called; `KafkaUnavailable`."""


@dataclass(frozen=True, slots=True)
class CatalogueStatistics:
    """What the view holds and was asked.

    Attributes:
        items: items that are in at least one container.
        containers: their containers.
        hits: searches that were answered at once.
        misses: searches that had to wait for evidence.
        waiting: searches that wait now.
    """

    items: int
    containers: int
    hits: int
    misses: int
    waiting: int


class InMemoryCatalogue:
    """Holds every item's current containers.

    Feed it the records of `item_published` in their order through `apply`, and give it the log
    that they come from with `attach`.
    """

    def __init__(self) -> None:
        self._items: dict[ItemId, tuple[Container, ...]] = {}
        self._containers = 0
        self._log: Log | None = None
        self._searches: set[asyncio.Task[None]] = set()
        self._hits = 0
        self._misses = 0

    def attach(self, log: Log) -> None:
        """Name the log that `apply` is fed from."""
        self._log = log

    def statistics(self) -> CatalogueStatistics:
        """What it holds and was asked."""
        return CatalogueStatistics(
            items=len(self._items),
            containers=self._containers,
            hits=self._hits,
            misses=self._misses,
            waiting=len(self._searches),
        )

    # ------------------------------------------------------------------------ the view

    def apply(self, record: Record) -> None:
        """Take over one record: the item's new list, or a null value, which ends it.

        Raises:
            UnreadableRecord: it is not what the contract says; the view is as before.
        """
        if record.value is None:
            self._set(item_id_from_key(record.key), ())
        else:
            message = decode_item_published(record.value)
            self._set(message.item_id, message.containers)

    def _set(self, item_id: ItemId, containers: tuple[Container, ...]) -> None:
        self._containers += len(containers) - len(self._items.pop(item_id, ()))
        if containers:
            self._items[item_id] = containers

    def rewind(self) -> None:
        """Forget everything: the log is read again from its beginning."""
        self._items.clear()
        self._containers = 0

    # ------------------------------------------------------------------------ searches

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell what is known of the takedown's item, now or once it is certain."""
        containers = self._items.get(takedown.item_id)
        if containers is not None:
            self._hits += 1
            tell(ContainersFound(takedown.takedown_id, containers))
            return
        self._misses += 1
        search = asyncio.get_running_loop().create_task(self._search(takedown, tell))
        self._searches.add(search)
        search.add_done_callback(self._searches.discard)

    async def _search(self, takedown: Takedown, tell: Tell) -> None:
        takedown_id = takedown.takedown_id
        try:
            if self._log is None:
                raise KafkaUnavailable("the catalogue has no log")
            async with asyncio.timeout_at(takedown.deadline - _MARGIN):
                await self._log.catch_up()
        except TimeoutError:
            reason = "the catalogue is behind its topic and did not catch up in time"
            tell(CatalogueUnavailable(takedown_id, reason))
        except KafkaUnavailable as error:
            tell(CatalogueUnavailable(takedown_id, f"the catalogue may be behind: {error}"))
        except Exception as error:
            logger.exception("Defect while searching")
            tell(CatalogueUnavailable(takedown_id, f"defect in the catalogue: {error!r}"))
        else:
            containers = self._items.get(takedown.item_id)
            if containers is None:
                tell(ItemUnknown(takedown_id))
            else:
                tell(ContainersFound(takedown_id, containers))

    async def stop(self) -> None:
        """Give up the searches that wait."""
        searches = tuple(self._searches)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
