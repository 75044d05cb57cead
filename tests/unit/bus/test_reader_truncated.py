"""A log that was cut below our position and has grown past it since: it is found out, always.

On a virtual clock, with a topic in memory. Its id and its cluster's stay the same throughout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from support.log import FakeTopic
from support.readings import Reading

from bus.kafka.positioning import Start
from domain.errors import KafkaUnavailable


def ten_read() -> FakeTopic:
    topic = FakeTopic(partitions=2)
    topic.append(*[f"old {n}" for n in range(10)])
    topic.append("other", partition=1)
    return topic


def cut_and_grown(topic: FakeTopic, *, new_epoch: bool = True, to: int = 5) -> None:
    topic.truncate(to, new_epoch=new_epoch)
    topic.append(*[f"new {n}" for n in range(40)])


EVERYTHING = [*[f"old {n}" for n in range(5)], *[f"new {n}" for n in range(40)], "other"]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


# ------------------------------------------------------------------------ while we were away


@pytest.mark.parametrize("new_epoch", [True, False], ids=["a new epoch", "the epoch repeats"])
@pytest.mark.parametrize("tells_epochs", [True, False], ids=["epochs are told", "no epochs"])
async def test_what_was_cut_while_nothing_ran_is_found_at_the_start(
    new_epoch: bool, tells_epochs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    topic = ten_read()
    topic.tells_epochs = tells_epochs
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    cut_and_grown(topic, new_epoch=new_epoch)
    async with it.life():
        assert sorted(it.values) == sorted(EVERYTHING)
        assert it.rewound == 1
    (error,) = errors(caplog)
    assert "topic[0] is not the log that we read to 10" in error


async def test_the_error_names_where_the_logs_part_and_how_it_was_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = ten_read()
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    cut_and_grown(topic)
    async with it.life():
        pass
    (error,) = errors(caplog)
    assert error == (
        "topic[0] is not the log that we read to 10: it differs from 5 on (its last batch "
        "below that was of leader epoch 0; now batches of this epoch or earlier ones end at 5)"
    )


async def test_one_record_that_differs_is_enough_where_epochs_repeat(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = ten_read()
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    topic.truncate(9, new_epoch=False)
    topic.append("another last")
    async with it.life():
        assert "another last" in it.values
        assert it.rewound == 1
    assert "there is another record at 9 than the one that we read" in errors(caplog)[0]


async def test_a_record_where_there_was_none_is_another_log() -> None:
    topic = FakeTopic(partitions=1)
    topic.append("a", "b")
    topic.marker()
    topic.marker()
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    topic.truncate(3, new_epoch=False)
    topic.append("hidden", "c")
    async with it.life():
        assert it.values == ["a", "b", "hidden", "c"]
        assert it.rewound == 1


@pytest.mark.parametrize("tells_epochs", [True, False])
async def test_a_log_that_only_grew_or_was_compacted_is_read_on(tells_epochs: bool) -> None:
    topic = ten_read()
    topic.abort("never seen")
    topic.append("last")
    topic.tells_epochs = tells_epochs
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    log = topic.partitions[0]
    log.records = [(offset, value) for offset, value in log.records if offset not in {7, 9}]
    topic.append("next")
    before = list(it.values)
    async with it.life():
        assert it.values == [*before, "next"]
        assert it.rewound == 0


async def test_a_log_of_which_all_was_deleted_by_retention_proves_nothing_against_it() -> None:
    topic = ten_read()
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    topic.cut(10)
    topic.append("next")
    async with it.life():
        assert it.rewound == 0
        assert it.values[-1] == "next"


async def test_positions_that_were_stored_without_marks_are_read_on() -> None:
    topic = ten_read()
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    assert it.stored is not None
    positions, identity, _ = it.stored
    it.stored = (positions, identity, {})
    topic.append("next")
    async with it.life():
        assert it.values[-1] == "next"
        assert it.rewound == 0


@pytest.mark.parametrize("rewinds", [True, False])
async def test_marks_are_carried_from_session_to_session(rewinds: bool) -> None:
    topic = ten_read()
    it = Reading(topic, rewinds=rewinds)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic)
        await it.read_to_end()
        assert [value for value in it.values if "new" in value] == EVERYTHING[5:45]
        assert it.rewound == (1 if rewinds else 0)


async def test_without_rewind_it_is_read_again_from_where_the_logs_part() -> None:
    topic = ten_read()
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.append("read")
        await it.read_to_end()
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic)
        await it.read_to_end()
        assert it.values == ["read", *EVERYTHING[5:45]]


async def test_without_rewind_and_epochs_that_partition_is_read_again_from_its_beginning() -> None:
    topic = ten_read()
    topic.tells_epochs = False
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.append("read")
        await it.read_to_end()
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic, new_epoch=False)
        await it.read_to_end()
        assert it.values == ["read", *EVERYTHING[:45]]


async def test_an_end_of_an_epoch_that_was_given_twice_does_not_say_where_the_logs_part() -> None:
    topic = ten_read()
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.append("read", "too")
        await it.read_to_end()
        topic.break_connections()
        await it.until("positioned", so=False)
        topic.truncate(10, new_epoch=False)
        topic.append("new")  # it ends at 11, and has another record at 10
        await it.read_to_end()
        assert it.values == ["read", "too", *[f"old {n}" for n in range(10)], "new"]


async def test_a_log_that_was_read_from_its_end_and_never_grew_is_compared_too() -> None:
    topic = ten_read()
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic)
        await it.read_to_end()
        assert it.values == EVERYTHING[5:45]


@pytest.mark.parametrize("tells_epochs", [True, False], ids=["epochs are told", "no epochs"])
async def test_so_it_is_where_the_epoch_repeats(tells_epochs: bool) -> None:
    topic = ten_read()
    topic.tells_epochs = tells_epochs
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic, new_epoch=False)
        await it.read_to_end()
        assert it.values == EVERYTHING[:45], "nothing says where the logs part"


async def test_it_is_compared_too_behind_records_of_a_transaction_that_was_aborted() -> None:
    topic = ten_read()
    topic.abort("never seen")
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        await it.read_to_end()
        assert it.values == [], "nothing has changed"
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic, new_epoch=False, to=11)
        await it.read_to_end()
        assert it.values == [*[f"old {n}" for n in range(10)], *EVERYTHING[5:45]]


async def test_a_log_that_is_read_on_from_where_it_was_cut_is_compared_from_there() -> None:
    topic = ten_read()
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        topic.truncate(7)
        await it.read_to_end()
        topic.break_connections()
        await it.until("positioned", so=False)
        topic.truncate(5, new_epoch=False)
        topic.append(*[f"new {n}" for n in range(40)])
        await it.read_to_end()
        assert it.values == EVERYTHING[:45]


async def test_a_partition_that_was_empty_at_the_start_has_nothing_to_compare() -> None:
    topic = FakeTopic(partitions=1)
    it = Reading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        topic.append("first")
        await it.read_to_end()
        assert it.values == ["first"]
    assert "records" not in topic.asked


# ------------------------------------------------------------------------- while it is read


@pytest.mark.parametrize("noticed", ["by a fetch", "by a look"])
async def test_what_is_cut_while_it_is_read_is_found_before_anything_new_is_handled(
    noticed: str,
) -> None:
    topic = ten_read()
    it = Reading(topic)
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
    it = Reading(topic)
    async with it.life() as reader:
        await asyncio.sleep(0.5)
        topic.fetching.stuck = True
        topic.truncate(5)
        topic.append(*range(5))  # it ends where it ended before
        with pytest.raises(KafkaUnavailable, match="is not the log that we have read"):
            await reader.catch_up()


async def test_an_end_that_is_cut_before_it_was_read_is_not_waited_for() -> None:
    topic = ten_read()
    it = Reading(topic)
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
    it = Reading(topic)
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
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(2)
        assert it.values == list(range(20))
        assert it.sessions == 1
    assert topic.asked.count("epochs") == 1, "once, as it began"


# ------------------------------------------------------------------------------- distrust


async def test_what_is_not_trusted_any_more_is_read_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = ten_read()
    it = Reading(topic)
    async with it.life():
        await asyncio.sleep(1)
    it.reason = "it was stopped for longer than tombstones are there"
    it.values.append("ghost")
    async with it.life():
        assert "ghost" not in it.values
        assert it.rewound == 1
        topic.break_connections()
        await it.until("positioned", so=False)
        await it.read_to_end()
        assert it.rewound == 1
    assert "What was read of topic is not trusted: it was stopped for longer" in caplog.text


async def test_a_first_start_has_nothing_to_distrust() -> None:
    it = Reading(ten_read())
    it.reason = "no reason"
    async with it.life():
        assert it.rewound == 0


# ----------------------------------------------------------------------------- safeguards


async def test_a_broker_that_tells_everything_misses_no_safeguard() -> None:
    it = Reading(ten_read())
    async with it.life():
        assert it.safeguards.list() == {}


def _no_ids(topic: FakeTopic) -> None:
    topic.tells_id = False


def _no_epochs(topic: FakeTopic) -> None:
    topic.tells_epochs = False


@pytest.mark.parametrize(
    ("without", "names"),
    [
        (_no_ids, {"topic: topic id", "topic: leader epochs"}),
        (_no_epochs, {"topic: leader epochs"}),
    ],
)
async def test_what_a_broker_does_not_tell_is_noted_once(
    without: Callable[[FakeTopic], None], names: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    topic = ten_read()
    without(topic)
    it = Reading(topic)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        await it.read_to_end()
        assert set(it.safeguards.list()) == names
    noted = [record for record in caplog.records if "Safeguard missing" in record.message]
    assert len(noted) == len(names)
