"""Where a log ends, asked in the quick way: whatever is not exactly as it was ends that way.

The brokers are in memory; what is sent and answered are real bytes.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError

from bus.kafka.log_end import LogEnd
from bus.kafka.metadata_request import MetadataResponse_v12
from bus.kafka.topic_identity import TopicDescription, description_in
from dev.simulation.requests import VERSIONS, RawConnection

TOPIC = "topic"


def tp(number: int) -> TopicPartition:
    return TopicPartition(TOPIC, number)


class Brokers:
    """Two brokers; the first leads partitions 0 and 1, the second one 2."""

    def __init__(self) -> None:
        self.ends = {0: 10, 1: 11, 2: 12}
        self.errors: dict[int, int] = {}
        self.leaders = {0: 1, 1: 1, 2: 2}
        self.epochs = {0: 5, 1: 5, 2: 6}
        self.topic_id = b"i" * 16
        self.topic_error = 0
        self.in_sync = [1, 2]
        self.answers = True
        self.reachable = True
        self.refuses_options: Exception | None = None
        self.connections: list[RawConnection] = []
        self.asked: list[list[int]] = []
        self._conns = self

    async def ready(self, _node: int, *, group: object) -> bool:
        return self.reachable

    def __getitem__(self, _which: object) -> RawConnection:
        self.connections.append(RawConnection(self._answer))
        self.connections[-1].refuses_options = self.refuses_options
        return self.connections[-1]

    def _answer(self, connection: RawConnection, numbers: list[int]) -> None:
        self.asked.append(numbers)
        if self.answers:
            asyncio.get_running_loop().call_later(0.01, self._send, connection, numbers)

    def _send(self, connection: RawConnection, numbers: list[int]) -> None:
        rows = [(n, self.errors.get(n, 0), self.ends[n], self.epochs[n]) for n in numbers]
        connection.answered(rows, self.metadata())

    def metadata(self) -> Any:
        partitions: list[Any] = [
            (0, n, self.leaders[n], self.epochs[n], [1, 2], self.in_sync, [], {})
            for n in self.leaders
        ]
        topics: list[Any] = [
            (self.topic_error, TOPIC, self.topic_id, False, partitions, 0, {}),
        ]
        return MetadataResponse_v12(0, [(1, "kafka", 9092, None, {})], "cluster", 1, topics, {})

    def description(self) -> TopicDescription:
        return description_in(self.metadata(), TOPIC)

    async def connected(self) -> LogEnd:
        log_end = LogEnd(self, TOPIC, client_id="us", timeout=3.0)
        await log_end.connect(self.description())
        return log_end


async def ask(log_end: LogEnd) -> Any:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    assert log_end.ask(answer.set_result)
    return await answer


async def test_the_ends_of_all_partitions_are_told_by_their_leaders() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    assert await ask(log_end) == {tp(0): 10, tp(1): 11, tp(2): 12}
    assert brokers.asked == [[0, 1], [2]]
    brokers.ends[2] = 20
    assert await ask(log_end) == {tp(0): 10, tp(1): 11, tp(2): 20}
    assert await ask(log_end) == {tp(0): 10, tp(1): 11, tp(2): 20}
    assert len(brokers.connections) == 2


async def test_both_answers_of_a_broker_wake_us_once() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    first = await ask(log_end)
    assert [connection.told for connection in brokers.connections] == [2, 2]
    for rounds in range(1, 4):
        assert await ask(log_end) is not first, "it came in two parts"
        assert [connection.told for connection in brokers.connections] == [2 + rounds] * 2


async def test_ends_that_have_not_changed_are_the_same_ones() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    await ask(log_end)
    known = await ask(log_end)
    assert await ask(log_end) is known
    brokers.ends[1] += 1
    changed = await ask(log_end)
    assert changed == {tp(0): 10, tp(1): 12, tp(2): 12}
    assert known == {tp(0): 10, tp(1): 11, tp(2): 12}, "whoever has them keeps them"
    assert await ask(log_end) is changed


async def test_a_broker_that_leads_fewer_partitions_is_heard_although_it_says_less() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    await ask(log_end)
    brokers.leaders = {0: 2, 1: 1, 2: 2}
    assert await ask(log_end) is None
    await log_end.connect(brokers.description())
    assert await ask(log_end) == {tp(0): 10, tp(1): 11, tp(2): 12}
    assert brokers.asked[-2:] == [[0, 2], [1]]


@pytest.mark.parametrize("error", [OSError("not supported"), ValueError("uvloop: it is closed")])
async def test_where_the_kernel_cannot_be_told_when_to_wake_us_it_is_asked_all_the_same(
    error: Exception,
) -> None:
    brokers = Brokers()
    brokers.refuses_options = error
    log_end = await brokers.connected()
    for _ in range(3):
        assert await ask(log_end) == {tp(0): 10, tp(1): 11, tp(2): 12}


async def test_followers_that_fall_behind_change_nothing() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    await ask(log_end)
    brokers.in_sync = [1]
    assert await ask(log_end) is not None
    assert await ask(log_end) is not None


def _another_leader(brokers: Brokers) -> None:
    brokers.leaders = {**brokers.leaders, 1: 2}


def _another_epoch(brokers: Brokers) -> None:
    brokers.epochs = {**brokers.epochs, 1: 6}


def _a_new_partition(brokers: Brokers) -> None:
    brokers.leaders[3], brokers.epochs[3], brokers.ends[3] = 1, 0, 0


def _another_topic(brokers: Brokers) -> None:
    brokers.topic_id = b"j" * 16


def _no_topic(brokers: Brokers) -> None:
    brokers.topic_error, brokers.topic_id = 3, bytes(16)


def _no_leader_any_more(brokers: Brokers) -> None:
    brokers.errors[2] = 6


def _a_lost_connection(brokers: Brokers) -> None:
    brokers.connections[1].lose()


@pytest.mark.parametrize(
    "change",
    [
        _another_leader,
        _another_epoch,
        _a_new_partition,
        _another_topic,
        _no_topic,
        _no_leader_any_more,
    ],
)
async def test_any_change_is_reported_and_ends_the_quick_way_until_it_is_connected_again(
    change: Any,
) -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    await ask(log_end)
    change(brokers)
    assert await ask(log_end) is None
    assert not log_end.ask(lambda _: None)
    brokers.topic_id, brokers.topic_error, brokers.errors = b"k" * 16, 0, {}
    await log_end.connect(brokers.description())
    assert (await ask(log_end)).keys() == {tp(number) for number in brokers.leaders}


async def test_a_connection_that_is_lost_while_it_is_asked_is_reported() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    answer: list[Any] = []
    assert log_end.ask(answer.append)
    assert answer == []
    brokers.connections[1].lose()
    assert answer == [None]
    await asyncio.sleep(1)
    assert answer == [None], "once"


async def test_a_connection_that_was_lost_is_not_asked() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    brokers.connections[0].lose()
    assert not log_end.ask(lambda _: None)


async def test_a_broker_that_does_not_answer_is_given_up_and_its_late_answer_is_not_trusted() -> (
    None
):
    brokers = Brokers()
    log_end = await brokers.connected()
    brokers.answers = False
    assert await ask(log_end) is None
    brokers.answers = True
    await log_end.connect(brokers.description())
    assert len(brokers.connections) == 4, "on new connections"
    late = brokers.ends.copy()
    brokers.ends[0] = 99
    assert await ask(log_end) == {tp(0): 99, tp(1): 11, tp(2): 12}
    assert late[0] != 99


async def test_what_is_forgotten_while_it_is_asked_is_reported_as_unknown() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    answer: list[Any] = []
    log_end.ask(answer.append)
    log_end.forget()
    assert answer == [None]
    await asyncio.sleep(1)
    assert answer == [None]


async def test_nothing_is_left_when_it_is_closed_while_it_is_asked() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    answer: list[Any] = []
    log_end.ask(answer.append)
    log_end.close()
    await asyncio.sleep(5)
    assert answer == []
    assert not log_end.ask(answer.append)


@pytest.mark.parametrize("cannot", ["no leader", "no id", "old broker"])
async def test_where_it_cannot_be_asked_so_it_is_not(
    cannot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brokers = Brokers()
    match cannot:
        case "no leader":
            brokers.leaders[2] = -1
        case "no id":
            brokers.topic_id = bytes(16)
        case "old broker":
            monkeypatch.setitem(VERSIONS, 3, (0, 11))
    log_end = await brokers.connected()
    assert not log_end.ask(lambda _: None)


async def test_a_broker_that_cannot_be_reached_is_an_error() -> None:
    brokers = Brokers()
    brokers.reachable = False
    with pytest.raises(NodeNotReadyError):
        await brokers.connected()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x01x\x00\x00\x00\x01y",
        b"\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x02",
        b"\x00\x00\x00\x0c\x00\x00\x00\x01"
        + bytes(8)
        + b"\x00\x00\x00\x0c\x00\x00\x00\x02"
        + bytes(8),
    ],
    ids=["empty", "negative", "huge", "no ids", "ids only", "nothing in them"],
)
async def test_garbage_is_no_answer(garbage: bytes) -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    brokers.answers = False
    answer: list[Any] = []
    log_end.ask(answer.append)
    brokers.connections[0].get_protocol().data_received(garbage)
    assert answer == [None]


async def test_answers_that_come_byte_by_byte_are_put_together() -> None:
    brokers = Brokers()
    log_end = await brokers.connected()
    brokers.answers = False
    answer: list[Any] = []
    log_end.ask(answer.append)
    for connection, numbers in zip(brokers.connections, ([0, 1], [2]), strict=True):
        sent: list[bytes] = []
        protocol = connection.get_protocol()
        connection.set_protocol(SimpleNamespace(data_received=sent.append))  # type: ignore[arg-type]
        brokers._send(connection, numbers)
        for byte in b"".join(sent):
            protocol.data_received(bytes([byte]))
    assert answer == [{tp(0): 10, tp(1): 11, tp(2): 12}]
