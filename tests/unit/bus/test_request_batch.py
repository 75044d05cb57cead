"""One batch: how large it may be, who leaves it, and how it is halved."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from support.fakes import OTHER_ITEM, places
from support.post import Post
from support.settling import settle

from bus.kafka import request_batch
from domain.errors import KafkaUnavailable
from domain.messages import PublishFailed, RequestsPublished


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    return Post(monkeypatch)


async def test_what_does_not_fit_goes_into_further_batches(post: Post) -> None:
    post.producer.room = 2
    post.publish("one", places("a", "b", "c"))
    await settle()
    assert post.sent == [[b"one a", b"one b"], [b"one c"]]

    await post.acknowledge(1)
    assert post.told == []
    await post.acknowledge(0)
    assert post.told == [RequestsPublished("one")]  # type: ignore[arg-type]


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


async def test_a_request_that_kafka_would_not_take_keeps_the_others_back_too(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_batch, "LARGEST_RECORD", 8)
    with pytest.raises(KafkaUnavailable, match="larger"):
        post.publish("one", places("a", "a-long-name"))
    await settle()
    assert post.sent == []
