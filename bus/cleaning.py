"""The batches of one partition in one answer to a fetch: what of them can be decoded.

`fetch_filter` says what is done, and why.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.record.control_record import ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from bus import batches
from bus.batches import Header, Record, Unreadable
from bus.inflate import NotInflatable, TooLarge, inflate

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from bus.fetch_filter import FetchFilter


_RECORDS = 500
"""Records that are looked at before others on the loop have their turn."""

_HIGHEST = 1 << 62
"""No log reaches this offset."""

_SEARCHED = 1 << 18
_SEARCHED_SUMS = 32
"""Bytes in which, and checksums by which, the next intact batch is looked for."""


class _Damaged(Exception):
    """A batch that may be intact when it is fetched again."""


class _Unusable(Exception):
    """A batch of which nothing can be read, however often it is fetched."""


class Cleaning:
    """The batches of one partition in one answer.

    Args:
        owner: receives what is found, and is asked for room.
        tp: where they are from.
        position: the offset that was asked for.
        end: the high water mark that came with them; -1 if it is not known.
    """

    def __init__(self, owner: FetchFilter, tp: TopicPartition, position: int, end: int) -> None:
        self._owner = owner
        self._tp = tp
        self._next = position
        self._end = end
        self._parts: list[bytes] = []
        self._unchanged = True
        self._size = 0
        self._waits = False

    def result(self, raw: bytes) -> bytes:
        """What of these batches can be decoded, once they were looked at."""
        return raw if self._unchanged else b"".join(self._parts)

    async def run(self, raw: bytes) -> None:
        """Look at these batches."""
        at = 0
        while at < len(raw):
            stop = batches.end_of(raw, at)
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
                known = isinstance(error, _Damaged)
                reason = str(error) if known else f"defect: {error!r}"
                self._give_up_damaged(raw, batch, stop, reason)
            at = stop
        else:
            if not self._parts and not self._waits:
                self._pass_nothing(raw)
            return
        self._unchanged = False  # what is missing is fetched again

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
            # What the header says of its last offset is believed as far as the log goes.
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
        record = batches.placeholder(first - base, later if 0 < later < _HIGHEST else 0)
        self._put(batches.build(header, base, last, record, 1), last, changed=True)
        self._owner.note(self._tp, Unreadable(first, last, reason))

    def _put(self, part: bytes, last: int, *, changed: bool) -> None:
        self._parts.append(part)
        self._next = last + 1
        self._unchanged = self._unchanged and not changed

    # ------------------------------------------------------------------------ one batch

    async def _batch(self, batch: bytes, last_possible: int | None) -> bool:
        """Put it, or what can be read of it. False: not now, and nothing behind it."""
        await self._owner.pause(len(batch))
        magic = batches.magic_of(batch, 0)
        if magic != batches.FORMAT:
            await self._former_format(batch, magic)
            return True
        header = batches.header_of(batch)
        if not batches.is_intact(batch):
            raise _Damaged("the checksum of a batch is wrong")
        last = header.last
        if header.last_delta < 0 or (last_possible is not None and last > last_possible):
            last = self._next if last_possible is None else last_possible
            self._put_placeholder(header, self._first(header), last, "a batch's offsets are wrong")
            return True
        try:
            return await self._intact(header, batch)
        except _Unusable as error:
            self._put_placeholder(header, self._first(header), last, str(error))
            return True

    def _first(self, header: Header) -> int:
        return max(header.base, self._next)

    async def _intact(self, header: Header, batch: bytes) -> bool:
        """A batch whose checksum and offsets are right."""
        sent = batch
        body = batch[batches.HEADER.size :]
        if header.codec:
            try:
                body = inflate(header.codec, body, self._owner.most)
            except TooLarge as error:
                raise _Unusable(f"a batch of {error}") from None
            except NotInflatable as error:
                raise _Unusable(f"a batch cannot be decompressed: {error}") from None
            if not self._owner.has_room(self._tp, self._size + len(body)):
                return False
            self._size += len(body)
            self._owner.waits(self._tp, header.last, self._size)
            await self._owner.pause(len(body))
        if header.is_control:
            if not _is_marker(
                batches.build(header, header.base, header.last, body, header.records)
            ):
                raise _Unusable("a transaction's marker is malformed")
            self._put(batch, header.last, changed=False)
            return True
        if header.codec:
            batch = batches.build(header, header.base, header.last, body, header.records)
        if not await self._decodes(batch, header):
            batch = await self._taken_apart(header, body)
        self._put(batch, header.last, changed=batch is not sent)
        return True

    async def _decodes(self, batch: bytes, header: Header) -> bool:
        """Whether aiokafka can decode all of it, and its offsets are in order."""
        before, number = header.base - 1, 0
        try:
            for number, record in enumerate(DefaultRecordBatch(batch), 1):
                if not before < record.offset <= header.last:
                    return False
                if record.value is not None and len(record.value) > batches.LONGEST_VALUE:
                    return False
                before = record.offset
                if number % _RECORDS == 0:
                    await asyncio.sleep(0)
        except Exception:  # noqa: BLE001 - whatever it is, aiokafka would raise it
            return False
        return number == header.records

    async def _taken_apart(self, header: Header, body: bytes) -> bytes:
        """The batch again, with placeholders in the place of what cannot be read."""
        parts: list[bytes] = []
        found: list[Unreadable] = []
        before, number, at = header.base - 1, 0, 0
        for number, record in enumerate(batches.records_in(body), 1):
            at = record.end
            placed = _placed(record, header, before)
            offset = before = (
                before + 1 if placed.offset_delta is None else header.base + placed.offset_delta
            )
            if offset > header.last:
                break
            if placed.problem:
                parts.append(_placeholder_of(placed, offset - header.base))
                found.append(Unreadable(offset, offset, placed.problem, placed.named))
            else:
                parts.append(body[record.start : record.end])
            if number % _RECORDS == 0:
                await asyncio.sleep(0)
        first = max(before + 1, self._next)
        if first <= header.last and (at < len(body) or number != header.records):
            # What is behind this is not known, nor whether it is one record or many.
            parts.append(batches.placeholder(first - header.base))
            found.append(
                Unreadable(first, header.last, "malformed: its records cannot be told apart")
            )
        batch = batches.build(header, header.base, header.last, b"".join(parts), len(parts))
        rebuilt = batches.header_of(batch)
        if not await self._decodes(batch, rebuilt):
            raise _Unusable("its records cannot be decoded")
        for each in found:
            if each.first >= self._next:
                self._owner.note(self._tp, each)
        return batch

    async def _former_format(self, batch: bytes, magic: int) -> None:
        """A message of format 0 or 1, as logs hold that are older than Kafka 0.11."""
        if magic not in (0, 1):
            raise _Damaged(f"a batch of the unknown format {magic}")
        last = batches.base_of(batch, 0)
        if not batches.is_intact(batch):
            raise _Damaged("the checksum of a message is wrong")
        try:
            size = batches.legacy_size(batch)
            await self._owner.pause(size)
            before = -1
            for number, record in enumerate(LegacyRecordBatch(batch, magic), 1):
                if not before < record.offset <= last:
                    raise NotInflatable("its offsets are out of order")
                before = record.offset
                if number % _RECORDS == 0:
                    await asyncio.sleep(0)
        except TooLarge as error:
            problem = f"a message of {error}"
        except Exception as error:  # noqa: BLE001 - whatever it is, aiokafka would raise it
            problem = f"a message cannot be decoded: {error}"
        else:
            self._put(batch, last, changed=False)
            return
        self._put_placeholder(batches.untrusted(self._next), self._next, last, problem)


def _placed(record: Record, header: Header, before: int) -> Record:
    """The record, without an offset that cannot be its own: it comes behind `before`."""
    if record.offset_delta is None:
        return record._replace(problem=record.problem or "no offset")
    if before < header.base + record.offset_delta <= header.last:
        return record
    return record._replace(offset_delta=None, problem="an offset that is out of order", named=False)


def _placeholder_of(record: Record, offset_delta: int) -> bytes:
    if not record.named:
        return batches.placeholder(offset_delta, record.timestamp_delta)
    return batches.placeholder(offset_delta, record.timestamp_delta, record.key, record.value)


def _is_marker(batch: bytes) -> bool:
    """Whether aiokafka can decode what ends a transaction."""
    try:
        ControlRecord.parse(next(DefaultRecordBatch(batch)).key)
    except Exception:  # noqa: BLE001 - whatever it is, aiokafka would raise it
        return False
    return True
