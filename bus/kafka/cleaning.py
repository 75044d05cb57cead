"""The batches of one partition in one answer to a fetch: what of them can be decoded.

`fetch_filter` says what is done, and why.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from bus.kafka import batches
from bus.kafka.batches import Header, Unreadable
from bus.kafka.decoded import DecodedBatch, DecodedBytes
from bus.kafka.decoding import Damaged, Unusable, check_message, decode, decoded_if_ordinary

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import TopicPartition

    from bus.kafka.decoding import Decoded

T = TypeVar("T")

_HIGHEST = 1 << 62
"""No log reaches this offset."""

PIECE = 1 << 18
"""Bytes of a batch that needs no thread, and bytes that are looked at before others on the loop
have their turn."""

_KEPT = 5000
"""Records of an answer that are handed on decoded; the others are decoded again when they are due,
so that they need no memory before that."""

_SEARCHED = 1 << 18
_SEARCHED_SUMS = 32
"""Bytes in which, and checksums by which, the next intact batch is looked for."""


class Owner(Protocol):
    """What the batches of one answer need of the consumer that fetched them: its `FetchFilter`."""

    def note(self, tp: TopicPartition, found: Unreadable) -> None:
        """A placeholder stands at the last offset of these records."""
        ...

    async def work(self, work: Callable[[int, bool], T], size: int) -> T:
        """Run what decodes a batch of this many bytes: in a thread if it may take long."""
        ...

    async def had(self, size: int) -> None:
        """Give way to the rest of the loop once enough bytes were inspected."""
        ...

    def has_room(self, tp: TopicPartition, size: int) -> bool:
        """Whether this many more bytes may wait to be handled."""
        ...

    def waits(self, tp: TopicPartition, last: int, size: int) -> None:
        """This many bytes were decompressed; they are handled once this offset is passed."""
        ...

    def again(self, tp: TopicPartition, position: int, raw: bytes) -> bool:
        """Whether to fetch damaged bytes at this position again."""
        ...

    def gave_up(self, tp: TopicPartition, following: int) -> None:
        """Damage was passed up to this offset."""
        ...


class Cleaning:
    """The batches of one partition in one answer.

    Args:
        owner: receives what is found, and is asked for room.
        tp: where they are from.
        position: the offset that was asked for.
        end: the high water mark that came with them; -1 if it is not known.
    """

    def __init__(self, owner: Owner, tp: TopicPartition, position: int, end: int) -> None:
        self._owner = owner
        self._tp = tp
        self._next = position
        self._end = end
        self._parts: list[bytes | memoryview] = []
        self._decoded: list[bytes | memoryview | DecodedBatch] = []
        self._kept = 0
        self._unchanged = True
        self._size = 0
        self._waits = False

    def result(self, raw: bytes) -> bytes:
        """What of these batches can be decoded, once they were looked at."""
        clean = raw if self._unchanged else b"".join(self._parts)
        return DecodedBytes.of(clean, self._decoded) if self._kept else clean

    async def run(self, raw: bytes) -> None:
        """Look at these batches."""
        at = 0
        while at < len(raw):
            stop = batches.end_of(raw, at)
            if stop is not None and stop - at <= PIECE and self._is_ordinary(raw, at, stop):
                await self._owner.had(stop - at)
                at = stop
                continue
            if stop is None or not self._is_plausible(raw, at):
                if self._parts:
                    break  # incomplete at the end, as brokers send it; or the next answer shows it
                if stop is not None and self._is_old(raw, at, stop):
                    self._unchanged = False
                    at = stop
                    continue
                at = self._pass_malformed(raw, at)
                continue
            batch = raw[at:stop] if at or stop < len(raw) else raw
            try:
                if not await self._batch(batch, self._last_possible(raw, stop)):
                    break
            except Exception as error:  # noqa: BLE001 - nothing in a batch may end the fetcher
                if self._parts or self._owner.again(self._tp, self._next, batch):
                    break
                known = isinstance(error, Damaged)
                reason = str(error) if known else f"defect: {error!r}"
                self._give_up_damaged(raw, batch, stop, reason)
            at = stop
        else:
            if not self._parts and not self._waits:
                self._pass_nothing(raw)
            return
        self._unchanged = False  # what is missing is fetched again

    def _is_ordinary(self, raw: bytes, at: int, stop: int) -> bool:
        """Put a batch with which nothing is to be done; False if this is none."""
        batch = raw if stop - at == len(raw) else memoryview(raw)[at:stop]
        decoded = decoded_if_ordinary(batch)
        if decoded is None or not 0 <= decoded.base_offset < _HIGHEST:
            return False
        last = decoded.next_offset - 1
        if last < self._next or (stop < len(raw) - 8 and batches.base_of(raw, stop) <= last):
            return False
        self._put(batch, last, changed=False)
        self._hand_on(decoded)
        return True

    def _hand_on(self, decoded: DecodedBatch) -> None:
        """What was put last holds this."""
        self._kept += len(decoded.records)
        if self._kept <= _KEPT:
            self._decoded[-1] = decoded

    # ------------------------------------------------------------------ places in the log

    def _is_plausible(self, raw: bytes, at: int) -> bool:
        """Whether the offsets of a batch are such as the log can have here."""
        base = batches.base_of(raw, at)
        if not 0 <= base < _HIGHEST:
            return False
        if batches.magic_of(raw, at) != batches.FORMAT:
            return base >= self._next or batches.magic_of(raw, at) not in (0, 1)
        header = batches.header_of(raw, at)
        return header.last_delta < 0 or header.last >= self._next

    def _is_old(self, raw: bytes, at: int, stop: int) -> bool:
        """Whether it is intact, and ends below our position."""
        if not 0 <= batches.base_of(raw, at) < self._next:
            return False
        if batches.magic_of(raw, at) != batches.FORMAT:
            return True
        return batches.is_intact(raw[at:stop])

    def _last_possible(self, raw: bytes, stop: int) -> int | None:
        """The offset before the one at which the batch behind this one begins; None if unknown."""
        if batches.end_of(raw, stop) is None:
            return None
        base = batches.base_of(raw, stop)
        return base - 1 if base > self._next and (self._end < 0 or base < self._end) else None

    def _pass_nothing(self, raw: bytes) -> None:
        """Nothing of what was sent is at our position or above it."""
        if not self._is_at_end and not self._owner.again(self._tp, self._next, raw):
            self._give_up(self._next, "the broker sends other records than those that are here")

    @property
    def _is_at_end(self) -> bool:
        """Whether nothing can be at our position."""
        return 0 <= self._end <= self._next

    def _pass_malformed(self, raw: bytes, at: int) -> int:
        """Pass bytes that are no batch; returns where to go on in them."""
        if self._is_at_end or self._owner.again(self._tp, self._next, raw[at:]):
            self._unchanged = False
            self._waits = True
            return len(raw)
        found = self._intact_behind(raw, at)
        last = self._next if found is None else batches.base_of(raw, found) - 1
        self._give_up(last, "what the broker sent is no record batch")
        return len(raw) if found is None else found

    def _intact_behind(self, raw: bytes, at: int) -> int | None:
        """Where the next batch stands whose checksum is right."""
        sums = 0
        middle = raw.find(b"\2", at + 17, at + _SEARCHED)
        while middle >= 0 and sums < _SEARCHED_SUMS:
            start = middle - 16
            stop = batches.end_of(raw, start)
            if (
                stop is not None
                and batches.base_of(raw, start) > self._next
                and self._is_plausible(raw, start)
            ):
                sums += 1
                if batches.is_intact(raw[start:stop]):
                    return start
            middle = raw.find(b"\2", middle + 1, at + _SEARCHED)
        return None

    def _give_up_damaged(self, raw: bytes, batch: bytes, stop: int, reason: str) -> None:
        last = self._last_possible(raw, stop)
        if last is None:
            header = (
                batches.header_of(batch) if batches.magic_of(batch, 0) == batches.FORMAT else None
            )
            # What the header says of its last offset is trusted as far as the log goes.
            if header is not None and self._next <= header.last < self._end:
                last = header.last
            else:
                last = self._next
        self._give_up(last, reason)

    def _give_up(self, last: int, reason: str) -> None:
        first = self._next
        self._put_placeholder(batches.untrusted(first), first, last, reason)
        self._owner.gave_up(self._tp, last + 1)

    def _put_placeholder(self, header: Header, first: int, last: int, reason: str) -> None:
        base = min(header.base, first)
        last = min(last, base + 2**31 - 1)
        later = header.max_timestamp - header.first_timestamp
        record = batches.placeholder(last - base, later if 0 < later < _HIGHEST else 0)
        self._put(batches.build(header, base, last, record, 1), last, changed=True)
        self._owner.note(self._tp, Unreadable(first, last, reason))

    def _put(self, part: bytes | memoryview, last: int, *, changed: bool) -> None:
        self._parts.append(part)
        self._decoded.append(part)
        self._next = last + 1
        self._unchanged = self._unchanged and not changed

    # ------------------------------------------------------------------------ one batch

    async def _batch(self, batch: bytes, last_possible: int | None) -> bool:
        """Put it, or what can be read of it. False: not now, and nothing behind it."""
        if batches.magic_of(batch, 0) != batches.FORMAT:
            await self._former_format(batch)
            return True
        header = batches.header_of(batch)
        decoded: Decoded | None
        try:
            decoded, reason = await self._owner.work(partial(decode, batch), len(batch)), ""
        except Unusable as error:
            decoded, reason = None, str(error)
        last = header.last
        if header.last_delta < 0 or (last_possible is not None and last > last_possible):
            last = self._next if last_possible is None else last_possible
            decoded, reason = None, "a batch's offsets are wrong"
        if decoded is None:
            self._put_placeholder(header, max(header.base, self._next), last, reason)
            return True
        if decoded.inflated:
            if not self._owner.has_room(self._tp, self._size + decoded.inflated):
                return False
            self._size += decoded.inflated
            self._owner.waits(self._tp, last, self._size)
        for each in decoded.unreadable:
            if each.last >= self._next:
                self._owner.note(self._tp, each)
        self._put(decoded.batch, last, changed=decoded.batch is not batch)
        if decoded.whole is not None:
            self._hand_on(decoded.whole)
        return True

    async def _former_format(self, batch: bytes) -> None:
        """A message of format 0 or 1, as logs hold that are older than Kafka 0.11."""
        last = batches.base_of(batch, 0)
        try:
            await self._owner.work(partial(check_message, batch), len(batch))
        except Unusable as error:
            self._put_placeholder(batches.untrusted(self._next), self._next, last, str(error))
        else:
            self._put(batch, last, changed=False)
