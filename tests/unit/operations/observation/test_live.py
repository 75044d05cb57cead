"""Live actors: filters, orders and pages, against what plain Python says of the same actors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import async_solipsism
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import ITEM, T0, item_id, places, takedown
from support.lookout import Lookout, lookout
from support.settling import settle

from actors.fsm.transitions import TransitionFeed
from actors.item_censor.states import ItemsToBeDeleted, ItemToBeLocated, State, Uninitialized
from domain.messages import Deleted
from operations.observation.actor_rows import ActorRows
from operations.observation.actors import Live, Query, order_of
from operations.observation.clock import Clock
from operations.observation.history import Journal
from operations.observation.paging import decode_cursor
from operations.observation.schemas.actors import Actor, ActorPage
from operations.observation.summaries import ActorSummary, Part


async def censors(look: Lookout, **query: Any) -> tuple[Actor, ...]:
    page = await look.observatory.actors(Query(kinds=frozenset({"ItemCensor"}), **query))
    return page.actors


async def test_a_takedown_is_shown_with_what_it_waits_for() -> None:
    async with lookout() as look:
        look.office.catalogue.items[ITEM] = places("a", "b", "c")
        asked = look.office.ask(seconds=10)
        await settle()
        (row,) = await censors(look)
        assert (row.state, row.waiting_for) == ("Active", ("acknowledgement", "deletions"))
        assert row.acknowledged is False

        look.office.publisher.last.acknowledge()
        await asyncio.sleep(4)
        look.office.delete("b")
        await settle()
        (row,) = await censors(look)
        assert row.item_id == ITEM
        assert (row.age_seconds, row.deadline_left_seconds, row.in_state_seconds) == (4, 6, 4)
        assert (row.containers_done, row.containers_total, row.outstanding_count) == (1, 3, 2)
        assert [place.container_id for place in row.outstanding] == ["a", "c"]
        assert (row.acknowledged, row.waiting_for) == (True, ("deletions",))
        assert row.last_transition is not None
        assert (row.last_transition.event, row.last_transition.ago_seconds) == ("ItemDeleted", 0)
        assert row.accepted_at == "2026-01-02T03:04:05.678000Z"
        assert row.deadline_at == "2026-01-02T03:04:15.678000Z"

        look.office.delete("a", "c")
        assert isinstance(await asked, Deleted)
        await settle()
        await asyncio.sleep(2)
        (row,) = await censors(look)
        assert (row.state, row.takedown_id, row.age_seconds) == ("Idle", None, None)
        assert row.in_state_seconds == 2


async def test_one_that_is_being_located_waits_for_the_catalogue() -> None:
    async with lookout() as look:
        look.office.catalogue.silent = True
        asked = look.office.ask(seconds=1)
        await settle()
        (row,) = await censors(look)
        assert (row.state, row.waiting_for) == ("Locating", ("catalogue",))
        assert (row.containers_total, row.outstanding_count) == (None, None)
        await asked
        await settle()


async def test_the_parts_are_shown_as_actors_too() -> None:
    async with lookout() as look:
        page = await look.observatory.actors(Query())
        states = {actor.id: (actor.kind, actor.state) for actor in page.actors}
        coordinator = look.office.ref.actor_urn.removeprefix("urn:uuid:")
        assert states == {
            coordinator: ("Coordinator", "Open"),
            "reader-item_deleted": ("TopicReader", "Reading"),
            "reader-item_published": ("TopicReader", "Reading"),
            "publisher": ("KafkaPublisher", "Working"),
        }
        look.deletions.positioned = False
        look.items.caught_up = False
        look.producer.working = False
        await look.office.drain()
        page = await look.observatory.actors(Query())
        assert {actor.state for actor in page.actors} == {
            "Draining",
            "Interrupted",
            "CatchingUp",
        }


async def test_an_actor_is_found_by_its_id_with_and_without_urn() -> None:
    async with lookout() as look:
        asked = look.office.ask()
        await settle()
        (row,) = await censors(look)
        for name in (row.id, f"urn:uuid:{row.id}"):
            detail = look.observatory.actor(name)
            assert detail is not None
            assert detail.actor == row
            assert [(t.name, t.left_seconds) for t in detail.timers] == [("deadline", 10)]
            assert [t.event for t in detail.transitions] == ["Begin", "ContainersFound"]
            assert [(t.source, t.target) for t in detail.transitions] == [
                ("Idle", "Locating"),
                ("Locating", "Active"),
            ]
            assert [(c.container_id, c.deleted) for c in detail.containers] == [
                ("a", False),
                ("b", False),
            ]
            assert detail.data["type"] == "ItemsToBeDeleted"
        part = look.observatory.actor("reader-item_deleted")
        assert part is not None
        assert part.data["positions"] == {"0": 5, "1": 7}
        for name in ("", "urn:uuid:", "nonsense", "reader-", "../etc/passwd", "x" * 10_000):
            assert look.observatory.actor(name) is None
        look.office.delete("a", "b")
        await asked
        await settle()


async def test_hostile_texts_are_shown_as_they_are_and_cut() -> None:
    async with lookout() as look:
        names = ("<script>alert(1)</script>", "\u202e\x00", "y" * 5000)
        look.office.catalogue.items[ITEM] = places(*names)
        asked = look.office.ask(seconds=1)
        await settle()
        (row,) = await censors(look)
        shown = [place.container_id for place in row.outstanding]
        assert shown[:2] == list(names[:2])
        assert len(shown[2]) == 200
        await asked
        await settle()


async def test_looking_gives_others_their_turn() -> None:
    """A thousand actors are not looked at in one go."""
    feed = TransitionFeed()
    live = watched(feed, [])
    for number in range(2_000):
        feed.join(cast("Any", machine(number, None, 0)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    snapshot = await live.snapshot()
    await live.page(Query(limit=500), snapshot)
    counting.cancel()
    assert len(snapshot.summaries) == 2_001
    assert turns >= 8


# ------------------------------------------------------------------- filters and pages


def machine(number: int, accepted: float | None, outstanding: int, mailbox: int = 0) -> Any:
    """Something that stands in the feed for a censor."""
    if accepted is None:
        state, data = State.IDLE, cast("Any", Uninitialized())
    else:
        request = takedown(item_id(number % 3), name=f"{number:08x}", now=accepted)
        state, data = State.LOCATING, ItemToBeLocated(request)
        if outstanding:
            everywhere = places(*(f"c{n}" for n in range(outstanding)))
            state = State.ACTIVE
            data = ItemsToBeDeleted(
                request, everywhere, frozenset(c.container_id for c in everywhere)
            )
    return SimpleNamespace(
        actor_urn=f"urn:uuid:{number:04d}",
        machine_name="ItemCensor",
        state=state,
        data=data,
        timers=(),
        mailbox=mailbox,
        handled=0,
        log=(),
    )


class ShownRows(ActorRows):
    """Remembers what is asked for instead of building rows, which stand-ins do not have."""

    def __init__(self) -> None:
        clock = Clock(lambda: 100.0, lambda: T0)
        super().__init__(Journal(now=clock.now), clock, frozenset)
        self.shown: list[ActorSummary] = []

    def row(self, summary: ActorSummary) -> Any:
        self.shown.append(summary)


def watched(feed: TransitionFeed, stuck: list[str], rows: ShownRows | None = None) -> Live:
    return Live(
        feed=feed,
        rows=rows or ShownRows(),
        clock=Clock(lambda: 100.0, lambda: T0),
        parts=lambda: [Part("publisher", "KafkaPublisher", "Working", None)],
        stuck=lambda: frozenset(stuck),
    )


machines = st.lists(
    st.tuples(st.none() | st.sampled_from([10.0, 20.0, 99.5, 100.0]), st.integers(0, 4)),
    max_size=40,
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "kinds": st.frozensets(st.sampled_from(["ItemCensor", "KafkaPublisher"]), max_size=2),
        "states": st.frozensets(st.sampled_from(["Idle", "Active", "Locating"]), max_size=2),
        "item": st.sampled_from(["", "0000", str(item_id(1)), "f"]),
        "takedown": st.sampled_from(["", "0000000", "00000003"]),
        "id": st.sampled_from(["", "0000", "00000003", str(item_id(1)), "f"]),
        "older_than": st.none() | st.sampled_from([0.0, 0.5, 80.0, 1000.0]),
        "stuck": st.none() | st.booleans(),
        "sort": st.sampled_from(["age", "deadline", "state", "outstanding", "mailbox", "restarts"]),
        "descending": st.booleans(),
    },
)


@given(machines, queries, st.integers(1, 7))
def test_pages_together_are_the_filtered_list_in_its_order(
    facts: list[tuple[float | None, int]], query: dict[str, Any], limit: int
) -> None:
    feed = TransitionFeed()
    stuck = ["0001", "0003", "publisher"]
    rows = ShownRows()
    live = watched(feed, stuck, rows)
    everyone = [machine(number, *fact) for number, fact in enumerate(facts)]
    for each in everyone:
        feed.join(each)

    pages = run_pages(live, rows, query, limit)

    shown = [actor for page in pages for actor in page]
    ids = [actor[0] for actor in shown]
    assert len(set(ids)) == len(ids)
    expected = {each.actor_urn[9:] for each in everyone if lets_through(query, each, stuck)}
    if lets_publisher_through(query, stuck):
        expected.add("publisher")
    assert set(ids) == expected
    values = [value for _, value in shown if value is not None]
    assert values == sorted(values, reverse=query.get("descending", True))
    assert [value for _, value in shown[: len(values)]] == values, "those without come last"
    assert all(len(page) == limit for page in pages[:-1])


@given(machines, queries, st.integers(1, 7), st.integers(0, 45))
def test_a_window_of_the_list_is_what_pages_would_have_shown_there(
    facts: list[tuple[float | None, int]], query: dict[str, Any], limit: int, offset: int
) -> None:
    feed = TransitionFeed()
    rows = ShownRows()
    live = watched(feed, ["0001"], rows)
    for number, fact in enumerate(facts):
        feed.join(machine(number, *fact))
    everything = [row for page in run_pages(live, rows, query, 500) for row in page]

    window = run_pages(live, rows, {**query, "offset": offset}, limit)[0]

    assert window == everything[offset : offset + limit]


def run_pages(
    live: Live, rows: ShownRows, query: dict[str, Any], limit: int
) -> list[list[tuple[str, Any]]]:
    async def go() -> list[list[tuple[str, Any]]]:
        pages: list[list[tuple[str, Any]]] = []
        after = None
        while True:
            asked = Query(**query, limit=limit, after=after)
            snapshot = await live.snapshot()
            rows.shown = []
            page: ActorPage = await live.page(asked, snapshot)
            pages.append([(summary.id, value_of(asked.sort, summary)) for summary in rows.shown])
            assert page.total >= len(rows.shown)
            if page.next is None or asked.offset:
                return pages
            order = order_of(asked.sort, descending=asked.descending)
            after = decode_cursor(order, page.next)

    loop = async_solipsism.EventLoop()
    try:
        pages: list[list[tuple[str, Any]]] = loop.run_until_complete(go())
        return pages
    finally:
        loop.close()


def value_of(sort: str, summary: Any) -> Any:
    takedown_ = summary.takedown
    return {
        "age": None if takedown_ is None else 100 - takedown_.accepted_at,
        "deadline": None if takedown_ is None else takedown_.deadline - 100,
        "state": summary.state,
        "outstanding": summary.outstanding,
        "mailbox": summary.mailbox,
        "restarts": summary.restarts,
    }[sort]


def lets_through(query: dict[str, Any], each: Any, stuck: list[str]) -> bool:
    request = getattr(each.data, "takedown", None)
    older = query.get("older_than")
    of_takedown = any(map(query.get, ("id", "item", "takedown"))) or older is not None
    either = query.get("id", "")
    return (
        (not query.get("kinds") or "ItemCensor" in query["kinds"])
        and (not query.get("states") or each.state.value in query["states"])
        and (query.get("stuck") is None or (each.actor_urn[9:] in stuck) == query["stuck"])
        and (not of_takedown or request is not None)
        and (
            request is None
            or request.item_id.startswith(either)
            or request.takedown_id.startswith(either)
        )
        and (request is None or request.item_id.startswith(query.get("item", "")))
        and (request is None or request.takedown_id.startswith(query.get("takedown", "")))
        and (older is None or request is None or 100 - request.accepted_at >= older)
    )


def lets_publisher_through(query: dict[str, Any], stuck: list[str]) -> bool:
    return (
        (not query.get("kinds") or "KafkaPublisher" in query["kinds"])
        and not query.get("states")
        and (query.get("stuck") is None or ("publisher" in stuck) == query["stuck"])
        and not any(map(query.get, ("id", "item", "takedown")))
        and query.get("older_than") is None
    )


@pytest.mark.parametrize("sort", ["age", "deadline", "outstanding"])
async def test_a_page_is_right_whatever_came_and_went_before_it(sort: str) -> None:
    feed = TransitionFeed()
    rows = ShownRows()
    live = watched(feed, [], rows)
    everyone = [machine(number, float(number), 1) for number in range(10)]
    for each in everyone:
        feed.join(each)
    shown = rows.shown
    query = Query(kinds=frozenset({"ItemCensor"}), sort=sort, limit=4)
    first = await live.page(query, await live.snapshot())
    seen = [summary.id for summary in shown]
    assert first.next is not None

    for each in everyone:
        if each.actor_urn[9:] in seen[:3]:
            feed.leave(each)
    shown.clear()
    key = decode_cursor(order_of(sort, descending=True), first.next)
    await live.page(
        Query(kinds=frozenset({"ItemCensor"}), sort=sort, limit=100, after=key),
        await live.snapshot(),
    )
    rest = [summary.id for summary in shown]
    assert not set(rest) & set(seen)
    assert len(rest) == 6
