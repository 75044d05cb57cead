"""A fetcher that hangs or has died, though the broker answers every question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from support.log import FakeTopic
from support.log_records import TOPIC

from bus.kafka.connection import Connection
from bus.kafka.fetch_monitor import Pulse
from bus.kafka.positioning import Start
from bus.kafka.reader import TopicReader

ONE, TWO = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pulse(clock: Clock) -> Pulse:
    return Pulse(clock, patience=3.0, step=1.5)


def silent_after(pulse: Pulse, clock: Clock, stamps: dict[TopicPartition, object]) -> int:
    """How many looks it takes, one a second, until something counts as silent."""
    for look in range(1, 60):
        clock.now += 1.0
        if pulse.silent(stamps):
            return look
    raise AssertionError


def test_a_stamp_that_stays_as_it_is_is_silence(pulse: Pulse, clock: Clock) -> None:
    assert pulse.silent({ONE: 1, TWO: 1}) == set()
    clock.now += 1.5
    assert pulse.silent({ONE: 2, TWO: 1}) == set()
    clock.now += 1.5
    assert pulse.silent({ONE: 3, TWO: 1}) == set()
    clock.now += 1.5
    assert pulse.silent({ONE: 4, TWO: 1}) == {TWO}


def test_a_partition_that_was_never_fetched_is_silent_too(pulse: Pulse, clock: Clock) -> None:
    pulse.silent({ONE: None})
    assert silent_after(pulse, clock, {ONE: None}) == 4


def test_stamps_that_go_back_are_signs_of_life(pulse: Pulse, clock: Clock) -> None:
    """They are of the wall clock, which may be set back."""
    for stamp in range(100, 0, -1):
        clock.now += 1.0
        assert pulse.silent({ONE: stamp * 3_600_000}) == set()


def test_time_in_which_we_were_stopped_ourselves_does_not_count(pulse: Pulse, clock: Clock) -> None:
    pulse.silent({ONE: 1})
    clock.now += 15.0
    assert pulse.silent({ONE: 1}) == set()
    assert silent_after(pulse, clock, {ONE: 1}) == 2, "from then on it does"


@asynccontextmanager
async def reader_of(topic: FakeTopic) -> AsyncIterator[TopicReader]:
    async def prepare() -> None:
        pass

    read: list[object] = []
    reader = TopicReader(
        connection=Connection("nowhere:1"),
        topic=TOPIC,
        start=Start.END,
        handle=read.append,
        prepare=prepare,
        consumer_factory=topic.consumer,
    )
    task = asyncio.create_task(reader.run())
    try:
        await until(reader, positioned=True)
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(reader: TopicReader, *, positioned: bool) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(30):
        while reader.positioned is not positioned:  # noqa: ASYNC110 - the virtual clock's
            await asyncio.sleep(0.01)
    return loop.time() - began


async def test_a_reader_whose_fetches_are_not_answered_is_not_ready_and_connects_anew() -> None:
    topic = FakeTopic()
    async with reader_of(topic) as reader:
        await asyncio.sleep(5)
        topic.fetching.stuck = True
        topic.append("a")
        assert 3.0 < await until(reader, positioned=False) < 5.0
        assert reader.last_error == f"no fetch of {TOPIC}[0, 1] is answered any more"
        assert await until(reader, positioned=True) < 1.0
        await reader.catch_up()
        assert reader.statistics().read == 1, "and nothing was lost"


async def test_an_idle_topic_is_not_taken_for_a_stuck_fetcher() -> None:
    topic = FakeTopic()
    async with reader_of(topic) as reader:
        await asyncio.sleep(3600)
        assert reader.statistics().sessions == 1


async def test_a_broker_that_is_away_for_moments_costs_no_session() -> None:
    topic = FakeTopic()
    async with reader_of(topic) as reader:
        await asyncio.sleep(5)
        topic.fetching.stuck = True
        await asyncio.sleep(2)
        topic.fetching.stuck = False
        await asyncio.sleep(30)
        assert reader.statistics().sessions == 1


async def throttled(topic: FakeTopic, seconds: int) -> None:
    """The broker answers one fetch, and is silent from then on."""
    topic.throttles_for = seconds * 1000
    topic.append("read")
    await asyncio.sleep(0.5)
    topic.fetching.stuck = True


async def test_a_silence_that_a_broker_has_announced_ends_no_session_and_names_the_cause() -> None:
    topic = FakeTopic()
    async with reader_of(topic) as reader:
        await throttled(topic, 20)
        topic.append("waits")
        await asyncio.sleep(5)
        assert not reader.caught_up
        assert "throttled by the broker" in str(reader.why_late())
        assert "throttled by the broker" in str(reader.why_behind())
        assert f"{TOPIC}[0]" in str(reader.why_behind())
        await asyncio.sleep(14)
        topic.fetching.stuck = False
        await asyncio.sleep(5)
        assert (reader.statistics().sessions, reader.statistics().read) == (1, 2)
        assert (reader.why_late(), reader.why_behind()) == (None, None)


async def test_a_silence_that_outlasts_its_announcement_is_noticed() -> None:
    topic = FakeTopic()
    async with reader_of(topic) as reader:
        await throttled(topic, 20)
        assert 19 < await until(reader, positioned=False) < 27
        assert reader.last_error == f"no fetch of {TOPIC}[0, 1] is answered any more"
