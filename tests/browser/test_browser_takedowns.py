"""Takedowns as somebody sees them who looks on."""

from __future__ import annotations

import asyncio
import re

from support.browsing import Board, Screen
from support.fakes import deletion
from support.settling import settle


async def test_a_takedown_appears_moves_through_its_states_and_finishes(
    own: Board, screen: Screen
) -> None:
    office = own.look.office
    await screen.open()
    await screen.sees(".flight .empty", "Nothing is in flight")

    office.catalogue.silent = True
    item = own.item(("group:a", "group"), ("page:b", "page"))
    asked = own.ask(item)
    await screen.has_rows(1)
    await screen.sees(".row .item", item)
    await screen.sees(".row .state", "Locating")
    await screen.sees(".row .waits", "the catalogue")

    ((search, tell),) = office.catalogue.searches
    office.catalogue.silent = False
    office.catalogue.locate(search, tell)
    await screen.sees(".row .state", "Active")
    await screen.sees(".row .done", "0 / 2")
    await screen.sees(".row .waits", "ack")

    office.publisher.last.acknowledge()
    own.confirm(item, "group:a")
    await screen.sees(".row .done", "1 / 2")
    await screen.sees(".row .waits", re.compile("^page:b$"))

    own.confirm(item, "page:b")
    await screen.has_rows(0)
    await screen.sees(".tally [data-outcome=Deleted] b", "1")

    await screen.press("3")
    await screen.sees(".takedowns tbody tr", "200 deleted")
    await screen.sees(".takedowns tbody tr", item)
    await screen.find(".takedowns tbody tr").click()
    await screen.sees(".title h1", asked.takedown_id)
    await screen.sees(".title .answer", "200deleted")
    steps = await screen.find(".steps b").all_inner_texts()
    assert steps == [
        "TakeDown",
        "Begin",
        "FindContainers",
        "ContainersFound",
        "PublishRequests",
        "RequestsPublished",
        "ItemDeleted",
        "ItemDeleted",
        "Answer",
    ]


async def test_a_504_shows_what_is_outstanding_and_what_came_late(
    own: Board, screen: Screen
) -> None:
    item = own.item(("group:prompt", "group"), ("vault:sealed", "vault"))
    asked = own.ask(item, seconds=0.6)
    await settle()
    own.confirm(item, "group:prompt")

    await screen.open(f"#/takedowns/{asked.takedown_id}")

    await screen.sees(".title .answer", "504timed out")
    await screen.sees(".why", "Outstanding: vault:sealed")
    await screen.sees(".facts", "1 of 2 deleted")
    await screen.sees(".timeline", "never")
    own.look.observatory.journal.unmatched(deletion("vault:sealed", item))
    await screen.sees(".why", "1 read after the deadline")
    await screen.sees(".steps .late", "(late)")
    await screen.sees(".sequence", "after the answer")


async def test_the_detail_of_one_in_flight_grows_while_it_is_open(
    own: Board, screen: Screen
) -> None:
    item = own.item(("group:a", "group"), ("group:b", "group"))
    await screen.open()
    asked = own.ask(item)
    await screen.rows.first.click()

    await screen.sees(".title h1", asked.takedown_id)
    await screen.sees(".title .answer", "in flight")
    own.confirm(item, "group:a")
    await screen.sees(".facts", "1 of 2 deleted")
    own.confirm(item, "group:b")
    await screen.sees(".title .answer", "200deleted")

    await screen.press("Escape")
    await screen.sees(".flight .empty", "Nothing is in flight")


async def test_an_unknown_takedown_is_said_to_be_unknown(screen: Screen) -> None:
    await screen.open("#/takedowns/6b1f3a52-2f67-4f5c-8d70-0c4d2a1b9e11")
    await screen.sees(".takedown .empty", "is not kept any more")

    await screen.open("#/takedowns/%3Cscript%3E")
    await screen.sees(".takedown .empty", "not the id of a takedown")


async def test_the_list_is_filtered_by_id_state_and_age(own: Board, screen: Screen) -> None:
    items = [own.item(("group:a", "group")) for _ in range(4)]
    for item in items[:3]:
        own.ask(item)
    await settle()
    own.look.office.catalogue.silent = True
    located = own.ask(items[3])
    await screen.open()
    await screen.has_rows(4)
    await screen.sees(".flight .shown", "4 in flight")

    await screen.press("/")
    await screen.page.keyboard.type(items[1][:13])
    await screen.has_rows(1)
    await screen.sees(".row .item", items[1])
    await screen.press("Escape")
    await screen.has_rows(4)

    await screen.press("/")
    await screen.page.keyboard.type(located.takedown_id.upper())
    await screen.has_rows(1)
    await screen.sees(".row .item", items[3])
    await screen.press("Escape")

    await screen.press("/")
    await screen.page.keyboard.type("<b>")
    await screen.sees(".hint", "An id is made of")
    await screen.has_rows(4)  # what cannot be asked for is not asked for
    await screen.press("Escape")

    await screen.find(".chip[data-state=Active]").click()
    await screen.has_rows(3)
    await screen.find(".chip[data-state=Active]").click()
    await screen.has_rows(4)

    await screen.page.get_by_label("Older than").select_option("60")
    await screen.sees(".flight .empty", "Nothing in flight passes")
    assert "older=60" in screen.page.url
    own.look.office.catalogue.silent = False
    own.look.office.catalogue.locate(*own.look.office.catalogue.searches[-1])


async def test_pausing_keeps_what_is_shown_and_going_on_catches_up(
    own: Board, screen: Screen
) -> None:
    item = own.item(("group:a", "group"))
    own.ask(item)
    await screen.open()
    await screen.has_rows(1)

    await screen.press("p")
    await screen.sees(".stream", "paused")
    age = await screen.find(".row .age").first.inner_text()
    own.confirm(item)
    await screen.sees(".v-flight dd", "0")  # the header goes on
    await asyncio.sleep(0.6)
    assert await screen.rows.count() == 1
    assert await screen.find(".row .age").first.inner_text() == age

    await screen.find("button.pause").click()
    await screen.has_rows(0)
    await screen.sees(".stream", "live")


async def test_ten_thousand_in_flight_have_few_elements_and_any_of_them_is_in_reach(
    own: Board, screen: Screen
) -> None:
    item = own.item(("group:a", "group"))
    for number in range(10_000):
        own.ask(item)
        if number % 500 == 0:
            await asyncio.sleep(0)
    await screen.open()
    await screen.sees(".flight .shown", "10,000 in flight")
    assert await screen.find(".rows .row").count() < 80
    assert await screen.page.evaluate("document.querySelectorAll('*').length") < 2500

    await screen.find(".scroll").focus()
    await screen.press("End")
    await screen.sees(".rows .row[aria-rowindex='10000'] .state", "Active")
    await screen.page.evaluate("document.querySelector('.scroll').scrollTop = 5000 * 32")
    await screen.sees(".rows .row[aria-rowindex='5004'] .state", "Active")
    assert await screen.find(".rows .row").count() < 80
