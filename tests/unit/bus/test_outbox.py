"""The batches of one producer: which requests share one, and when each is enqueued."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.fakes import OTHER_ITEM, places
from support.post import TOPIC, Post
from support.settling import settle

from domain.errors import KafkaUnavailable
from domain.messages import PublishFailed, RequestsPublished


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


async def test_a_broker_that_cannot_be_used_is_named_to_operators_only(post: Post) -> None:
    post.cause.text = "10.0.0.7:9092 cannot be used: its certificate is not trusted"
    post.producer.reachable = False
    post.publish("one", places("a"))
    await settle()

    (told,) = post.told
    assert told.plain == "Kafka cannot be used now"
    assert told.cause == post.cause.text


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


async def test_a_topic_that_is_gone_is_said_at_once(post: Post) -> None:
    post.producer.partitions = set()
    with pytest.raises(KafkaUnavailable, match="does not exist"):
        post.publish("one", places("a"))
    assert post.gone == [f"the topic {TOPIC} does not exist"]


async def test_a_partition_without_a_leader_is_not_waited_for(post: Post) -> None:
    post.producer.leader = -1
    with pytest.raises(KafkaUnavailable, match="no leader"):
        post.publish("one", places("a"))


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
