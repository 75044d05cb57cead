"""What a takedown is told of its requests, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
from support.fakes import places, takedown
from support.post import FakeBatch, Post
from support.settling import settle

from bus.kafka.publication import KafkaPublication, Trouble
from domain.errors import KafkaUnavailable
from domain.messages import PublishFailed


def _skip(_published: int, _failed: int, _cause: str) -> None:
    pass


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    return Post(monkeypatch)


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
        (TimeoutError("10.0.0.7:9092"), "Kafka did not accept the requests in time"),
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


async def test_who_has_stopped_is_told_nothing_and_counted(post: Post) -> None:
    publication = post.publish("one", places("a"))
    await settle()
    publication.stop()
    await post.acknowledge()

    assert post.told == []
    assert post.settled == [(1, 0, "")]


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
