"""What other programs write, as they may write it: right, and not as we would.

The Items service of this world writes its records as the contract's examples have them. Others
need not: an item's id may be in capital letters, the key may be missing or say nothing, there may
be fields that nobody knows, a list may name a container twice, a deletion may be in any partition,
and the clock behind a record's times may be anywhere. All of that means the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from bus.kafka.codec import decode_item_deleted, decode_item_published
from dev.simulation.cluster import Cluster
from dev.simulation.faults import Fault
from domain.errors import UnreadableRecord

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from dev.simulation.log import Record

_DELETED = "item_deleted"
_PUBLISHED = "item_published"
_TIMES = {_DELETED: "deletedAt", _PUBLISHED: "publishedAt"}
_DECODE: dict[str, Callable[[bytes], object]] = {
    _DELETED: decode_item_deleted,
    _PUBLISHED: decode_item_published,
}

_ABSURD = ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z")
_OFF_BY = (-0.001, 0.0005, -1.0, 1.0, -3600.0, 3600.0)
"""Seconds by which a clock may be wrong."""

_STAMPS = (-1, 0, 253_402_300_799_999)
"""What a record without a value may bear: no time at all, and the two ends of time."""

_SPREAD = frozenset((Fault.PARTITIONS_ADDED, Fault.LISTED_ELSEWHERE))
"""What brings an item's lists into more than one partition."""

_KINDS = frozenset((Fault.OTHER_SPELLING, Fault.LISTED_TWICE, Fault.CLOCK_WRONG))


class VariantCluster(Cluster):
    """The broker's topics, where other programs' records come in as the faults have them."""

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        *rest: Any,
        **more: Any,
    ) -> Record:
        """Write one record, maybe in other words."""
        if topic not in _TIMES or _KINDS.isdisjoint(self._faults.kinds):
            return super().append(topic, partition, key, value, *rest, **more)
        partition, key, value = self._spell(topic, partition, key, value)
        if topic == _PUBLISHED and value is None and (rng := self._clock(topic, _name(key))):
            more["stamp"] = rng.choice(_STAMPS)
        return super().append(topic, partition, key, value, *rest, **more)

    def _clock(self, topic: str, name: str) -> random.Random | None:
        """Dice if the clock of this record's writer is wrong."""
        # Between partitions, nothing but times says which of two lists is newer.
        if topic == _PUBLISHED and not _SPREAD.isdisjoint(self._faults.kinds):
            return None
        return self._faults.strikes(Fault.CLOCK_WRONG, topic, name)

    def _spell(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None
    ) -> tuple[int, bytes | None, bytes | None]:
        strikes = self._faults.strikes
        if value is None:
            if key and strikes(Fault.OTHER_SPELLING, topic, _name(key)) is not None:
                key = key.upper()  # of a tombstone, it is all that there is
            return partition, key, value
        said = _said(topic, value)
        if said is None:
            return partition, key, value
        what = topic, said["itemId"][-4:]
        if (rng := self._clock(*what)) is not None:
            said[_TIMES[topic]] = _wrong(said[_TIMES[topic]], rng)
        if topic == _PUBLISHED and (rng := strikes(Fault.LISTED_TWICE, *what)) is not None:
            # The second time of another kind: the first one counts.
            again = [one for one in said["containers"] if rng.random() < 0.7]
            said["containers"] += [one | {"containerType": "again"} for one in again]
        value = msgspec.json.encode(said)
        if (rng := strikes(Fault.OTHER_SPELLING, *what)) is not None:
            value = _in_other_words(said, topic, rng)
            key = rng.choice((key, None, b"", b"\xff", b"another"))
            if topic == _DELETED:
                led = [number for number, log in enumerate(self.topics[topic]) if log.led]
                partition = rng.choice(led or [partition])
        return partition, key, value


def _said(topic: str, value: bytes) -> dict[str, Any] | None:
    """What a record says; None if it is poison."""
    try:
        _DECODE[topic](value)
    except UnreadableRecord:
        return None
    said: dict[str, Any] = msgspec.json.decode(value)
    return said


def _wrong(time: str, rng: random.Random) -> str:
    """A time by another clock."""
    if rng.random() < 0.2:
        return rng.choice(_ABSURD)
    at = datetime.fromisoformat(time) + timedelta(seconds=rng.choice(_OFF_BY))
    return at.isoformat()


def _in_other_words(said: dict[str, Any], topic: str, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        said["itemId"] = said["itemId"].upper()
    if rng.random() < 0.5:
        said = {"itemid": "not this one", "schema": {"version": 2}, **said, "extra": [None, 1.5]}
    if rng.random() < 0.5:
        name = _TIMES[topic]
        said[name] = _elsewhere(said[name], rng.choice((-11.5, 1.0, 5.75, 14.0)))
    value = msgspec.json.encode(said)
    return msgspec.json.format(value, indent=2) if rng.random() < 0.5 else value


def _elsewhere(time: str, hours: float) -> str:
    """The same time by the clocks of another zone, if there is one."""
    try:
        at = datetime.fromisoformat(time).astimezone(timezone(timedelta(hours=hours)))
    except OverflowError:
        return time
    return at.isoformat()


def _name(key: bytes | None) -> str:
    return (key or b"")[-4:].decode("ascii", "replace")
