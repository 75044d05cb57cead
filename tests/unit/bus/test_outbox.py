"""The batches of one producer: what goes into one, when it is handed over, and who hears of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from support.fakes import ITEM, OTHER_ITEM, places, settle, takedown

from bus.kafka import outbox as outbox_module
from bus.kafka import request_batch
from bus.kafka.aiokafka_fixes import Cause
from bus.kafka.outbox import Outbox
from bus.kafka.publication import KafkaPublication, Trouble
from domain.errors import KafkaUnavailable
from domain.messages import Container, PublishFailed, RequestsPublished

TOPIC = "item_reported"
OVERHEAD = 200
"""Bytes of a record besides its value, about: its key and headers."""


@dataclass
class FakeBatch:
    """Takes `room` records, and none once it is on its way."""

    room: int
    records: list[bytes] = field(default_factory=list)
    sent: bool = False

    def append(self, *, timestamp: Any, key: bytes, value: bytes, headers: Any) -> object | None:
        assert timestamp is None
        assert key
        assert [name for name, _ in headers] == ["takedown-id", "traceparent", "content-type"]
        if self.sent or len(self.records) == self.room:
            return None
        self.records.append(value)
        return object()

    def size(self) -> int:
        return sum(OVERHEAD + len(record) for record in self.records)


class FakeProducer:
    """One broker; batches wait in `sent` for what the test says of them.

    With `one_at_a_time` it accepts a batch only when the one before it is settled.
    """

    def __init__(self) -> None:
        self.one_at_a_time = False
        self.room = 100
        self.connected = True
        self.reachable = True
        self.takes: asyncio.Event | None = None
        self.partitions: set[int] = {0}
        self.leader = 1
        self.sent: list[tuple[FakeBatch, asyncio.Future[Any]]] = []
        cluster = SimpleNamespace(
            partitions_for_topic=lambda _topic: self.partitions,
            leader_for_partition=lambda _tp: self.leader,
            unauthorized_topics=frozenset(),
        )
        self.client = SimpleNamespace(
            cluster=cluster, ready=self._ready, force_metadata_update=lambda: None
        )

    async def _ready(self, _leader: int) -> bool:
        return self.reachable

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self.room)

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> asyncio.Future[Any]:
        assert topic == TOPIC
        assert partition in self.partitions
        if self.takes is not None:
            await self.takes.wait()
        while self.one_at_a_time and self.sent and not self.sent[-1][1].done():
            await asyncio.wait([self.sent[-1][1]])
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((batch, future))
        return future


class Post:
    """An outbox before a fake producer, and what its takedowns were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = FakeProducer()
        self.gone: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.told: list[Any] = []
        self.settled: list[tuple[int, int, str]] = []
        producer: Any = self.producer
        monkeypatch.setattr(outbox_module, "is_connected", lambda *_: self.producer.connected)
        self.cause = Cause()
        self.outbox = Outbox(
            producer, TOPIC, cause=self.cause, topic_is_gone=self.gone.append, tasks=self.tasks
        )

    def publish(
        self, name: str, containers: tuple[Container, ...], *, by: float = 2.0, item: Any = ITEM
    ) -> KafkaPublication:
        publication = KafkaPublication(
            takedown(item, name=name), containers, self.told.append, self._on_settled
        )
        requests = [(c, f"{name} {c.container_id}".encode()) for c in containers]
        self.outbox.add(publication, requests, asyncio.get_running_loop().time() + by)
        return publication

    def _on_settled(self, published: int, failed: int, cause: str) -> None:
        self.settled.append((published, failed, cause))

    async def acknowledge(self, number: int = 0, error: Exception | None = None) -> None:
        _, future = self.producer.sent[number]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        await settle()

    @property
    def sent(self) -> list[list[bytes]]:
        return [batch.records for batch, _ in self.producer.sent]


def _skip(_published: int, _failed: int, _cause: str) -> None:
    pass


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    return Post(monkeypatch)


async def test_takedowns_of_one_turn_share_a_batch_and_each_hears_of_its_own(post: Post) -> None:
    post.publish("one", places("a", "b"))
    post.publish("two", places("c"), item=OTHER_ITEM)
    assert post.sent == []  # not before the turn ends
    await settle()

    assert post.sent == [[b"one a", b"one b", b"two c"]]
    assert post.told == []
    await post.acknowledge()
    assert post.told == [RequestsPublished("one"), RequestsPublished("two")]  # type: ignore[arg-type]
    assert post.settled == [(2, 0, ""), (1, 0, "")]
    assert post.tasks == set()


async def test_what_comes_while_a_batch_waits_to_be_sent_joins_it(post: Post) -> None:
    post.publish("one", places("a"))
    await settle()
    post.publish("two", places("b"))
    await settle()

    assert post.sent == [[b"one a", b"two b"]]
    await post.acknowledge()
    assert len(post.told) == 2


async def test_a_batch_that_is_on_its_way_takes_nothing_more(post: Post) -> None:
    post.publish("one", places("a"))
    await settle()
    post.producer.sent[0][0].sent = True
    post.publish("two", places("b"))
    await settle()

    assert post.sent == [[b"one a"], [b"two b"]]
    await post.acknowledge(1)
    assert post.told == [RequestsPublished("two")]  # type: ignore[arg-type]
    await post.acknowledge(0)


async def test_nothing_joins_a_batch_whose_connection_is_gone(post: Post) -> None:
    post.publish("one", places("a"))
    await settle()
    post.producer.connected = post.producer.reachable = False

    post.publish("two", places("b"))
    await settle()

    assert post.sent == [[b"one a"]]
    (told,) = post.told
    assert isinstance(told, PublishFailed)
    assert not told.handed_over
    assert told.unpublished == places("b")
    await post.acknowledge()


async def test_what_does_not_fit_goes_into_further_batches(post: Post) -> None:
    post.producer.room = 2
    post.publish("one", places("a", "b", "c"))
    await settle()
    assert post.sent == [[b"one a", b"one b"], [b"one c"]]

    await post.acknowledge(1)
    assert post.told == []
    await post.acknowledge(0)
    assert post.told == [RequestsPublished("one")]  # type: ignore[arg-type]


async def test_a_part_that_fails_is_told_with_what_succeeded(post: Post) -> None:
    post.producer.room = 1
    post.publish("one", places("a", "b"))
    await settle()
    await post.acknowledge(0)
    await post.acknowledge(1, KafkaConnectionError("gone"))

    (told,) = post.told
    assert isinstance(told, PublishFailed)
    assert told.handed_over
    assert told.published == places("a")
    assert told.unpublished == places("b")
    assert told.unacknowledged == ()
    assert "gone" in told.cause
    assert post.settled == [(1, 1, told.cause)]


@pytest.mark.parametrize(
    ("error", "plain"),
    [
        (
            KafkaConnectionError("Connection at 10.0.0.7:9092 closed"),
            "the connection to Kafka was lost",
        ),
        (ConnectionResetError("10.0.0.7:9092"), "the connection to Kafka was lost"),
        (TopicAuthorizationFailedError("User:alice"), "TopicAuthorizationFailedError"),
        (KafkaUnavailable("10.0.0.7:9092 cannot be used"), "Kafka cannot be used now"),
        (LookupError("10.0.0.7:9092"), "a defect in this service"),
        (TimeoutError("10.0.0.7:9092"), "Kafka did not take the requests in time"),
    ],
)
async def test_a_caller_is_told_why_without_servers_and_users(
    post: Post, error: Exception, plain: str
) -> None:
    post.publish("one", places("a"))
    await settle()
    await post.acknowledge(0, error)

    (told,) = post.told
    assert told.plain == plain
    assert post.settled == [(0, 1, told.cause)]


async def test_a_broker_that_cannot_be_used_is_named_to_operators_only(post: Post) -> None:
    post.cause.text = "10.0.0.7:9092 cannot be used: its certificate is not believed"
    post.producer.reachable = False
    post.publish("one", places("a"))
    await settle()

    (told,) = post.told
    assert told.plain == "Kafka cannot be used now"
    assert told.cause == post.cause.text


async def test_a_refusal_is_told_at_once_and_again_when_all_is_settled(post: Post) -> None:
    post.producer.room = 1
    post.publish("one", places("a", "b", "c", "d"))
    await settle()
    await post.acknowledge(0)
    assert post.told == []
    await post.acknowledge(1, KafkaConnectionError("gone"))

    (first,) = post.told
    assert isinstance(first, PublishFailed)
    assert (first.published, first.unpublished) == (places("a"), places("b"))
    assert first.unacknowledged == places("c", "d")
    assert post.settled == []

    await post.acknowledge(2)
    assert len(post.told) == 1, "no failure is told twice"
    await post.acknowledge(3)
    _, last = post.told
    assert isinstance(last, PublishFailed)
    assert (last.published, last.unpublished) == (places("a", "c", "d"), places("b"))
    assert last.unacknowledged == ()
    assert post.settled == [(3, 1, last.cause)]


async def test_each_further_refusal_is_told_at_once(post: Post) -> None:
    post.producer.room = 1
    post.publish("one", places("a", "b", "c"))
    await settle()
    await post.acknowledge(2, KafkaConnectionError("gone"))
    await post.acknowledge(0, KafkaConnectionError("gone, too"))

    first, second = post.told
    assert (first.unpublished, first.unacknowledged) == (places("c"), places("a", "b"))
    assert (second.unpublished, second.unacknowledged) == (places("a", "c"), places("b"))
    assert second.cause == first.cause
    await post.acknowledge(1)
    assert post.settled == [(1, 2, first.cause)]


async def test_one_who_stops_after_a_refusal_is_told_nothing_more_and_counted(post: Post) -> None:
    post.producer.room = 1
    publication = post.publish("one", places("a", "b"))
    await settle()
    await post.acknowledge(0, KafkaConnectionError("gone"))
    publication.stop()
    await post.acknowledge(1)

    assert len(post.told) == 1
    assert [settled[:2] for settled in post.settled] == [(1, 1)]


async def test_requests_that_cannot_be_sent_wait_for_the_others_that_may_end_like_them(
    post: Post,
) -> None:
    """So that "nothing was published" stays possible, and true."""
    post.producer.room = 1
    post.producer.takes = asyncio.Event()
    publication = KafkaPublication(takedown(name="one"), places("b", "c"), post.told.append, _skip)
    now = asyncio.get_running_loop().time()
    for container, by in zip(places("b", "c"), (0.5, 1.0), strict=True):
        post.outbox.add(publication, [(container, b"x")], now + by)
    await asyncio.sleep(0.7)
    assert post.told == []
    await asyncio.sleep(0.5)

    (told,) = post.told
    assert not told.handed_over
    assert (told.unpublished, told.unacknowledged) == (places("b", "c"), ())


async def test_requests_that_could_not_be_sent_are_told_once_another_is_sent(post: Post) -> None:
    post.producer.room = 1
    post.producer.takes = asyncio.Event()
    publication = KafkaPublication(takedown(name="one"), places("b", "c"), post.told.append, _skip)
    now = asyncio.get_running_loop().time()
    for container, by in zip(places("b", "c"), (0.5, 1.0), strict=True):
        post.outbox.add(publication, [(container, b"x")], now + by)
    await asyncio.sleep(0.7)
    assert post.told == []
    post.producer.takes.set()
    await settle()

    (told,) = post.told
    assert told.handed_over
    assert (told.unpublished, told.unacknowledged) == (places("b"), places("c"))
    await post.acknowledge(0)
    assert post.told[-1].published == places("c")


async def test_what_joins_a_batch_that_was_sent_is_sent(post: Post) -> None:
    post.publish("one", places("a"))
    await settle()
    publication = KafkaPublication(takedown(name="two"), places("b", "c"), post.told.append, _skip)
    now = asyncio.get_running_loop().time()
    post.outbox.add(publication, [(places("b")[0], b"x")], now + 1)
    publication.failed(places("c"), Trouble("no leader", "no leader"), handed_over=False)

    (told,) = post.told
    assert told.handed_over
    assert (told.unpublished, told.unacknowledged) == (places("c"), places("b"))
    await post.acknowledge()


async def test_what_kafka_refused_for_its_size_was_not_sent(post: Post) -> None:
    post.publish("one", places("a", "b"), by=1.0)
    await settle()
    post.producer.takes = asyncio.Event()
    await post.acknowledge(0, MessageSizeTooLargeError())
    await asyncio.sleep(2.1)

    (told,) = post.told
    assert not told.handed_over
    assert told.unpublished == places("a", "b")


async def test_a_batch_that_fails_after_the_hand_over_may_have_been_written(post: Post) -> None:
    post.publish("one", places("a", "b"))
    await settle()
    await post.acknowledge(0, KafkaConnectionError("gone"))

    (told,) = post.told
    assert isinstance(told, PublishFailed)
    assert told.handed_over
    assert (told.published, told.unpublished) == ((), places("a", "b"))


@pytest.mark.parametrize("refusal", [MessageSizeTooLargeError, RecordListTooLargeError])
async def test_a_batch_that_is_too_large_for_the_topic_is_sent_again_in_halves(
    post: Post, refusal: type[Exception]
) -> None:
    post.publish("one", places("a", "b", "c"))
    post.publish("two", places("d"), item=OTHER_ITEM)
    await settle()
    await post.acknowledge(0, refusal())

    assert post.sent[1:] == [[b"one a", b"one b"], [b"one c", b"two d"]]
    assert post.told == []
    await post.acknowledge(1)
    await post.acknowledge(2)
    assert post.told == [RequestsPublished("one"), RequestsPublished("two")]  # type: ignore[arg-type]
    assert post.settled == [(3, 0, ""), (1, 0, "")]
    assert post.tasks == set()


async def test_one_record_that_is_too_large_costs_nobody_else_his(post: Post) -> None:
    post.publish("one", places("a"))
    post.publish("bad", places("b", "c"))
    post.publish("two", places("d"))
    await settle()
    for number, contents in enumerate(
        ([b"one a", b"bad b", b"bad c", b"two d"], [b"one a", b"bad b"])
    ):
        assert post.sent[number] == contents
        await post.acknowledge(number, MessageSizeTooLargeError())
    await post.acknowledge(2)
    assert post.sent[2:] == [[b"bad c", b"two d"], [b"one a"], [b"bad b"]]
    await post.acknowledge(3)
    await post.acknowledge(4, MessageSizeTooLargeError())

    *fine, told = post.told
    assert sorted(told.takedown_id for told in fine) == ["one", "two"]
    assert isinstance(told, PublishFailed)
    assert (told.published, told.unpublished) == (places("c"), places("b"))
    assert "Large" in told.cause
    assert post.tasks == set()


async def test_halves_that_cannot_be_handed_over_in_time_never_are(post: Post) -> None:
    post.publish("one", places("a", "b"), by=2.0)
    await settle()
    await asyncio.sleep(1.9)
    post.producer.takes = asyncio.Event()
    await post.acknowledge(0, MessageSizeTooLargeError())
    await asyncio.sleep(1.9)
    assert post.told == []  # Kafka answers, so they have the time of a hand-over again
    await asyncio.sleep(0.2)

    (told,) = post.told
    assert isinstance(told, PublishFailed)
    assert not told.handed_over  # Kafka has refused the whole batch: none of it is there
    assert told.unpublished == places("a", "b")
    assert len(post.sent) == 1


async def test_batches_are_smaller_once_one_was_too_large(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.publish("one", places("a", "b", "c", "d"))  # five bytes each
    await settle()
    await post.acknowledge(0, MessageSizeTooLargeError())
    for number in (1, 2):
        await post.acknowledge(number)

    post.publish("two", places("a", "b", "c", "a-name-that-is-longer-than-all-the-others-here"))
    await settle()
    assert post.sent[3:] == [
        [b"two a", b"two b"],
        [b"two c"],
        [b"two a-name-that-is-longer-than-all-the-others-here"],
    ]
    for number in (3, 4, 5):
        await post.acknowledge(number)
    assert post.settled == [(4, 0, ""), (4, 0, "")]
    assert caplog.text.count("max.message.bytes") == 1


async def test_what_is_not_handed_over_in_time_never_is(post: Post) -> None:
    post.producer.takes = asyncio.Event()
    post.publish("one", places("a"), by=2.0)
    await asyncio.sleep(1)
    post.publish("hasty", places("b"), by=0.5)
    await asyncio.sleep(0.4)
    assert post.told == []
    await asyncio.sleep(0.2)
    assert [told.unpublished for told in post.told] == [places("b")]  # the other has time left
    await asyncio.sleep(0.5)

    assert [told.handed_over for told in post.told] == [False, False]
    post.producer.takes.set()
    await settle()
    assert post.sent == []
    post.publish("next", places("c"))
    await settle()
    assert post.sent == [[b"next c"]]
    await post.acknowledge()


async def test_one_whose_time_is_over_leaves_its_batch_and_the_others_are_sent(post: Post) -> None:
    post.producer.takes = asyncio.Event()
    post.publish("one", places("a"), by=2.0)
    post.publish("hasty", places("b"), by=0.5)
    post.publish("two", places("c"), by=2.0)
    await asyncio.sleep(1)
    post.publish("late", places("d"), by=2.0)
    post.producer.takes.set()
    await settle()

    assert post.sent == [[b"one a", b"two c", b"late d"]]
    await post.acknowledge()
    assert post.tasks == set()


async def test_batches_wait_for_their_turn_for_as_long_as_kafka_answers_for_those_before(
    post: Post,
) -> None:
    post.producer.one_at_a_time = True
    post.producer.room = 1
    post.publish("one", places(*"abcdefghij"), by=2.0)
    for number in range(10):
        await asyncio.sleep(0.9)
        assert len(post.sent) == number + 1
        await post.acknowledge(number)
    assert post.told == [RequestsPublished("one")]  # type: ignore[arg-type]
    assert post.settled == [(10, 0, "")]
    assert post.tasks == set()


async def test_batches_do_not_wait_longer_once_kafka_answers_no_more(post: Post) -> None:
    post.producer.one_at_a_time = True
    post.producer.room = 1
    one = post.publish("one", places("a"), by=2.0)
    post.publish("two", places("b", "c"), by=2.0)
    await asyncio.sleep(1.5)
    await post.acknowledge()  # the next one is sent, and never answered
    await asyncio.sleep(1.9)
    assert post.told == [RequestsPublished(one.takedown.takedown_id)]
    await asyncio.sleep(0.2)
    told = post.told[-1]
    assert isinstance(told, PublishFailed)
    assert told.handed_over
    assert told.unpublished == places("c")
    await post.acknowledge(1)
    assert len(post.sent) == 2


async def test_what_nobody_waits_for_any_more_is_not_sent_when_its_turn_comes(post: Post) -> None:
    post.producer.one_at_a_time = True
    post.producer.room = 1
    post.publish("one", places("a"))
    post.publish("two", places("b"))  # aiokafka has it
    late = post.publish("three", places("c"))
    post.publish("four", places("d"))
    await settle()
    late.stop()
    for number in range(3):
        await post.acknowledge(number)
    assert post.sent == [[b"one a"], [b"two b"], [b"four d"]]
    assert sorted(each[:2] for each in post.settled) == [(0, 1), (1, 0), (1, 0), (1, 0)]


async def test_batches_have_their_full_size_again_when_the_topic_accepts_it(post: Post) -> None:
    post.publish("one", places("a", "b", "c", "d"))
    await settle()
    await post.acknowledge(0, MessageSizeTooLargeError())
    for number in (1, 2):
        await post.acknowledge(number)
    await asyncio.sleep(1)
    post.publish("two", places("a", "b", "c", "d"))
    await settle()
    assert post.sent[3:] == [[b"two a", b"two b", b"two c", b"two d"]]
    await post.acknowledge(3)


async def test_who_has_stopped_is_told_nothing_and_counted(post: Post) -> None:
    publication = post.publish("one", places("a"))
    await settle()
    publication.stop()
    await post.acknowledge()

    assert post.told == []
    assert post.settled == [(1, 0, "")]


async def test_a_topic_that_is_gone_is_said_at_once(post: Post) -> None:
    post.producer.partitions = set()
    with pytest.raises(KafkaUnavailable, match="does not exist"):
        post.publish("one", places("a"))
    assert post.gone == [f"the topic {TOPIC} does not exist"]


async def test_a_partition_without_a_leader_is_not_waited_for(post: Post) -> None:
    post.producer.leader = -1
    with pytest.raises(KafkaUnavailable, match="no leader"):
        post.publish("one", places("a"))


async def test_a_request_that_kafka_would_not_take_keeps_the_others_back_too(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_batch, "LARGEST_RECORD", 8)
    with pytest.raises(KafkaUnavailable, match="larger"):
        post.publish("one", places("a", "a-long-name"))
    await settle()
    assert post.sent == []


async def test_a_defect_is_a_failure_of_the_batch_alone(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    send_batch, post.producer.send_batch = post.producer.send_batch, broken  # type: ignore[method-assign]
    post.publish("one", places("a"))
    await settle()
    post.producer.send_batch = send_batch  # type: ignore[method-assign]
    post.publish("two", places("b"))
    await settle()

    assert [told.handed_over for told in post.told] == [False]
    assert "Defect while publishing" in caplog.text
    assert post.sent == [[b"two b"]]
    await post.acknowledge()


async def test_a_defect_in_the_middle_of_a_takedown_is_told_once_the_rest_is_sent(
    post: Post, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FakeBatch.append

    def broken(batch: FakeBatch, **record: Any) -> object | None:
        if record["value"].endswith(b"b"):
            raise ZeroDivisionError
        return append(batch, **record)

    monkeypatch.setattr(FakeBatch, "append", broken)
    post.publish("one", places("a", "b", "c"))
    assert post.told == []
    await settle()
    (told,) = post.told
    assert (told.unpublished, told.unacknowledged) == (places("b", "c"), places("a"))
    await post.acknowledge()

    _, told = post.told
    assert isinstance(told, PublishFailed)
    assert (told.published, told.unpublished) == (places("a"), places("b", "c"))
    assert "Defect while publishing" in caplog.text


async def test_batches_of_very_many_requests_that_fail_together_are_told_together(
    post: Post,
) -> None:
    publication = post.publish("one", places(*map(str, range(3000))))
    await settle()
    assert len(post.sent) == 30
    for _, future in post.producer.sent[:20]:
        future.set_exception(KafkaConnectionError("broken"))
    await settle()
    (told,) = post.told
    assert isinstance(told, PublishFailed)
    assert told.handed_over
    assert len(told.unpublished) == 2000
    assert len(told.unacknowledged) == 1000
    for number in range(20, 30):
        await post.acknowledge(number)
    assert len(post.told) == 2
    assert len(post.told[-1].published) == 1000
    assert post.told[-1].unacknowledged == ()
    assert not publication.stopped
