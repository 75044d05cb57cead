"""Answers where an item is: at once if that is known, otherwise on evidence.

If the topic is read to its end, a known list is reported at once; when the topic is read to the end
that it had then, it is reported that no newer list was missed (see `proofs`). If nothing is known,
that is no answer: the item may have been published a moment ago. So a miss waits until the topic is
read to its end as it was then, and only after that the item is unknown: a 404 is evidence, or it is
not given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from catalogue.proofs import Proofs
from catalogue.store.entries import Doubt, Listed
from catalogue.store.store import StoreDamaged, StoreUnavailable
from domain.errors import KafkaUnavailable
from domain.messages import CatalogueUnavailable, ContainersFound, ItemUnknown

if TYPE_CHECKING:
    from catalogue.lookup import Lookup
    from catalogue.store.store import Store
    from catalogue.store.write_behind import WriteBehind
    from catalogue.topic_content import TopicContent
    from catalogue.validity import Validity
    from domain.messages import ItemId, Takedown, UnavailableReason

logger = logging.getLogger("takedown.catalogue")

Tell = Callable[[Any], object]

_RETRY = 0.05
"""Seconds until a search is repeated while Kafka is away."""

_MARGIN = 0.1
"""Seconds before the deadline at which a search is given up, so that its answer is in time."""


class _NoEvidence(Exception):
    """It is not known where the item is, or must not be reported now."""

    def __init__(self, reason: str, code: UnavailableReason = "not-ready", plain: str = "") -> None:
        super().__init__(reason)
        self.code: UnavailableReason = code
        self.plain = plain


class Searches:
    """The searches for items, those that wait for evidence included.

    Args:
        lookup: what is held of an item.
        validity: whether what is held counts, and the log that evidence comes from.
        content: the topic, and whether it holds lists at all.
        store: where the check of all that is stored is waited for.
        entries: whether what is stored counts at all (`fresh`).
        waits_for_evidence: report no hit before it is shown that no newer list was missed.
        wait_for_kafka: seconds after a takedown was accepted within which its search is repeated if
            the log cannot be read.
        why_no_room: why no takedown of so many containers may begin now; None if one may.

    Attributes:
        hits: searches that were answered at once.
        misses: searches that had to wait for evidence.
    """

    def __init__(
        self,
        *,
        lookup: Lookup,
        validity: Validity,
        content: TopicContent,
        store: Store,
        entries: WriteBehind,
        waits_for_evidence: bool,
        wait_for_kafka: float,
        why_no_room: Callable[[int], str | None],
    ) -> None:
        self._lookup = lookup
        self._validity = validity
        self._content = content
        self._store = store
        self._entries = entries
        self._waits_for_evidence = waits_for_evidence
        self._wait_for_kafka = wait_for_kafka
        self._why_no_room = why_no_room
        self._proofs = Proofs(prepare=validity.end_rebuild, valid=self._is_proof, margin=_MARGIN)
        self._tasks: set[asyncio.Task[None]] = set()
        self.hits = 0
        self.misses = 0

    @property
    def waiting(self) -> int:
        """Searches that wait for evidence now."""
        return len(self._tasks)

    @property
    def proving(self) -> int:
        """Hits for which it is not shown yet that no newer list was missed."""
        return len(self._proofs)

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell what is known of the takedown's item, now or once it is certain."""
        log = self._validity.log
        if log is not None and log.caught_up and not self._waits_for_evidence:
            try:
                found = self._lookup.held(takedown.item_id, self._admit)
            except _NoEvidence as error:
                tell(CatalogueUnavailable(takedown.takedown_id, str(error), error.code))
                return
            if isinstance(found, Listed):
                self.hits += 1
                tell(
                    ContainersFound(
                        takedown.takedown_id, found.containers, found.listed_at, proven=False
                    )
                )
                self._proofs.follow(log.prove_to, takedown, tell)
                return
        self.misses += 1
        search = asyncio.get_running_loop().create_task(self._search(takedown, tell))
        self._tasks.add(search)
        search.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Give up the searches that wait, and report nothing more."""
        self._proofs.stop()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admit(self, containers: int) -> None:
        if (reason := self._why_no_room(containers)) is not None:
            raise _NoEvidence(reason, "overloaded")

    def _is_proof(self) -> bool:
        """Whether it counts that the log is read to its end: not while all is read again.

        And not before the store is checked: an older list that came back in a damaged file would
        be a hit.
        """
        validity = self._validity
        return not validity.invalid and validity.checked and not validity.rebuilding

    async def _search(self, takedown: Takedown, tell: Tell) -> None:
        takedown_id = takedown.takedown_id
        try:
            async with asyncio.timeout_at(takedown.deadline - _MARGIN):
                found = await self._find_patiently(takedown)
        except TimeoutError:
            reason = "the catalogue is behind its topic and did not catch up in time"
            tell(CatalogueUnavailable(takedown_id, reason))
        except KafkaUnavailable as error:
            behind = "the catalogue may be behind"
            reason, plain = f"{behind}: {error}", f"{behind}: {error.plain}"
            tell(CatalogueUnavailable(takedown_id, reason, plain=plain))
        except (StoreDamaged, StoreUnavailable) as error:
            plain = "the catalogue cannot be searched"
            tell(CatalogueUnavailable(takedown_id, f"{plain}: {error}", plain=plain))
        except _NoEvidence as error:
            tell(CatalogueUnavailable(takedown_id, str(error), error.code, error.plain))
        except Exception as error:
            logger.exception("Defect while searching")
            plain = "defect in the catalogue"
            tell(CatalogueUnavailable(takedown_id, f"{plain}: {error!r}", plain=plain))
        else:
            if found is None:
                tell(ItemUnknown(takedown_id))
            else:
                tell(ContainersFound(takedown_id, found.containers, found.listed_at))

    async def _find_patiently(self, takedown: Takedown) -> Listed | None:
        """The same as `_find`, also if Kafka is away for a moment."""
        until = takedown.accepted_at + self._wait_for_kafka
        while True:
            try:
                return await self._find(takedown.item_id)
            except KafkaUnavailable:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(_RETRY)

    async def _find(self, item_id: ItemId) -> Listed | None:
        """The item's list; None on evidence that there is none."""
        validity = self._validity
        if (log := validity.log) is None:
            raise KafkaUnavailable("the catalogue has no log")
        if validity.invalid:
            raise StoreDamaged(validity.invalid)
        rebuilds = validity.rebuilds
        await log.catch_up()
        found = self._certain(item_id, rebuilds)
        if not validity.checked and not self._entries.fresh:
            # Only all of the store shows that something is not there, or is the newest.
            await self._store.proven()
            found = self._certain(item_id, rebuilds)
            validity.checked = True
        if isinstance(found, Doubt):
            raise self._in_doubt(found)
        if found is None and (reason := self._content.why_empty(log)) is not None:
            raise _NoEvidence(reason, plain="no list of any item is known")
        return found

    def _certain(self, item_id: ItemId, rebuilds: int) -> Listed | Doubt | None:
        """What is held now, if the log was not read again since it was caught up."""
        if rebuilds != self._validity.rebuilds:
            raise StoreDamaged("it was read again meanwhile")
        return self._lookup.find(item_id, self._admit)

    def _in_doubt(self, doubt: Doubt) -> _NoEvidence:
        where = f"{self._content.topic}[{doubt.partition}] at offset {doubt.offset}"
        which = "a record of the item"
        if self._lookup.is_gap(doubt):
            which = "a record that may be the item's"
        return _NoEvidence(f"{which} in {where} cannot be read: {doubt.reason}", "item-in-doubt")
