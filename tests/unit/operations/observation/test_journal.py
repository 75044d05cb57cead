"""What is remembered of each takedown, by real censors on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

from support.fakes import ITEM, OTHER_ITEM, deletion, item_id, places, takedown
from support.lookout import Lookout, lookout
from support.settling import settle

from actors.fsm.transitions import Entered, Left, Transition
from actors.item_censor.states import (
    Answer,
    ItemsToBeDeleted,
    ItemToBeLocated,
    State,
    Uninitialized,
)
from domain.messages import (
    Begin,
    Container,
    ContainerId,
    ContainersFound,
    Deleted,
    NotFound,
    Outcome,
    TimedOut,
)
from operations.observation.history import Journal


def names(record: Any) -> list[str]:
    return [type(event).__name__ for event in record.steps[1::2]]


def the_last(look: Lookout) -> Any:
    return look.observatory.journal.finished()[0]


async def test_a_takedown_is_remembered_with_every_event_in_its_order() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        await asyncio.sleep(1)
        look.office.publisher.last.acknowledge()
        await settle()
        await asyncio.sleep(1)
        look.office.delete("a", "b")
        await settle()

        record = the_last(look)
        assert isinstance(await asked, Deleted)
        assert record.outcome == "Deleted"
        assert names(record) == [
            "ContainersFound",
            "RequestsPublished",
            "ItemDeleted",
            "ItemDeleted",
        ]
        began = record.takedown.accepted_at
        assert [at - began for at in record.steps[::2]] == [0, 1, 2, 2]
        assert record.ended - began == 2
        assert record.outstanding == frozenset()
        assert look.observatory.journal.in_flight == 0


async def test_phases_are_measured_from_their_own_beginnings() -> None:
    async with lookout() as look:
        look.office.catalogue.silent = True
        asked = look.office.ask()
        await settle()
        await asyncio.sleep(1)
        ((search, tell),) = look.office.catalogue.searches
        tell(ContainersFound(search.takedown_id, places("a")))
        await settle()
        await asyncio.sleep(2)
        look.office.publisher.last.acknowledge()
        await asyncio.sleep(0.5)
        look.office.delete("a")
        assert isinstance(await asked, Deleted)
        await settle()

        journal = look.observatory.journal
        assert (journal.located.total, sum(journal.located.counts)) == (1, 1)
        assert (journal.acknowledged.total, sum(journal.acknowledged.counts)) == (2, 1)
        assert (journal.deleted.total, sum(journal.deleted.counts)) == (2.5, 1)
        assert journal.durations["Deleted"].total == 3.5


async def test_an_acknowledgement_after_the_answer_is_measured_and_shown_late() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        look.office.delete("a", "b")
        await asked
        await settle()
        await asyncio.sleep(4)
        look.office.publisher.last.acknowledge()
        await settle()

        journal = look.observatory.journal
        record = the_last(look)
        assert journal.acknowledged.total == 4
        assert names(record)[-1] == "RequestsPublished"
        assert record.own == 2 * 3
        assert record.late == 0


async def test_an_acknowledgement_of_the_actors_earlier_takedown_is_not_this_ones() -> None:
    async with lookout(pool_max=1) as look:
        first = look.office.ask()
        await settle()
        early = look.office.publisher.last
        look.office.delete("a", "b")
        await first
        await settle()
        second = look.office.ask()
        await settle()
        await asyncio.sleep(3)
        early.acknowledge()
        await settle()
        await asyncio.sleep(1)
        look.office.publisher.last.acknowledge()
        look.office.delete("a", "b")
        await second
        await settle()

        assert look.observatory.journal.acknowledged.total == 4
        shown = look.observatory.takedown(the_last(look).takedown.takedown_id)
        assert shown is not None
        told = [step.event for step in shown.steps]
        assert told.count("RequestsPublished") == 1


async def test_a_504_keeps_what_was_outstanding_and_hears_of_it_late() -> None:
    async with lookout() as look:
        asked = look.office.ask(seconds=5)
        await settle()
        look.office.publisher.last.acknowledge()
        look.office.delete("b")
        await asyncio.sleep(5)
        assert isinstance(await asked, TimedOut)
        await settle()

        record = the_last(look)
        assert record.outstanding == {"a"}
        journal = look.observatory.journal
        event = deletion("a")
        assert look.office.bus.publish(event) == 0
        await asyncio.sleep(1)
        journal.unmatched(event)
        assert (record.late, journal.late_events) == (1, 1)
        assert names(record)[-2:] == ["DeadlinePassed", "ItemDeleted"]
        assert record.steps[-2] - record.ended == 1
        journal.unmatched(deletion("b"))  # it was not outstanding
        journal.unmatched(deletion("a", OTHER_ITEM))
        assert journal.late_events == 1


async def test_a_crash_is_a_failed_takedown_and_the_actor_goes_on() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        await look.office.crash()
        assert type(await asked).__name__ == "Failed"

        assert the_last(look).outcome == "Failed"
        assert look.observatory.journal.in_flight == 0
        again = look.office.ask()
        await settle()
        look.office.delete("a", "b")
        assert isinstance(await again, Deleted)
        await settle()
        assert the_last(look).outcome == "Deleted"


async def test_what_was_in_flight_before_it_looked_is_taken_in() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        journal = Journal(now=asyncio.get_running_loop().time)
        unsubscribe = look.office.feed.subscribe(journal)
        assert journal.in_flight == 1
        look.office.delete("a", "b")
        await asked
        await settle()
        assert [record.outcome for record in journal.finished()] == ["Deleted"]
        unsubscribe()


# ------------------------------------------------------------------------- what is bounded


def carry(
    journal: Journal,
    number: int,
    outcome: Outcome,
    *,
    containers: int = 1,
    events: int = 0,
) -> str:
    """One takedown of an actor of its own, straight into the journal; returns its id."""
    request = takedown(item_id(number))
    urn = f"urn:uuid:{number}"
    everywhere = tuple(Container(ContainerId(f"c{n}"), "group") for n in range(containers))
    data = ItemsToBeDeleted(request, everywhere, frozenset(c.container_id for c in everywhere))
    found = ContainersFound(request.takedown_id, everywhere)
    begin: Any = Begin(request, None)  # type: ignore[arg-type]

    def step(source: State, event: Any, target: State, before: Any, after: Any, *done: Any) -> None:
        journal(Transition(urn, "ItemCensor", source, event, target, before, after, 1.0, done))

    located = ItemToBeLocated(request)
    step(State.IDLE, begin, State.LOCATING, Uninitialized(), located)
    step(State.LOCATING, found, State.ACTIVE, located, data)
    for n in range(events):
        step(State.ACTIVE, deletion(f"x{n}", request.item_id), State.ACTIVE, data, data)
    last = deletion("c0", request.item_id)
    step(State.ACTIVE, last, State.IDLE, data, Uninitialized(), Answer(outcome))
    return request.takedown_id


def test_many_good_ones_do_not_push_the_bad_one_out() -> None:
    journal = Journal(now=lambda: 2.0, keep=5)
    bad = carry(journal, 0, TimedOut((), ()))
    for number in range(1, 50):
        carry(journal, number, Deleted(()))

    assert journal.find(bad) is not None
    assert journal.kept == 6
    assert len(journal._finished) == 6
    assert [r.outcome for r in journal.finished()] == ["Deleted"] * 5 + ["TimedOut"]


def test_what_is_forgotten_is_not_listened_for() -> None:
    journal = Journal(now=lambda: 2.0, keep=3)
    for number in range(10):
        carry(journal, number, TimedOut((), ()), containers=4)

    assert len(journal._awaited) == 3 * 4
    journal.unmatched(deletion("c1", item_id(0)))
    assert journal.late_events == 0
    journal.unmatched(deletion("c1", item_id(9)))
    assert journal.late_events == 1


def test_events_beyond_the_bound_are_counted_and_not_kept() -> None:
    journal = Journal(now=lambda: 2.0, most_steps=4)
    found = journal.find(carry(journal, 1, TimedOut((), ()), events=100))

    assert found is not None
    assert len(found.steps) == 8
    assert found.dropped == 1 + 100 + 1 - 4
    for _ in range(10):
        journal.unmatched(deletion("c0", item_id(1)))
    assert len(found.steps) == 8


def test_an_item_in_very_many_containers_is_not_kept_whole() -> None:
    journal = Journal(now=lambda: 2.0, most_weight=1000, most_late=50)
    found = journal.find(carry(journal, 1, TimedOut((), ()), containers=5000))

    assert found is not None
    assert found.containers is None
    assert len(journal._awaited) == 50
    assert found.weight == 0


def test_what_all_of_one_outcome_keep_alive_is_bounded() -> None:
    journal = Journal(now=lambda: 2.0, keep=1000, most_weight=500)
    for number in range(100):
        carry(journal, number, Deleted(()), containers=20, events=10)

    assert sum(record.weight for record in journal.finished()) <= 500
    assert journal._weights["Deleted"] == sum(record.weight for record in journal.finished())
    assert journal.durations["Deleted"].counts != [0] * len(journal.durations["Deleted"].counts)


def test_an_item_that_is_taken_down_twice_is_forgotten_twice() -> None:
    journal = Journal(now=lambda: 2.0, keep=1)
    for _ in range(3):
        carry(journal, 7, TimedOut((), ()), containers=2)

    assert len(journal._awaited) == 2
    journal.unmatched(deletion("c0", item_id(7)))
    assert journal.finished()[0].late == 1


def test_arrivals_and_departures_of_idle_actors_change_nothing() -> None:
    journal = Journal(now=lambda: 2.0)
    journal(Entered("urn:uuid:1", "ItemCensor", State.IDLE, Uninitialized()))
    journal(Left("urn:uuid:1", "ItemCensor"))

    assert (journal.in_flight, journal.kept, journal.transitions()) == (0, 0, 0)


def test_a_404_is_measured_as_the_catalogues() -> None:
    journal = Journal(now=lambda: 2.0)
    request = takedown(ITEM)
    begin: Any = Begin(request, None)  # type: ignore[arg-type]
    located = ItemToBeLocated(request)
    for source, event, target, before, after, at, effects in (
        (State.IDLE, begin, State.LOCATING, Uninitialized(), located, 0.5, ()),
        (
            State.LOCATING,
            ContainersFound(request.takedown_id, ()),
            State.IDLE,
            located,
            Uninitialized(),
            3.0,
            (Answer(NotFound()),),
        ),
    ):
        journal(Transition("u", "ItemCensor", source, event, target, before, after, at, effects))

    assert journal.located.total == 3.0
    assert journal.durations["NotFound"].total == 3.0
    assert sum(journal.deleted.counts) == 0
