"""Messages that no actor will handle are counted, kept and shown."""

from __future__ import annotations

import pytest
from pykka import ActorDeadError
from support.fakes import recorder
from support.settling import settle

from actors.runtime.dead_letters import DEAD_LETTERS, DeadLetter, DeadLetters


async def test_a_message_to_a_dead_actor_raises_and_is_a_dead_letter() -> None:
    ref, received = recorder()
    await ref.stop()
    before = DEAD_LETTERS.count
    seen: list[DeadLetter] = []
    with DEAD_LETTERS.watch(seen.append):
        with pytest.raises(ActorDeadError, match="not found"):
            ref.tell("told")
        assert ref.try_tell("tried") is False
        with pytest.raises(ActorDeadError):
            await ref.ask("asked")
    assert DEAD_LETTERS.count == before + 3
    assert [letter.message for letter in seen] == ["told", "tried", "asked"]
    assert {letter.receiver for letter in seen} == {str(ref)}
    assert DEAD_LETTERS.recent[-3:] == tuple(seen)
    assert received == []


async def test_try_tell_says_that_a_message_is_on_its_way() -> None:
    ref, received = recorder()
    before = DEAD_LETTERS.count
    assert ref.try_tell("message") is True
    await ref.stop()
    assert received == ["message"]
    assert DEAD_LETTERS.count == before


async def test_messages_left_in_the_mailbox_at_the_end_are_dead_letters_and_answered() -> None:
    ref, received = recorder()
    seen: list[DeadLetter] = []
    with DEAD_LETTERS.watch(seen.append):
        ref.tell("before")
        stopped = ref.stop()
        ref.tell("behind the stop")
        asked = ref.ask("asked behind the stop")
        assert await stopped
        with pytest.raises(ActorDeadError, match="stopped before handling"):
            await asked
    assert received == ["before"]
    assert [letter.message for letter in seen] == ["behind the stop", "asked behind the stop"]


async def test_more_messages_than_one_turn_takes_are_all_buried() -> None:
    ref, _ = recorder()
    before = DEAD_LETTERS.count
    ref.tell_stop()
    for number in range(1000):
        ref.tell(number)
    await settle()
    assert DEAD_LETTERS.count == before + 1000
    assert ref.statistics().mailbox_depth == 0


async def test_stops_left_in_the_mailbox_are_no_dead_letters() -> None:
    ref, _ = recorder()
    before = DEAD_LETTERS.count
    ref.tell_stop()
    ref.tell_stop()
    await settle()
    assert not ref.is_alive()
    assert DEAD_LETTERS.count == before


def test_only_the_last_ones_are_kept_and_all_are_counted() -> None:
    letters = DeadLetters(keep=3)
    for number in range(10):
        letters.add(number, "someone")
    assert letters.count == 10
    assert [letter.message for letter in letters.recent] == [7, 8, 9]


def test_a_watcher_is_shown_letters_only_while_it_watches() -> None:
    letters = DeadLetters()
    seen: list[DeadLetter] = []
    letters.add("before", "someone")
    with letters.watch(seen.append):
        letters.add("during", "someone")
    letters.add("after", "someone")
    assert seen == [DeadLetter("during", "someone")]


def test_a_watcher_that_raises_is_logged_and_keeps_nobody_from_watching(
    caplog: pytest.LogCaptureFixture,
) -> None:
    letters = DeadLetters()
    seen: list[DeadLetter] = []

    def broken(_letter: DeadLetter) -> None:
        raise ValueError("broken watcher")

    with letters.watch(broken), letters.watch(seen.append):
        letters.add("message", "someone")
    assert [letter.message for letter in seen] == ["message"]
    assert letters.count == 1
    assert "A watcher of the dead letters failed" in caplog.text


def test_a_watcher_may_stop_watching_while_it_is_told() -> None:
    letters = DeadLetters()
    seen: list[DeadLetter] = []

    def once(_letter: DeadLetter) -> None:
        watching.__exit__(None, None, None)

    watching = letters.watch(once)
    watching.__enter__()
    with letters.watch(seen.append):
        letters.add("one", "someone")
        letters.add("two", "someone")
    assert [letter.message for letter in seen] == ["one", "two"]
