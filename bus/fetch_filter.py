"""Makes what a broker sends safe to decode, before aiokafka decodes it.

Theory of operation
-------------------
aiokafka decodes what was fetched when its records are asked for. A batch that it cannot decode raises
there, with each attempt, at the same offset; one that decompresses to gigabytes takes the process with
it. Both are a single record of a writer. So every batch is looked at as soon as it comes:

- Its checksum is compared; it is decompressed, up to a limit; and aiokafka's own decoder reads it once.
  A batch that passes is handed on as it is, or decompressed, so that it is not decompressed twice.
- In the place of each record that cannot be read stands a *placeholder* with its offset. If nothing in a
  batch can be read, one placeholder stands for all of it. `unreadable` says which they are and why.
  aiokafka delivers a placeholder like a record: in its order, once, and not at all if its transaction was
  aborted.
- What is damaged where a checksum would show it may be whole in the next answer: it is fetched again,
  and given up only when the same bytes come twice, or after `_ATTEMPTS`.
- In what makes no sense at all, where the next batch begins cannot be known. The next intact batch in the
  same answer is looked for; without one, a single offset is passed, and what stands there is fetched.
- No more is handed on than `most` bytes that were decompressed and are not handled yet. The rest is
  fetched again later: an answer that ends early is nothing special to a consumer.

The work is done in pieces, so that nothing else waits for long.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from bus import batches
from bus.batches import Header, Unreadable
from bus.inflate import MOST, NotInflatable, TooLarge, inflate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.client import AIOKafkaClient

PositionOf = Callable[[TopicPartition], int]

_PIECE = 1 << 18
"""Bytes that are looked at before others on the loop have their turn."""

_RECORDS = 500
"""Records, likewise."""

_ATTEMPTS = 3
"""Answers that differ each time, and are damaged each time."""

_WAIT = 0.1
"""Seconds until more is fetched, while too much is waiting to be handled."""

_HIGHEST = 1 << 62
"""No log reaches this offset."""

_SMALL = 1 << 20
"""Bytes of decompressed records that are not counted as waiting."""

_SEARCHED = 1 << 18
_SEARCHED_SUMS = 32
"""Bytes in which, and checksums by which, the next intact batch is looked for."""


class _Damaged(Exception):
    """A batch that may be intact when it is fetched again."""


class _Unusable(Exception):
    """A batch of which nothing can be read, however often it is fetched."""


class FetchFilter:
    """What one reader fetches.

    Args:
        position_of: the next offset of a partition that the reader handles.
        most: bytes of a decompressed batch, and of all that are waiting.
    """

    def __init__(self, position_of: PositionOf, *, most: int = MOST) -> None:
        self._position_of = position_of
        self._most = most
        self._unreadable: dict[tuple[int, int], Unreadable] = {}
        self._waiting: dict[TopicPartition, tuple[int, int]] = {}
        self._attempts: dict[TopicPartition, tuple[int, list[int]]] = {}
        self._given_up: dict[TopicPartition, int] = {}
        self._work = 0

    def attach(self, client: AIOKafkaClient) -> None:
        """Look at all that this client fetches from now on. A session begins with it."""
        self._unreadable.clear()
        self._waiting.clear()
        send = client.send

        async def send_and_filter(node_id: int, request: Any, **options: Any) -> Any:
            response = await send(node_id, request, **options)
            if isinstance(request, FetchRequest) and response.topics:
                await self._filter(request, response)
            return response

        client.send = send_and_filter

    def unreadable(self, tp: TopicPartition, offset: int) -> Unreadable | None:
        """Why the record that was fetched with this offset is a placeholder; None if it is none."""
        if not self._unreadable:
            return None
        return self._unreadable.pop((tp.partition, offset), None)

    def passed(self, positions: Mapping[TopicPartition, int]) -> None:
        """All below these positions was handled: forget placeholders that will not come."""
        if self._unreadable:
            at = {tp.partition: position for tp, position in positions.items()}
            for partition, offset in [
                where for where in self._unreadable if where[1] < at.get(where[0], 0)
            ]:
                del self._unreadable[partition, offset]

    # ------------------------------------------------------------------------- answers

    async def _filter(self, request: FetchRequest, response: Any) -> None:
        wanted = {
            TopicPartition(topic, row[0]): row[1]
            for topic, rows in request.topics or ()
            for row in rows
        }
        topics = []
        changed = False
        for topic, rows in response.topics:
            filtered = []
            for row in rows:
                raw = row[-1]
                if raw and not row[1]:
                    tp = TopicPartition(topic, row[0])
                    clean = await self.clean(tp, raw, wanted.get(tp, 0), row[2])
                    if clean is not raw:
                        row = (*row[:-1], clean)  # noqa: PLW2901 - the row as it is handed on
                        changed = True
                filtered.append(row)
            topics.append((topic, filtered))
        if changed:
            response.topics = topics

    async def clean(self, tp: TopicPartition, raw: bytes, position: int, end: int = -1) -> bytes:
        """What aiokafka may decode of these batches.

        Args:
            tp: where they are from.
            raw: as the broker sent them.
            position: the offset that was asked for.
            end: the high water mark that came with them; -1 if it is not known.
        """
        for offset in [at for number, at in self._unreadable if number == tp.partition]:
            if offset >= position:
                del self._unreadable[tp.partition, offset]  # it is fetched again
        cleaning = _Cleaning(self, tp, position, end)
        await cleaning.run(raw)
        clean = cleaning.result(raw)
        if not clean:
            await asyncio.sleep(_WAIT)  # it is fetched again, and not at once
        return clean

    def note(self, tp: TopicPartition, found: Unreadable) -> None:
        """A placeholder stands at the first of these offsets."""
        self._unreadable[tp.partition, found.first] = found

    def has_room(self, tp: TopicPartition, size: int) -> bool:
        """Whether so many bytes more may wait to be handled."""
        self._waiting = {
            each: (last, bytes_)
            for each, (last, bytes_) in self._waiting.items()
            if each != tp and last >= self._position_of(each)
        }
        waiting = sum(bytes_ for _, bytes_ in self._waiting.values())
        return waiting + size <= self._most

    def waits(self, tp: TopicPartition, last: int, size: int) -> None:
        """So many bytes were decompressed, and are handled once this offset is passed."""
        if size > _SMALL:
            self._waiting[tp] = (last, size)

    def again(self, tp: TopicPartition, position: int, raw: bytes) -> bool:
        """Whether damaged bytes at this position are worth another attempt."""
        if self._given_up.get(tp, -1) == position:
            return False  # it was passed offset by offset up to here: it is the same damage
        seen = zlib.crc32(raw)
        at, attempts = self._attempts.get(tp, (-1, []))
        if at != position:
            attempts = []
        if seen in attempts or len(attempts) + 1 >= _ATTEMPTS:
            self._attempts.pop(tp, None)
            return False
        self._attempts[tp] = (position, [*attempts, seen])
        return True

    def gave_up(self, tp: TopicPartition, following: int) -> None:
        """Damage was passed up to this offset."""
        self._given_up[tp] = following

    @property
    def most(self) -> int:
        """Bytes of a decompressed batch."""
        return self._most

    async def pause(self, work: int) -> None:
        """So many bytes more were looked at."""
        self._work += work
        if self._work >= _PIECE:
            self._work = 0
            await asyncio.sleep(0)


class _Cleaning:
    """The batches of one partition in one answer."""

    def __init__(self, owner: FetchFilter, tp: TopicPartition, position: int, end: int) -> None:
        self._owner = owner
        self._tp = tp
        self._next = position
        self._end = end
        self._parts: list[bytes] = []
        self._unchanged = True
        self._size = 0

    def result(self, raw: bytes) -> bytes:
        return raw if self._unchanged else b"".join(self._parts)

    async def run(self, raw: bytes) -> None:
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
            except _Damaged as error:
                if self._parts or self._owner.again(self._tp, self._next, batch):
                    break
                self._give_up_damaged(raw, batch, stop, str(error))
            at = stop
        else:
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
        return bool(DefaultRecordBatch(raw[at:stop]).validate_crc())

    def _last_possible(self, raw: bytes, stop: int) -> int | None:
        """The offset before the one at which the batch behind this one begins; None if unknown."""
        if batches.end_of(raw, stop) is None:
            return None
        base = batches.base_of(raw, stop)
        return base - 1 if base > self._next and (self._end < 0 or base < self._end) else None

    def _pass_malformed(self, raw: bytes, at: int) -> int:
        """Pass bytes that are no batch; returns where to go on in them."""
        if self._owner.again(self._tp, self._next, raw[at:]):
            self._unchanged = False
            return len(raw) + 1  # the end, and nothing was passed
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
                if DefaultRecordBatch(raw[start:stop]).validate_crc():
                    return start
            middle = raw.find(b"\2", middle + 1, at + _SEARCHED)
        return None

    def _give_up_damaged(self, raw: bytes, batch: bytes, stop: int, reason: str) -> None:
        last = self._last_possible(raw, stop)
        if last is None:
            header = batches.header_of(batch) if batches.magic_of(batch, 0) == 2 else None
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
        if not DefaultRecordBatch(batch).validate_crc():
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
            if not _is_marker(batches.build(header, header.base, header.last, body, header.count)):
                raise _Unusable("a transaction's marker is malformed")
            self._put(batch, header.last, changed=False)
            return True
        if header.codec:
            batch = batches.build(header, header.base, header.last, body, header.count)
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
        return number == header.count

    async def _taken_apart(self, header: Header, body: bytes) -> bytes:
        """The batch again, with placeholders in the place of what cannot be read."""
        parts: list[bytes] = []
        found: list[Unreadable] = []
        before, number, at = header.base - 1, 0, 0
        for number, record in enumerate(batches.records_in(body), 1):
            at = record.end
            offset = before + 1
            problem, named = record.problem, record.named
            if record.offset_delta is not None:
                offset = header.base + record.offset_delta
                if not before < offset <= header.last:
                    offset, problem, named = before + 1, "an offset that is out of order", False
            elif not problem:
                problem = "no offset"
            if offset > header.last:
                break
            if not problem:
                parts.append(body[record.start : record.end])
            else:
                key, value = (record.key, record.value) if named else (None, None)
                delta = offset - header.base
                parts.append(batches.placeholder(delta, record.timestamp_delta, key, value))
                found.append(Unreadable(offset, offset, problem, named))
            before = offset
            if number % _RECORDS == 0:
                await asyncio.sleep(0)
        first = max(before + 1, self._next)
        if first <= header.last and (at < len(body) or number != header.count):
            # What is behind this is not known, nor whether it is one record or many.
            parts.append(batches.placeholder(first - header.base))
            found.append(Unreadable(first, header.last, "malformed: its records cannot be told apart"))
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
        message = LegacyRecordBatch(batch, magic)
        if not message.validate_crc():
            raise _Damaged("the checksum of a message is wrong")
        try:
            size = batches.legacy_size(batch)
            await self._owner.pause(size)
            before = -1
            for number, record in enumerate(message, 1):
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


def _is_marker(batch: bytes) -> bool:
    """Whether aiokafka can decode what ends a transaction."""
    try:
        ControlRecord.parse(next(DefaultRecordBatch(batch)).key)
    except Exception:  # noqa: BLE001 - whatever it is, aiokafka would raise it
        return False
    return True
