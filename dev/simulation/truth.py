"""What the log of `item_published` reported of each item at each moment of a run.

A record counts once Kafka has acknowledged it: when it is written, or when its transaction is
committed. When a log loses its end, what was lost and what is left contradict each other: until the
next record of the item, an answer may rest on either.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from dev.simulation.newest_list import Said, read_published

if TYPE_CHECKING:
    from dev.simulation.cluster import Cluster
    from dev.simulation.log import Record
    from dev.simulation.loop import SimulatedLoop

Views: TypeAlias = tuple[Said | None, ...]
"""What may be held to be an item's newest record; None: there never was one."""

_TOPIC = "item_published"
_NEVER: Views = (None,)


class Truth:
    """Follows the simulated topic.

    Args:
        loop: the world's time.
        cluster: whose topic it is.
    """

    def __init__(self, loop: SimulatedLoop, cluster: Cluster) -> None:
        self._loop = loop
        self._records: dict[str, list[Said]] = defaultdict(list)
        self._views: dict[str, list[tuple[float, Views]]] = defaultdict(list)
        cluster.followers.setdefault(_TOPIC, []).append(self._on_record)
        cluster.on_cut.append(self._on_cut)

    def views(self, item_id: str, since: float, until: float) -> list[Views]:
        """What counted at one moment, and after each change from then on until another."""
        found = [_NEVER]
        for at, views in self._views.get(item_id, ()):
            if at <= since:
                found = [views]
            elif at <= until:
                found.append(views)
        return found

    def compact(self, item_id: str, cluster: Cluster) -> None:
        """Remove an item's null value, and all before it, from the log.

        Nothing is removed if the item's newest record is not a null value, or if it has records in
        another partition: what is left there would count again.
        """
        records = self._records[item_id]
        newest = _newest(records)
        if newest is None or not newest.tombstone:
            return
        if any(said.partition != newest.partition for said in records):
            return
        offsets = {said.offset for said in records if said.offset <= newest.offset}
        cluster.remove(_TOPIC, newest.partition, offsets)
        records[:] = [said for said in records if said.offset not in offsets]

    def _on_record(self, record: Record) -> None:
        for said in read_published(record):
            records = self._records[said.item_id]
            known = _newest(records)
            records.append(said)
            if known is None or said.overtakes(known):
                self._views[said.item_id].append((self._loop.time(), (said,)))
            elif said.containers and said.partition == known.partition:
                self._pass(said)

    def _pass(self, said: Said) -> None:
        """A list was committed after the item's next record was written.

        A reader comes to the list first, and may act on it for a moment.
        """
        now, views = self._loop.time(), self._views[said.item_id]
        _, before = views[-1]
        views += [(now, (said, *before)), (now, before)]

    def _on_cut(self, topic: str, partition: int, offset: int) -> None:
        if topic != _TOPIC:
            return
        now = self._loop.time()
        for item_id, records in self._records.items():
            left = [one for one in records if one.partition != partition or one.offset < offset]
            if len(left) < len(records):
                records[:] = left
                views = self._views[item_id]
                before = views[-1][1] if views else _NEVER
                views.append((now, tuple(dict.fromkeys((_newest(left), *before)))))


def _newest(records: list[Said]) -> Said | None:
    newest = None
    for said in records:
        if newest is None or said.overtakes(newest):
            newest = said
    return newest
