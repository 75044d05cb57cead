"""Makes what a broker sends safe to decode, before aiokafka decodes it.

Theory of operation
-------------------
aiokafka decodes what was fetched when its records are asked for. A batch that it cannot decode
raises there, with each attempt, at the same offset; one that decompresses to gigabytes takes the
process with it. Both are a single record of a writer. So every batch is looked at as soon as it
comes:

- Its checksum is compared; it is decompressed, up to a limit; and aiokafka's own decoder reads it
  once. A batch that passes is handed on as it is, or decompressed, and with what was decoded, so
  that neither is done twice (`decoded`).
- In the place of each record that cannot be read stands a *placeholder* with its offset. If nothing
  in a batch can be read, one placeholder stands for all of it. `unreadable` says which they are and
  why.
  aiokafka delivers a placeholder like a record: in its order, once, and not at all if its
  transaction was aborted.
- What is damaged where a checksum would show it may be whole in the next answer: it is fetched
  again, and given up only when the same bytes come twice, or after `_ATTEMPTS`.
- In what makes no sense at all, where the next batch begins cannot be known. The next intact batch
  in the same answer is looked for; without one, a single offset is passed, and what stands there is
  fetched.
- No more is handed on than `most` bytes that were decompressed and are not handled yet. The rest is
  fetched again later: an answer that ends early is nothing special to a consumer.

The work is done in pieces, and in a thread where it may take long, so that nothing else waits.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from bus.kafka.cleaning import PIECE, Cleaning
from bus.kafka.decoded import hand_on_decoded
from bus.kafka.decoding import TakesLong, Unusable
from bus.kafka.inflate import MOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.client import AIOKafkaClient

    from bus.kafka.batches import Unreadable

T = TypeVar("T")
PositionOf = Callable[[TopicPartition], int]

_ATTEMPTS = 3
"""Answers that differ each time, and are damaged each time."""

_WAIT = 0.1
"""Seconds until more is fetched, while too much is waiting to be handled."""


_SMALL = 1 << 20
"""Bytes of decompressed records that need no thread, and are not counted as waiting."""


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
        self._in_threads = 0

    def attach(self, client: AIOKafkaClient) -> None:
        """Look at all that this client fetches from now on. A session begins with it."""
        hand_on_decoded()
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
        if self._unreadable:
            for offset in [at for number, at in self._unreadable if number == tp.partition]:
                if offset >= position:
                    del self._unreadable[tp.partition, offset]  # it is fetched again
        cleaning = Cleaning(self, tp, position, end)
        await cleaning.run(raw)
        clean = cleaning.result(raw)
        if not clean:
            await asyncio.sleep(_WAIT)  # it is fetched again, and not at once
        return clean

    def note(self, tp: TopicPartition, found: Unreadable) -> None:
        """A placeholder stands at the last of these offsets."""
        self._unreadable[tp.partition, found.last] = found

    async def work(self, work: Callable[[int, bool], T], size: int) -> T:
        """Run what decodes a batch of so many bytes: in a thread, if it may take long.

        Args:
            work: is given how many bytes may come of it, and whether it is on the event loop.
            size: of the batch.
        """
        if size <= PIECE:
            await self.had(size)
            quick = min(self._most, _SMALL)
            try:
                return work(quick, True)
            except TakesLong:
                pass
            except Unusable as error:
                if not error.too_large or quick == self._most:
                    raise
        self._in_threads += 1
        try:
            return await asyncio.to_thread(work, self._most, False)
        finally:
            self._in_threads -= 1

    @property
    def is_working(self) -> bool:
        """Whether a large batch is decoded now: what is fetched is handed on after that."""
        return self._in_threads > 0

    async def had(self, size: int) -> None:
        """So many bytes were, or are, looked at: others may be due."""
        self._work += size
        if self._work >= PIECE:
            self._work = 0
            await asyncio.sleep(0)

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
