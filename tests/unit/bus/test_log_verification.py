"""A log that was cut while nothing read it, and has grown past our position since, is found.

On a virtual clock, with a topic in memory. Its id and its cluster's stay the same throughout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.cut_logs import EVERYTHING, cut_and_grown, errors, ten_read
from support.log import FakeTopic
from support.stored_reading import StoredReading

from bus.kafka.positioning import Start


@pytest.mark.parametrize("new_epoch", [True, False], ids=["a new epoch", "the epoch repeats"])
@pytest.mark.parametrize("tells_epochs", [True, False], ids=["epochs are told", "no epochs"])
async def test_what_was_cut_while_nothing_ran_is_found_at_the_start(
    new_epoch: bool, tells_epochs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    topic = ten_read()
    topic.tells_epochs = tells_epochs
    it = StoredReading(topic)
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
    it = StoredReading(topic)
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
    it = StoredReading(topic)
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
    it = StoredReading(topic)
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
    it = StoredReading(topic)
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
    it = StoredReading(topic)
    async with it.life():
        await asyncio.sleep(1)
    topic.cut(10)
    topic.append("next")
    async with it.life():
        assert it.rewound == 0
        assert it.values[-1] == "next"


async def test_positions_that_were_stored_without_marks_are_read_on() -> None:
    topic = ten_read()
    it = StoredReading(topic)
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
    it = StoredReading(topic, rewinds=rewinds)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic)
        await it.read_to_end()
        assert [value for value in it.values if "new" in value] == EVERYTHING[5:45]
        assert it.rewound == (1 if rewinds else 0)


async def test_without_rewind_it_is_read_again_from_where_the_logs_part() -> None:
    topic = ten_read()
    it = StoredReading(topic, start=Start.END, rewinds=False)
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
    it = StoredReading(topic, start=Start.END, rewinds=False)
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
    it = StoredReading(topic, start=Start.END, rewinds=False)
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
    it = StoredReading(topic, start=Start.END, rewinds=False)
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
    it = StoredReading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        cut_and_grown(topic, new_epoch=False)
        await it.read_to_end()
        assert it.values == EVERYTHING[:45], "nothing says where the logs part"


async def test_it_is_compared_too_behind_records_of_a_transaction_that_was_aborted() -> None:
    topic = ten_read()
    topic.abort("never seen")
    it = StoredReading(topic, start=Start.END, rewinds=False)
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
    it = StoredReading(topic, start=Start.END, rewinds=False)
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
    it = StoredReading(topic, start=Start.END, rewinds=False)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        topic.append("first")
        await it.read_to_end()
        assert it.values == ["first"]
    assert "records" not in topic.asked


async def test_a_broker_that_tells_everything_misses_no_safeguard() -> None:
    it = StoredReading(ten_read())
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
    it = StoredReading(topic)
    async with it.life():
        topic.break_connections()
        await it.until("positioned", so=False)
        await it.read_to_end()
        assert set(it.safeguards.list()) == names
    noted = [record for record in caplog.records if "Safeguard missing" in record.message]
    assert len(noted) == len(names)
