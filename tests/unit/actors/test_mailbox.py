"""A mailbox that other threads put messages into."""

from __future__ import annotations

import sys
import threading
from typing import Any

from actors.runtime.mailbox import Mailbox


def test_a_mailbox_loses_nothing_to_threads_that_are_switched_at_every_step() -> None:
    mailbox, each, interval = Mailbox(), 20_000, sys.getswitchinterval()

    def put_all(name: str) -> None:
        for number in range(each):
            mailbox.put((name, number))

    threads = [threading.Thread(target=put_all, args=(name,)) for name in "abc"]
    received: list[tuple[str, int]] = []
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            while not mailbox.empty():
                received.append(mailbox.get())
        while not mailbox.empty():
            received.append(mailbox.get())
    finally:
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
    for name in "abc":
        assert [number for who, number in received if who == name] == list(range(each))
    assert len(mailbox) == 0


def rest(mailbox: Mailbox) -> list[Any]:
    found = []
    while not mailbox.empty():
        found.append(mailbox.get())
    return found


def test_a_message_that_comes_while_others_are_taken_out_is_not_lost() -> None:
    class Interrupted(list[Any]):
        def copy(self) -> list[Any]:
            before = super().copy()
            mailbox.put("from another thread")
            return before

    mailbox = Mailbox()
    mailbox.arrived = Interrupted(range(30))
    assert rest(mailbox) == [*range(30), "from another thread"]


def test_a_thread_that_is_stopped_just_before_it_adds_a_message_still_adds_it() -> None:
    mailbox = Mailbox()
    for number in range(30):
        mailbox.put(number)
    add = mailbox.arrived.append  # so far another thread has come within `put`
    assert [mailbox.get(), mailbox.get()] == [0, 1]
    add("late")
    assert rest(mailbox) == [*range(2, 30), "late"]
