"""Where a topic's partitions end, in one exchange with each of its leaders.

Each takedown needs this answer, so it must cost next to nothing. Each leader gets two requests in
one write: where its partitions end (ListOffsets, up to the high water mark), and then a description
of the topic (Metadata). A broker handles a connection's requests in their order, so its description
is later than its offsets: if the description has not changed, the offsets are those of the log that
we read, of all its partitions, and from their leaders.

The requests are the same each time and are encoded once. An answer whose bytes have not changed is
not decoded, and ends that have not changed are the same dictionary. Whatever is not exactly as it
was (another leader or epoch, a new partition, another topic id, an error, a connection that broke)
ends this way of asking: `None` is reported, the caller looks in the long way, and calls `connect`
with what that found.
"""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from bus.kafka.metadata_request import MetadataRequest_v12, MetadataResponse_v12, by_name
from bus.kafka.topic_identity import description_in
from bus.kafka.wire import open_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiokafka.client import AIOKafkaClient

    from bus.kafka.topic_identity import TopicDescription
    from bus.kafka.wire import Answers, Wire

Ends: TypeAlias = "dict[TopicPartition, int]"
Report: TypeAlias = "Callable[[Ends | None], object]"

_LIST_OFFSETS, _LIST_OFFSETS_VERSION = 2, 4
_METADATA, _METADATA_VERSION = 3, 12
_FIRST_ID, _SECOND_ID = 1, 2
"""Correlation ids. They may be the same each time: a connection has one exchange at a time."""

_CONSUMER = -1
_READ_UNCOMMITTED = 0
_LATEST = -1

_OFFSETS_AT = 8
"""Where the offsets' part of an answer begins: after the correlation id and the throttle time."""

_DESCRIPTION_AT = 9
"""The same for the description, whose header has a (here always empty) list of tags."""

_ID = struct.Struct(">i")
_SECOND_HEADER = _ID.pack(_SECOND_ID) + b"\0"
"""How the second answer begins: its id, and no tags."""

_EARLY = 0.001
"""Seconds by which a timer may ring early: uvloop counts in milliseconds."""

_ROW = 5
"""Fields of each partition's row: number, error, timestamp, offset, leader epoch."""


class _Leader:
    """One broker, what it is asked, and its last answers."""

    def __init__(self, wire: Wire, topic: str, epochs: Mapping[int, int], client_id: bytes) -> None:
        name = topic.encode()
        self.wire = wire
        self.frames = _offsets_frame(client_id, name, epochs) + _description_frame(client_id, topic)
        self.ends: Ends = {}
        self.described = b""
        self.accepted: Answers = None
        self._topic = topic
        self._partitions = len(epochs)
        self._rows = struct.Struct(">" + "ihqqi" * len(epochs))
        self._rows_at = _OFFSETS_AT + 4 + 2 + len(name) + 4
        self._offsets = b""

    def accepts(self, answers: Answers, description: TopicDescription) -> bool:
        """Whether these are answers to both requests, and the topic is as described."""
        if (
            answers is None
            or len(answers) != 2  # noqa: PLR2004 - one for each request
            or not self.has_ends(answers[0])
            or not self.is_as_described(answers[1], description)
        ):
            return False
        self.accepted = answers
        return True

    def has_ends(self, answer: bytes) -> bool:
        """Whether this answers the first request without an error; `ends` has the offsets."""
        if len(answer) < _OFFSETS_AT or _ID.unpack_from(answer)[0] != _FIRST_ID:
            return False
        offsets = answer[_OFFSETS_AT:]
        if offsets == self._offsets:
            return True
        if len(answer) != self._rows_at + self._rows.size:
            return False
        rows = self._rows.unpack_from(answer, self._rows_at)
        if any(rows[1::_ROW]):
            return False
        self.ends = {
            TopicPartition(self._topic, number): offset
            for number, offset in zip(rows[0::_ROW], rows[3::_ROW], strict=True)
        }
        if len(self.ends) != self._partitions:
            return False
        self._offsets = offsets
        return True

    def is_as_described(self, answer: bytes, description: TopicDescription) -> bool:
        """Whether this answers the second request, with this description."""
        if len(answer) < _DESCRIPTION_AT or answer[: _ID.size + 1] != _SECOND_HEADER:
            return False
        described = answer[_DESCRIPTION_AT:]
        if described == self.described:
            return True
        try:
            response = MetadataResponse_v12.decode(answer[_DESCRIPTION_AT - 4 :])
            if description_in(response, self._topic) != description:
                return False
        except (KafkaError, ValueError, struct.error):
            return False
        self.described = described
        return True


class LogEnd:
    """Asks all leaders of one topic at once. One question at a time.

    Args:
        client: opens the connections, and closes them when it is closed.
        topic: which topic.
        client_id: what the brokers' logs and quotas call these connections.
        timeout: seconds until the brokers must have answered.
    """

    def __init__(
        self, client: AIOKafkaClient, topic: str, *, client_id: str, timeout: float
    ) -> None:
        self._client = client
        self._client_id = client_id.encode()
        self._topic = topic
        self._timeout = timeout
        self._wires: dict[int, Wire] = {}
        self._leaders: dict[int, _Leader] = {}
        self._description: TopicDescription | None = None
        self._report: Report | None = None
        self._number = 0
        self._waiting = 0
        self._ends: Ends | None = None
        self._asked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, description: TopicDescription) -> None:
        """Be ready to ask about a topic that is as described, if the brokers allow it.

        Raises:
            KafkaError: a leader cannot be reached.
        """
        if self._description == description and self._usable():
            return
        self.forget()
        led: dict[int, dict[int, int]] = {}
        for number, leader in description.leaders.items():
            led.setdefault(leader, {})[number] = description.epochs[number]
        if not led or -1 in led or not description.identity.topic_id:
            return
        leaders = {}
        for node, epochs in led.items():
            wire = self._wires.get(node)
            if wire is None or not wire.usable:
                wire = self._wires[node] = await open_wire(self._client, node)
            if not (
                _knows(wire, _LIST_OFFSETS, _LIST_OFFSETS_VERSION)
                and _knows(wire, _METADATA, _METADATA_VERSION)
            ):
                return
            leaders[node] = _Leader(wire, self._topic, epochs, self._client_id)
        self._leaders, self._description, self._ends = leaders, description, None

    def ask(self, report: Report) -> bool:
        """Ask now. False if that is not possible; then nothing is reported.

        Args:
            report: called once, after this has returned: the ends of all partitions, as of a
                moment after the call, or None if the long way has to be taken.
        """
        if self._description is None or not self._usable():
            return False
        self._report = report
        self._number += 1
        self._waiting = len(self._leaders)
        loop = asyncio.get_running_loop()
        self._asked_at = loop.time()
        if self._timer is None:  # one for many questions: to set one for each costs more
            self._timer = loop.call_later(self._timeout, self._is_late)
        for leader in self._leaders.values():
            leader.wire.exchange(leader.frames, 2, partial(self._answered, leader, self._number))
        return True

    def forget(self) -> None:
        """What is known of the topic is not true any more; a question in flight reports None."""
        self._description = None
        self._leaders = {}
        self._ends = None
        if self._report is not None:
            for wire in self._wires.values():
                wire.close()  # or its answers would be taken for those to the next question
            self._finish(None)

    def close(self) -> None:
        """The session is over: a question in flight is not reported any more."""
        self._report = None
        self._finish(None)
        self._description = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _usable(self) -> bool:
        return all(leader.wire.usable for leader in self._leaders.values())

    def _is_late(self) -> None:
        self._timer = None
        if self._report is None:
            return
        loop = asyncio.get_running_loop()
        late_at = self._asked_at + self._timeout
        if loop.time() < late_at - _EARLY:
            self._timer = loop.call_at(late_at, self._is_late)
        else:
            self.forget()

    def _answered(self, leader: _Leader, number: int, answers: Answers) -> None:
        if number != self._number or self._report is None:
            return
        if answers is None or answers is not leader.accepted:
            description = self._description
            if description is None or not leader.accepts(answers, description):
                self.forget()
                return
            self._ends = None
        self._waiting -= 1
        if not self._waiting:
            if self._ends is None:
                self._ends = {}
                for each in self._leaders.values():
                    self._ends.update(each.ends)
            self._finish(self._ends)

    def _finish(self, ends: Ends | None) -> None:
        report, self._report = self._report, None
        if report is not None:
            report(ends)


def _knows(wire: Wire, kind: int, version: int) -> bool:
    lowest, highest = wire.versions.get(kind, (0, -1))
    return lowest <= version <= highest


def _offsets_frame(client_id: bytes, topic: bytes, epochs: Mapping[int, int]) -> bytes:
    # With the leader epoch that we know: a broker that leads in another one refuses.
    rows = b"".join(struct.pack(">iiq", number, epoch, _LATEST) for number, epoch in epochs.items())
    body = (
        struct.pack(">ibih", _CONSUMER, _READ_UNCOMMITTED, 1, len(topic))
        + topic
        + struct.pack(">i", len(epochs))
        + rows
    )
    return _frame(client_id, _LIST_OFFSETS, _LIST_OFFSETS_VERSION, _FIRST_ID, body)


def _description_frame(client_id: bytes, topic: str) -> bytes:
    body = MetadataRequest_v12(by_name([topic]), False, False, {}).encode()
    return _frame(client_id, _METADATA, _METADATA_VERSION, _SECOND_ID, b"\0" + body)


def _frame(client_id: bytes, kind: int, version: int, correlation_id: int, rest: bytes) -> bytes:
    head = struct.pack(">hhih", kind, version, correlation_id, len(client_id)) + client_id
    return struct.pack(">i", len(head) + len(rest)) + head + rest
