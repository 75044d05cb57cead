"""A reader that is behind its topic says so now, and why; behind an open transaction too.

On a virtual clock, with a topic in memory.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from support.log import FakeTopic
from support.stored_reading import StoredReading

from bus.kafka.lag import MOST
from bus.kafka.positioning import Start
from domain.errors import KafkaUnavailable


def three_read() -> FakeTopic:
    topic = FakeTopic(partitions=2)
    topic.append("a", "b", "c")
    return topic


# -------------------------------------------------------------------------- transactions


async def test_the_end_of_a_log_lies_behind_what_is_committed_behind_an_open_transaction() -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        topic.open_transaction()
        topic.append("committed by somebody else")
        waiting = reader.prove()
        await asyncio.sleep(30)
        assert not waiting.done()
        assert it.values == ["a", "b", "c"]
        topic.end_transaction()
        async with asyncio.timeout(1):
            await waiting
        assert it.values == ["a", "b", "c", "committed by somebody else"]


async def test_an_open_transaction_is_named_as_the_cause_with_what_helps() -> None:
    topic = three_read()
    topic.append("x", partition=1)
    it = StoredReading(topic)
    async with it.life() as reader:
        assert reader.why_behind() is None
        topic.open_transaction()
        topic.append(*range(6))
        await asyncio.sleep(1.5)
        assert reader.why_behind() == (
            "a transaction is open in topic[0] since offset 3: 7 records from there on cannot be "
            "read before it ends; kafka-transactions.sh can find and abort a hanging one"
        )
        topic.end_transaction()
        await asyncio.sleep(1.5)
        assert reader.why_behind() is None


async def test_a_reader_that_begins_behind_an_open_transaction_is_not_caught_up() -> None:
    topic = three_read()
    topic.open_transaction()
    topic.append("d")
    it = StoredReading(topic)
    async with it.life(caught_up=False) as reader:
        await asyncio.sleep(60)
        assert reader.positioned
        assert not reader.caught_up
        assert "a transaction is open in topic[0] since offset 3" in (reader.why_behind() or "")
        assert it.sessions == 1
        topic.end_transaction()
        await it.until("caught_up", within=1)


async def test_what_an_open_transaction_commits_later_is_read_by_who_began_at_the_end() -> None:
    topic = three_read()
    topic.open_transaction()
    topic.append("committed later")
    it = StoredReading(topic, start=Start.END, rewinds=False)
    async with it.life(caught_up=False):
        topic.end_transaction()
        await it.until("caught_up")
        assert it.values == ["committed later"]


# ----------------------------------------------------------------------------- caught up


async def test_a_reader_that_lags_is_not_caught_up_until_it_has_read_that() -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        await asyncio.sleep(5)
        # Answered, with nothing: a fetcher that is not answered ends the session sooner or later.
        topic.open_transaction()
        topic.append(*range(100))
        felt = await it.until("caught_up", so=False)
        assert MOST < felt <= MOST + 1.1
        assert reader.positioned
        assert "101 records" in (reader.why_behind() or "")
        topic.end_transaction()
        assert await it.until("caught_up") < 1.5
        assert it.sessions == 1


async def test_how_far_it_is_behind_is_told_by_partition() -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        await asyncio.sleep(0.5)
        topic.fetching.stuck = True
        topic.append("d", "e")
        topic.append("x", partition=1)
        await asyncio.sleep(1)
        assert reader.why_behind() == (
            "topic[0] is read to 3, 2 records behind its end; "
            "topic[1] is read to 0, 1 records behind its end"
        )


async def test_a_busy_topic_does_not_make_it_flap() -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        for number in range(2000):
            topic.append(number, partition=number % 2)
            await asyncio.sleep(0.01)
            assert reader.caught_up
        assert it.sessions == 1


async def test_what_is_held_back_by_its_store_is_a_lag_too() -> None:
    topic = three_read()
    it = StoredReading(topic)
    room = asyncio.Event()
    room.set()
    it.held_by = room
    async with it.life() as reader:
        room.clear()
        topic.append("d")
        await asyncio.sleep(0.5)
        topic.append("e")
        await it.until("caught_up", so=False)
        assert reader.positioned
        room.set()
        await it.until("caught_up", within=1)


# ------------------------------------------------------------------------- never written


async def test_a_topic_that_never_had_a_record_is_known_as_such() -> None:
    topic = FakeTopic()
    it = StoredReading(topic)
    assert not it.reader.never_written, "not before it was seen"
    async with it.life() as reader:
        assert reader.never_written
        topic.append("a")
        await asyncio.sleep(1.5)
        assert not reader.never_written


async def test_a_topic_of_which_everything_was_deleted_had_records_once() -> None:
    topic = three_read()
    topic.cut(3)
    it = StoredReading(topic)
    async with it.life() as reader:
        assert not reader.never_written


# --------------------------------------------------------------------------------- proof


async def test_a_proof_fails_at_once_while_nothing_can_be_proven() -> None:
    it = StoredReading(three_read())
    proof = it.reader.prove()
    assert proof.done()
    with pytest.raises(KafkaUnavailable, match="not connected yet"):
        await proof


async def test_a_proof_that_is_not_wanted_any_more_disturbs_nobody() -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        proofs = [reader.prove() for _ in range(3)]
        proofs[1].cancel()
        await proofs[0]
        await proofs[2]


async def test_from_the_second_one_on_proofs_are_asked_for_in_the_quick_way() -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        await reader.catch_up()
        await asyncio.sleep(0.1)
        long = topic.asked.count("metadata")
        for number in range(100):
            topic.append(number)
            await reader.catch_up()
            assert it.values[-1] == number
        assert topic.quick_rounds == 100
        assert topic.asked.count("metadata") - long <= 1, "but for the look of each second"


@pytest.mark.parametrize("change", ["grow", "move_leader", "break_connections", "answering"])
async def test_whatever_changes_is_found_out_in_the_long_way(change: str) -> None:
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        await reader.catch_up()
        await reader.catch_up()
        await asyncio.sleep(0.1)
        match change:
            case "grow":
                topic.grow(2)
                topic.append("there", partition=2)
            case "move_leader":
                topic.move_leader()
                topic.append("there")
            case "break_connections":
                for connection in topic.raw:
                    connection.lose()
                topic.append("there")
            case "answering":
                topic.raw[-1].deaf = True
                topic.append("there")
        async with asyncio.timeout(10):
            await reader.catch_up()
        assert "there" in it.values
        assert it.sessions == 1
        rounds = topic.quick_rounds
        await asyncio.sleep(0.1)
        await reader.catch_up()
        assert topic.quick_rounds == rounds + 1, "and then in the quick way again"


async def test_without_a_connection_for_it_the_long_way_is_taken() -> None:
    topic = three_read()
    topic.quick = False
    it = StoredReading(topic)
    async with it.life() as reader:
        for number in range(5):
            topic.append(number)
            await reader.catch_up()
            assert it.values[-1] == number
        assert it.sessions == 1


async def test_many_who_ask_one_after_the_other_share_rounds_and_none_waits_long() -> None:
    topic = three_read()
    it = StoredReading(topic)
    loop = asyncio.get_running_loop()
    waited: list[float] = []

    def done(since: float, _: object) -> None:
        waited.append(loop.time() - since)

    async with it.life() as reader:
        await reader.catch_up()
        await asyncio.sleep(0.1)
        asked = topic.asked.count("ends")
        for _ in range(1000):
            reader.prove().add_done_callback(partial(done, loop.time()))
            await asyncio.sleep(0.0001)
        await reader.catch_up()
        assert topic.asked.count("ends") - asked < 150
        assert len(waited) == 1000
        assert max(waited) < 0.003


async def test_a_partition_that_is_added_while_the_end_is_asked_for_is_read_before_a_proof() -> (
    None
):
    topic = three_read()
    it = StoredReading(topic)
    async with it.life() as reader:
        answer = topic.answer

        async def answer_and_grow(question: str) -> None:
            await answer(question)
            if question == "ends" and 2 not in topic.partitions:
                topic.grow(2)
                topic.append("in a new partition", partition=2)

        topic.answer = answer_and_grow  # type: ignore[method-assign]
        topic.move_leader()  # so that the long way is taken
        await reader.catch_up()
        assert "in a new partition" in it.values
        await asyncio.sleep(5)
        assert reader.caught_up
