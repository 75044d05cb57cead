"""What brokers answer to the requests that the reader writes itself, as bytes and as structures.

They are answered truthfully, from whatever logs the caller has.
"""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.protocol.fetch import FetchResponse_v4
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bus.kafka.epoch_ends import OffsetForLeaderEpochResponse_v3

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LIST_OFFSETS, _METADATA = 2, 3
VERSIONS = {_LIST_OFFSETS: (1, 9), _METADATA: (0, 12)}
_EPOCH_AT = 12
_NO_PRODUCER = -1
_NO_RECORDS = bytes(DefaultRecordBatchBuilder(2, 0, False, _NO_PRODUCER, -1, -1, 1024).build())
_READ_COMMITTED = 1


def batch(record: Any, epoch: int, *, transactional: bool = False) -> bytes:
    """One record as brokers store it: with `offset`, `key`, `value`, `timestamp`, `headers`."""
    builder = DefaultRecordBatchBuilder(2, 0, transactional, _NO_PRODUCER, -1, -1, 16_777_216)
    builder.append(
        0,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
    )
    built = bytearray(builder.build())
    # Neither is part of the checksum: brokers set both.
    struct.pack_into(">q", built, 0, record.offset)
    struct.pack_into(">i", built, _EPOCH_AT, epoch)
    return bytes(built)


def batch_header(offset: int, epoch: int) -> bytes:
    """A batch without records, as compaction leaves it: it tells its leader epoch."""
    # Neither is part of the checksum.
    return struct.pack(">qii", offset, len(_NO_RECORDS) - _EPOCH_AT, epoch) + _NO_RECORDS[16:]


def fetched(
    topic: str, batches: Mapping[int, bytes], refused: Mapping[int, int], *, throttled: int = 0
) -> Any:
    """An answer to a fetch: what was found, and the codes of what was refused.

    Args:
        topic: which.
        batches: by partition.
        refused: by partition.
        throttled: milliseconds for which the broker is silent from now on.
    """
    rows: list[Any] = [(number, 0, -1, -1, [], found) for number, found in batches.items()]
    rows += [(number, code, -1, -1, [], b"") for number, code in refused.items()]
    return FetchResponse_v4(throttled, [(topic, rows)])


def epoch_end(epochs: Sequence[tuple[int, int]], end: int, wanted: int) -> tuple[int, int]:
    """Where a leader epoch ends: the epoch that is known, and the offset; -1 for both if none is.

    Args:
        epochs: each epoch and the offset at which it begins, in their order.
        end: of the log.
        wanted: the epoch in question.
    """
    known = [place for place, (epoch, _) in enumerate(epochs) if epoch <= wanted]
    if not known:
        return (wanted, epochs[0][1]) if epochs else (-1, -1)
    last = known[-1]
    return epochs[last][0], epochs[last + 1][1] if last + 1 < len(epochs) else end


def epoch_ends(topic: str, rows: Iterable[tuple[int, int, int, int]]) -> Any:
    """An answer about leader epochs: rows of error, partition, epoch and end."""
    return OffsetForLeaderEpochResponse_v3(0, [(topic, list(rows))])


class RawConnection:
    """Stands where aiokafka keeps a connection, for whoever writes bytes to its transport.

    Args:
        answer: is given the number of each partition whose end is asked, and answers with
            `answered` or `lose`, now or later.

    Attributes:
        committed: the ends are asked for as of committed records only.
        wakes_at: bytes that have to be there before anybody is told of them (SO_RCVLOWAT).
        refuses_options: how it refuses such an option, if it does.
        told: how often anybody was told of bytes.
    """

    def __init__(self, answer: Callable[[RawConnection, list[int]], object]) -> None:
        self._answer = answer
        self._versions = VERSIONS
        self._protocol: Any = _FormerProtocol()
        self._read_task = SimpleNamespace(cancel=lambda: None)
        self._writer = SimpleNamespace(transport=self)
        self._topic = b""
        self.open = True
        self.deaf = False
        self.committed = False
        self.wakes_at = 1
        self.refuses_options: Exception | None = None
        self.told = 0

    def connected(self) -> bool:
        return self.open

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def get_extra_info(self, name: str) -> Any:
        """The connection itself, as its socket."""
        return {"socket": self}[name]

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """The kernel's part."""
        if not self.open:
            raise ValueError("negative file descriptor")  # as uvloop says it
        if self.refuses_options is not None:
            raise self.refuses_options
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.wakes_at = value

    def write(self, frames: bytes) -> None:
        """Two requests: for the ends of partitions, and for their topic's description."""
        if self.deaf:
            return
        size, _, _, _, client = struct.unpack_from(">ihhih", frames)
        at = 4 + 10 + client
        _, isolation, _, length = struct.unpack_from(">ibih", frames, at)
        self.committed = isolation == _READ_COMMITTED
        at += 11
        self._topic = frames[at : at + length]
        rows = struct.iter_unpack(">iiq", frames[at + length + 4 : 4 + size])
        self._answer(self, [number for number, _, _ in rows])

    def answered(self, ends: Iterable[tuple[int, int, int, int]], description: Any) -> None:
        """Send both answers: rows of number, error, end and leader epoch; and the description."""
        if not self.open:
            return
        rows = [struct.pack(">ihqqi", n, code, -1, end, epoch) for n, code, end, epoch in ends]
        offsets = struct.pack(">iiih", 1, 0, 1, len(self._topic)) + self._topic
        offsets += struct.pack(">i", len(rows)) + b"".join(rows)
        described = struct.pack(">ib", 2, 0) + description.encode()
        waiting = b""
        for answer in (offsets, described):
            waiting += struct.pack(">i", len(answer)) + answer
            if len(waiting) >= self.wakes_at:
                self.told += 1
                self._protocol.data_received(waiting)
                waiting = b""
        assert not waiting, "nobody would ever be told of the rest"

    def lose(self) -> None:
        """It breaks."""
        if self.open:
            self.open = False
            self._protocol.connection_lost(None)

    def close(self, **_reason: object) -> None:
        self.open = False


class _FormerProtocol:
    def connection_lost(self, error: Exception | None) -> None:
        pass

    def eof_received(self) -> None:
        pass
