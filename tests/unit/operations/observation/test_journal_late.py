"""What counts as late, and what a timeline shows, in whichever order things were read."""

from __future__ import annotations

import asyncio
from typing import Any

from support.fakes import deletion, gone, listed
from support.lookout import Lookout, lookout
from support.settling import settle

from domain.messages import Deleted, Refused, TimedOut
from operations.observation.schemas.takedowns import Progress, Timeline


def timeline_of(look: Lookout) -> Timeline:
    record = look.observatory.journal.finished()[0]
    shown = look.observatory.takedown(record.takedown.takedown_id)
    assert shown is not None
    return shown


def container(look: Lookout, name: str) -> Progress:
    (found,) = (each for each in timeline_of(look).containers if each.container_id == name)
    return found


def read(look: Lookout, event: Any) -> None:
    """As the service does it with a deletion that it has read."""
    if not look.office.bus.publish(event):
        look.observatory.journal.unmatched(event)


def late(look: Lookout) -> tuple[int, int]:
    journal = look.observatory.journal
    return journal.late_events, journal.finished()[0].late


async def test_duplicates_in_the_mailbox_of_one_that_has_answered_are_not_late() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        for _ in range(100):
            look.office.delete("a", "b")
        assert isinstance(await asked, Deleted)
        await settle()

        assert late(look) == (0, 0)
        assert [each.late for each in timeline_of(look).steps] == [False] * 8


async def test_a_deletion_that_follows_the_list_that_confirmed_is_not_late_and_is_shown() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        look.office.bus.publish(listed("b", after=2))
        look.office.bus.publish(deletion("b", after=2))
        assert await asked == Deleted((gone("a", after=2, by="list"), gone("b", after=2)))
        await settle()
        before = container(look, "a")
        assert (before.deleted, before.heard_at, before.confirmed_by) == (True, None, "list")
        assert before.deleted_at == "2026-01-02T03:04:07.678000Z"

        await asyncio.sleep(1)
        read(look, deletion("a", after=1))
        after = container(look, "a")
        assert late(look) == (0, 0)
        assert after.heard_at is not None
        assert (after.late, after.deleted_at) == (False, before.deleted_at)
        assert timeline_of(look).steps[-1].text == "deleted from a"
        assert timeline_of(look).steps[-2].event == "Answer"

        read(look, deletion("a", after=1))
        assert len(timeline_of(look).steps) == 9, "a duplicate is of no interest"
        assert container(look, "b").confirmed_by == "deletion"


async def test_the_same_in_the_mailbox_of_the_one_that_has_answered() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        look.office.bus.publish(listed(after=2))
        look.office.delete("a", "b")  # it lies behind the list that ends the takedown
        assert isinstance(await asked, Deleted)
        await settle()

        assert late(look) == (0, 0)
        assert container(look, "a").heard_at is not None


async def test_a_deletion_after_the_deadline_is_late_once() -> None:
    async with lookout() as look:
        asked = look.office.ask(seconds=5)
        assert isinstance(await asked, TimedOut)
        await settle()
        for _ in range(3):
            read(look, deletion("a"))

        assert late(look) == (1, 1)
        assert container(look, "a").late
        assert [each.late for each in timeline_of(look).steps][-2:] == [False, True]


async def test_a_deletion_after_a_502_is_late_only_after_the_deadline() -> None:
    async with lookout() as look:
        asked = look.office.ask(seconds=5)
        await settle()
        look.office.publisher.last.fail()
        assert isinstance(await asked, Refused)
        read(look, deletion("a"))
        assert late(look) == (0, 0)
        assert not container(look, "a").late
        assert container(look, "a").heard_at is not None

        await asyncio.sleep(6)
        read(look, deletion("b"))
        assert late(look) == (1, 1)
        assert container(look, "b").late


async def test_what_a_list_confirmed_before_a_504_is_not_late() -> None:
    async with lookout() as look:
        asked = look.office.ask(seconds=5)
        await settle()
        look.office.bus.publish(listed("b"))
        assert isinstance(await asked, TimedOut)
        await settle()
        read(look, deletion("a"))

        assert late(look) == (0, 0)
        assert not container(look, "a").late


async def test_a_stale_deletion_is_shown_as_one_and_not_as_the_confirmation() -> None:
    async with lookout() as look:
        look.office.catalogue.listed_at = deletion("a").deleted_at
        asked = look.office.ask()
        await settle()
        look.office.bus.publish(deletion("a", after=-60))
        await settle()
        (row,) = [
            a for a in (await look.observatory.snapshot()).summaries if a.takedown is not None
        ]
        detail = look.observatory.actor(row.id)
        assert detail is not None
        assert [each.heard_at for each in detail.containers] == [None, None]

        look.office.delete("a", "b")
        assert isinstance(await asked, Deleted)
        await settle()
        texts = [each.text for each in timeline_of(look).steps]
        assert "deletion from a confirms nothing: it is older than the list" in texts
        assert container(look, "a").deleted_at == "2026-01-02T03:04:05.678000Z"


async def test_evidence_and_doubt_are_among_the_steps() -> None:
    async with lookout() as look:
        look.office.catalogue.proven = False
        asked = look.office.ask()
        await settle()
        look.office.delete("a", "b")
        await settle()
        (summary,) = [
            a for a in (await look.observatory.snapshot()).summaries if a.takedown is not None
        ]
        assert look.observatory.rows.row(summary).waiting_for == ("acknowledgement", "catalogue")
        look.office.catalogue.catch_up()
        await asked
        await settle()

        texts = [each.text for each in timeline_of(look).steps]
        assert "in 2 containers, by a list that may not be the newest" in texts
        assert "the list of containers is proven" in texts
