"""A log that is cut while it is read is found, before anything of it is handled or proves anything.

On a virtual clock, with a topic in memory. Its id and its cluster's stay the same throughout.
"""

from __future__ import annotations

import asyncio

import pytest
from support.cut_logs import EVERYTHING, cut_and_grown, errors, ten_read
from support.log import FakeTopic
from support.stored_reading import StoredReading

from domain.errors import KafkaUnavailable


@pytest.mark.parametrize("noticed", ["by a fetch", "by a look"])
async def test_what_is_cut_while_it_is_read_is_found_before_anything_new_is_handled(
    noticed: str,
) -> None:
    topic = ten_read()
    it = StoredReading(topic)
    async with it.life():
        await asyncio.sleep(0.5)
        if noticed == "by a look":
            topic.fetching.stuck = True
        cut_and_grown(topic)
        topic.fetching.stuck = False
        if noticed == "by a fetch":
            topic.change()
        await it.until("positioned", so=False)
        assert it.reader.last_error == "topic[0] is not the log that we have read"
        assert not any("new" in value for value in it.values)
        await it.read_to_end()
        assert sorted(it.values) == sorted(EVERYTHING)
        assert it.rewound == 1


async def test_a_cut_log_proves_nothing() -> None:
    topic = ten_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        await asyncio.sleep(0.5)
        topic.fetching.stuck = True
        topic.truncate(5)
        topic.append(*range(5))  # it ends where it ended before
        with pytest.raises(KafkaUnavailable, match="is not the log that we have read"):
            await reader.catch_up()


async def test_an_end_that_is_cut_before_it_was_read_is_not_waited_for() -> None:
    topic = ten_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        await asyncio.sleep(0.5)
        topic.open_transaction()  # fetches are answered, with nothing
        topic.append(*range(20))
        proof = asyncio.ensure_future(reader.catch_up())
        await it.until("caught_up", so=False)
        assert not proof.done()
        topic.end_transaction()
        topic.truncate(10)  # all of it: what was read is as before
        topic.append("new")
        await proof
        assert await it.until("caught_up") < 2
        assert it.rewound == 0
        assert it.values[-1] == "new"


@pytest.mark.parametrize("reads", [True, False], ids=["with new records", "without"])
async def test_a_leader_that_moves_in_good_order_is_not_felt(
    reads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    topic = ten_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        for number in range(5):
            topic.move_leader()
            if reads:
                topic.append(f"next {number}")
            await reader.catch_up()
            await asyncio.sleep(0.7)
        assert it.sessions == 1
        assert len([value for value in it.values if "next" in value]) == (5 if reads else 0)
    assert it.rewound == 0
    assert not errors(caplog)
    async with it.life():
        assert it.rewound == 0


async def test_a_backlog_of_many_epochs_is_read_in_one_go() -> None:
    topic = FakeTopic(partitions=1)
    for number in range(20):
        topic.append(number)
        topic.move_leader()
    it = StoredReading(topic)
    async with it.life():
        await asyncio.sleep(2)
        assert it.values == list(range(20))
        assert it.sessions == 1
    assert topic.asked.count("epochs") == 1, "once, as it began"
