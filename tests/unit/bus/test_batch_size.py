"""How large a batch may be after Kafka has refused one, and for how long."""

from __future__ import annotations

from bus.kafka.batch_size import BATCH_BYTES, FIRST_RETRY, LONGEST_RETRY, BatchSize


def test_without_a_refusal_a_batch_has_its_full_size() -> None:
    size = BatchSize("topic")
    assert size.most(0.0) == BATCH_BYTES
    size.limit_is(1_048_588)
    assert size.most(0.0) == BATCH_BYTES
    size.limit_is(None)
    assert size.most(0.0) == BATCH_BYTES


def test_the_topics_own_limit_counts_before_anything_is_refused() -> None:
    size = BatchSize("topic")
    size.limit_is(4096)
    assert size.most(0.0) == 4096


def test_refusals_of_the_halves_of_one_batch_make_batches_smaller_each_time() -> None:
    size = BatchSize("topic")
    size.refused(BATCH_BYTES, 0.0)
    assert size.most(0.0) == BATCH_BYTES // 2
    size.refused(BATCH_BYTES // 2, 0.1)
    assert size.most(0.2) == BATCH_BYTES // 4


def test_the_full_size_is_tried_again_after_a_second() -> None:
    size = BatchSize("topic")
    size.refused(1000, 0.0)
    assert size.most(FIRST_RETRY - 0.01) == 500
    assert size.most(FIRST_RETRY) == BATCH_BYTES


def test_each_attempt_that_fails_doubles_the_time_until_the_next_up_to_a_minute() -> None:
    size, now, waits = BatchSize("topic"), 0.0, []
    for _ in range(9):
        size.refused(1000, now)
        began = now
        while size.most(now) < BATCH_BYTES:
            now += 0.25
        waits.append(now - began)
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_RETRY, LONGEST_RETRY, LONGEST_RETRY]


def test_a_limit_that_is_read_after_a_refusal_counts_more_than_the_guess() -> None:
    reads: list[None] = []
    size = BatchSize("topic", read_settings=lambda: reads.append(None))
    size.refused(BATCH_BYTES, 0.0)
    assert len(reads) == 1
    size.limit_is(100_000)
    assert size.most(0.0) == 100_000


def test_a_small_limit_is_read_again_since_it_may_have_been_small_for_a_moment() -> None:
    reads: list[None] = []
    size = BatchSize("topic", read_settings=lambda: reads.append(None))
    size.refused(BATCH_BYTES, 0.0)
    size.limit_is(512)
    assert size.most(FIRST_RETRY) == 512
    assert len(reads) == 2
    size.limit_is(1_048_588)
    assert size.most(FIRST_RETRY) == BATCH_BYTES


def test_a_topic_that_is_limited_for_good_is_not_asked_all_the_time() -> None:
    reads: list[None] = []
    size = BatchSize("topic", read_settings=lambda: reads.append(None))
    size.refused(BATCH_BYTES, 0.0)
    size.limit_is(512)
    for tenth in range(6000):  # ten minutes
        size.most(tenth / 10)
    assert len(reads) < 20


def test_a_refusal_after_a_large_batch_was_accepted_is_a_first_one_again() -> None:
    size = BatchSize("topic")
    for now in (0.0, 10.0, 20.0):
        size.refused(1000, now)
        size.most(now + LONGEST_RETRY)
    size.accepted(BATCH_BYTES)
    size.refused(1000, 300.0)
    assert size.most(300.0 + FIRST_RETRY) == BATCH_BYTES
