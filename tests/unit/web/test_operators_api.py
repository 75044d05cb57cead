"""The operators' API over a virtual network: every answer is what the document says."""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from multidict import MultiDict
from openapi_spec_validator import validate
from support.fakes import ITEM, deletion, places, settle, takedown
from support.lookout import Lookout, lookout
from support.wire import Answer, Connection, connected, exchange, request

from domain.messages import TakeDown
from operations.admin.api import OperatorsDoor
from operations.admin.openapi import (
    ACTOR_PARAMETERS,
    OPERATIONS,
    RECENT_PARAMETERS,
    STREAM_PARAMETERS,
    document,
)
from operations.admin.parameters import BadParameter, actors_query, parse, recent_query, watching
from operations.metrics.metrics import Metrics
from operations.observation.live_updates import Broadcast
from operations.observation.paging import BadCursor, decode_cursor, encode_cursor
from operations.observation.recent import RecentQuery
from web.server import Door

# A virtual socket has no buffer in a kernel, whose size a stream sets.
pytestmark = pytest.mark.filterwarnings("ignore:Ignoring socket option")

DOCUMENT = document("1.2.3")


def strict(schema: Any) -> Any:
    """The same, and nothing more than is in it may be there."""
    if isinstance(schema, dict):
        schema = {name: strict(each) for name, each in schema.items()}
        if "properties" in schema and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
    elif isinstance(schema, list):
        schema = [strict(each) for each in schema]
    return schema


COMPONENTS = {"components": strict(copy.deepcopy(DOCUMENT["components"]))}


def conforms(body: Any, schema: Any) -> None:
    Draft202012Validator({**schema, **COMPONENTS}).validate(body)


def checked(path: str, answer: Answer) -> Any:
    """The answer's JSON, when it is what the document says of this path."""
    described = DOCUMENT["paths"][path]["get"]["responses"][str(answer.status)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    body = answer.json()
    conforms(body, described[kind]["schema"])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return body


class Api:
    def __init__(self, look: Lookout, broadcast: Broadcast, door: Door) -> None:
        self.look = look
        self.broadcast = broadcast
        self.door = door

    async def get(self, path: str, template: str | None = None) -> Any:
        answer = await exchange(self.door.address, request("GET", path))
        return checked(template or path.partition("?")[0], answer)

    async def refused(self, path: str) -> Any:
        answer = await exchange(self.door.address, request("GET", path))
        assert answer.status == 400, answer.body
        return checked(path.partition("?")[0], answer)


@asynccontextmanager
async def api(*, viewers: int = 5, **options: Any) -> AsyncIterator[Api]:
    async with lookout(**options) as look:
        broadcast = Broadcast(look.observatory, most=viewers)
        task = asyncio.create_task(broadcast.run())
        operators = OperatorsDoor(
            health=look.readiness.health,
            metrics=Metrics(lambda: ()),
            observatory=look.observatory,
            broadcast=broadcast,
        )
        door = Door(
            operators.application(),
            host="127.0.0.1",
            port=0,
            setting="TAKEDOWN_ADMIN_PORT",
            max_connections=50,
        )
        await door.open()
        try:
            yield Api(look, broadcast, door)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await door.close()


async def history_of_all_kinds(own: Api) -> str:
    """A 200, a 404, a 504 with a late event and a 500; one is in flight. Its takedownId."""
    office = own.look.office
    office.catalogue.items[ITEM] = places("a", "<img src=x>")
    done = office.ask()
    await settle()
    office.publisher.last.acknowledge()
    office.delete("a", "<img src=x>")
    await done
    office.catalogue.items.pop(ITEM)
    await office.ask()
    office.catalogue.items[ITEM] = places("a", "b")
    late = office.ask(seconds=1)
    await settle()
    await late
    own.look.observatory.journal.unmatched(deletion("a"))
    crashed = office.ask()
    await settle()
    await office.crash()
    await crashed
    own.look.observatory.losses.skipped("item_deleted", 1, 2, "<b>no JSON</b>")
    office.ask(seconds=1000)
    await settle()
    await own.look.tick(6)
    return str(office.publisher.last.takedown.takedown_id)


async def finish(own: Api) -> None:
    own.look.office.delete("a", "b")
    await settle()


# ------------------------------------------------------------------------- the document


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


async def test_every_path_of_the_door_is_in_the_document_and_no_other() -> None:
    async with lookout() as look:
        app = OperatorsDoor(
            health=look.readiness.health,
            metrics=Metrics(lambda: ()),
            observatory=look.observatory,
            broadcast=Broadcast(look.observatory),
        ).application()
        routes = {r.resource.canonical for r in app.router.routes() if r.resource is not None}
        assert routes == set(DOCUMENT["paths"]) == {o.path for o in OPERATIONS}


async def test_the_document_is_served() -> None:
    async with api() as own:
        answer = await exchange(own.door.address, request("GET", "/openapi.json"))
        assert answer.json() == document("0")


# ------------------------------------------------------------------------- every answer


@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/readyz",
        "/overview",
        "/actors",
        "/actors?sort=-state&limit=1",
        "/takedowns/recent",
        "/takedowns/recent?outcome=TimedOut,Failed&limit=1",
        "/machines",
        "/statistics",
        "/history",
        "/history?minutes=1",
        "/incidents",
        "/losses",
        "/catalogue/doubts",
        "/catalogue/doubts?limit=1",
    ],
)
@pytest.mark.parametrize("busy", [False, True])
async def test_an_answer_is_what_the_document_says(path: str, *, busy: bool) -> None:
    async with api() as own:
        if busy:
            await history_of_all_kinds(own)
        await own.get(path)
        await finish(own)


async def test_each_actor_and_each_takedown_and_each_machine_has_its_page() -> None:
    async with api() as own:
        takedown_id = await history_of_all_kinds(own)
        for actor in (await own.get("/actors"))["actors"]:
            detail = await own.get(f"/actors/{quote(actor['id'])}", "/actors/{id}")
            assert detail["actor"]["id"] == actor["id"]
        for row in (await own.get("/takedowns/recent"))["takedowns"]:
            path = f"/takedowns/{row['takedownId']}"
            timeline = await own.get(path, "/takedowns/{takedownId}")
            assert (timeline["finished"], timeline["outcome"]) == (True, row["outcome"])
        timeline = await own.get(f"/takedowns/{takedown_id}", "/takedowns/{takedownId}")
        assert (timeline["finished"], timeline["outcome"], timeline["status"]) == (
            False,
            None,
            None,
        )
        assert timeline["elapsedSeconds"] == 6
        machine = await own.get("/machines/ItemCensor", "/machines/{name}")
        assert {s["name"]: s["live"] for s in machine["states"]}["Active"] == 1
        begun = [a for a in machine["arrows"] if a["event"] == "Begin"]
        assert [arrow["count"] for arrow in begun] == [5]
        assert machine["diagram"].startswith("stateDiagram-v2")
        await finish(own)


async def test_a_timeline_tells_what_happened_in_its_order_late_events_too() -> None:
    async with api() as own:
        await history_of_all_kinds(own)
        (row,) = (await own.get("/takedowns/recent?outcome=TimedOut"))["takedowns"]
        assert (row["status"], row["lateEvents"], row["containersDone"]) == (504, 1, 0)
        path = f"/takedowns/{row['takedownId']}"
        timeline = await own.get(path, "/takedowns/{takedownId}")
        assert [(s["source"], s["target"], s["event"], s["late"]) for s in timeline["steps"]] == [
            ("caller", "coordinator", "TakeDown", False),
            ("coordinator", "censor", "Begin", False),
            ("censor", "catalogue", "FindContainers", False),
            ("catalogue", "censor", "ContainersFound", False),
            ("censor", "kafka", "PublishRequests", False),
            ("clock", "censor", "DeadlinePassed", False),
            ("censor", "caller", "Answer", False),
            ("kafka", "censor", "ItemDeleted", True),
        ]
        assert [(c["containerId"], c["deleted"], c["late"]) for c in timeline["containers"]] == [
            ("a", False, True),
            ("b", False, False),
        ]
        (done,) = (await own.get("/takedowns/recent?outcome=Deleted"))["takedowns"]
        path = f"/takedowns/{done['takedownId']}"
        timeline = await own.get(path, "/takedowns/{takedownId}")
        assert "deleted from <img src=x>" in [step["text"] for step in timeline["steps"]]
        await finish(own)


async def test_the_overview_says_what_is_in_flight_and_what_was() -> None:
    async with api() as own:
        await history_of_all_kinds(own)
        overview = await own.get("/overview")
        assert overview["inFlight"] == 1
        assert overview["states"] == {"Idle": 0, "Locating": 0, "Active": 1}
        assert overview["waitingFor"] == {"catalogue": 0, "acknowledgement": 1, "deletions": 1}
        assert overview["lastMinute"] == {"Deleted": 1, "NotFound": 1, "TimedOut": 1, "Failed": 1}
        assert overview["oldestSeconds"] == 6
        assert overview["nearestDeadlineSeconds"] == 994
        assert overview["lateEvents"] == 1
        assert overview["perSecond"]["accepted"] > 0
        own.look.office.missing = "no positions"
        assert (await own.get("/overview"))["checks"]["kafka consumer"] == {
            "ok": False,
            "detail": "no positions",
        }
        own.look.office.missing = None
        await finish(own)


async def test_statistics_tell_of_every_part() -> None:
    async with api() as own:
        await history_of_all_kinds(own)
        own.look.deletions.last_error = "<script>" + "x" * 10
        statistics = await own.get("/statistics")
        assert statistics["readers"][0]["lastError"].startswith("<script>")
        assert statistics["catalogue"]["items"] == 3
        assert len(statistics["catalogue"]["lastProblem"]) == 200
        tasks = {c["name"]: c["alive"] for c in statistics["supervision"]["children"]}
        assert tasks == {"the producer": True, "reading item_deleted": False, "Coordinator": True}
        assert statistics["feed"]["failures"] == 0
        await finish(own)


@pytest.mark.parametrize(
    "path",
    [
        "/actors/nobody",
        "/actors/urn:uuid:",
        "/actors/%3Cscript%3E",
        "/takedowns/nothing",
        "/takedowns/00000000-0000-0000-0000-000000000000",
        "/machines/Toaster",
    ],
)
async def test_what_is_not_there_is_a_404(path: str) -> None:
    async with api() as own:
        answer = await exchange(own.door.address, request("GET", path))
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:takedown:problem:not-found"


@pytest.mark.parametrize("path", [o.path for o in OPERATIONS])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_but_get_is_taken(path: str, method: str) -> None:
    async with api() as own:
        path = path.replace("{id}", "x").replace("{takedownId}", "x").replace("{name}", "x")
        answer = await exchange(own.door.address, request(method, path))
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/overview?x=1", "x"),
        ("/actors?limit=0", "limit"),
        ("/actors?limit=501", "limit"),
        ("/actors?limit=1e2", "limit"),
        ("/actors?limit=-1", "limit"),
        ("/actors?limit=%D9%A1", "limit"),
        ("/actors?limit=", "limit"),
        ("/actors?limit=1&limit=2", "limit"),
        ("/actors?state=", "state"),
        ("/actors?state=Active,", "state"),
        ("/actors?state=a%00b", "state"),
        ("/actors?kind=Toaster", "kind"),
        ("/actors?item=xyz", "item"),
        ("/actors?item=%0A0", "item"),
        ("/actors?item=0%0A", "item"),
        ("/actors?olderThan=nan", "olderThan"),
        ("/actors?olderThan=inf", "olderThan"),
        ("/actors?olderThan=-1", "olderThan"),
        ("/actors?stuck=1", "stuck"),
        ("/actors?sort=takedown", "sort"),
        ("/actors?sort=--age", "sort"),
        ("/actors?cursor=x", "cursor"),
        ("/actors?offset=1&cursor=e30", "offset"),
        ("/actors?offset=-1", "offset"),
        ("/stream?offset=1", "offset"),
        ("/actors?id=%3Cb%3E", "id"),
        ("/takedowns/recent?offset=1", "offset"),
        ("/actors?cursor=" + "a" * 513, "cursor"),
        ("/actors?cursor=%FF", "cursor"),
        ("/takedowns/recent?outcome=deleted", "outcome"),
        ("/takedowns/recent?cursor=e30", "cursor"),
        ("/history?minutes=16", "minutes"),
        ("/stream?view=everything", "view"),
        ("/stream?view=takedown", "takedownId"),
        ("/stream?takedownId=00000000-0000-0000-0000-000000000000", "takedownId"),
        ("/stream?view=takedown&takedownId=x", "takedownId"),
        ("/stream?view=actors&limit=101", "limit"),
        ("/stream?cursor=e30", "cursor"),
        ("/actors?" + "&".join(f"a{n}=1" for n in range(100)), "a0"),
    ],
)
async def test_a_bad_parameter_is_a_400_that_names_it(path: str, parameter: str) -> None:
    async with api() as own:
        problem = await own.refused(path)
        assert problem["parameter"] == parameter
        assert problem["type"] == "urn:takedown:problem:invalid-parameter"
        assert own.broadcast.viewers == 0


async def test_pages_of_recent_takedowns_follow_each_other() -> None:
    async with api() as own:
        await history_of_all_kinds(own)
        seen: list[str] = []
        path = "/takedowns/recent?limit=3"
        cursor = ""
        while True:
            page = await own.get(path + cursor)
            assert page["total"] == 4
            seen += [row["outcome"] for row in page["takedowns"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == ["Failed", "TimedOut", "NotFound", "Deleted"]
        await finish(own)


async def test_one_id_finds_a_takedown_by_its_own_or_by_its_item() -> None:
    async with api() as own:
        await history_of_all_kinds(own)
        recent = own.look.observatory.recent
        everyone = recent(RecentQuery()).takedowns
        assert len(everyone) == 4
        by_own_id = recent(RecentQuery(id=everyone[0].takedown_id)).takedowns
        assert [each.takedown_id for each in by_own_id] == [everyone[0].takedown_id]

        assert (await own.get(f"/takedowns/recent?id={ITEM.upper()}"))["total"] == 4
        assert (await own.get("/takedowns/recent?id=abc"))["total"] == 0
        live = await own.get(f"/actors?id={ITEM[:9]}")
        assert [row["itemId"] for row in live["actors"]] == [ITEM]
        assert (await own.get(f"/actors?id={ITEM}&offset=1"))["actors"] == []
        await finish(own)


# ------------------------------------------------------------------------------ stream


class Events:
    """A stream of server-sent events, read as a browser does."""

    def __init__(self, connection: Connection) -> None:
        self._reader = connection._reader
        self._body = b""

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def next(self, within: float = 20.0) -> dict[str, str]:
        """The next event or comment, by field."""
        async with asyncio.timeout(within):
            while b"\n\n" not in self._body:
                size = int(await self._reader.readline(), 16)
                if size == 0:
                    raise EOFError
                self._body += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
        event, _, self._body = self._body.partition(b"\n\n")
        fields = (line.partition(": ") for line in event.decode().split("\n"))
        return {name: value for name, _, value in fields}


@asynccontextmanager
async def watching_stream(own: Api, path: str, *headers: str) -> AsyncIterator[Events]:
    async with connected(own.door.address) as connection:
        await connection.send(request("GET", path, *headers, close=False))
        events = Events(connection)
        status, answer = await events.head()
        assert (status, answer["content-type"]) == (200, "text/event-stream")
        assert answer["cache-control"] == "no-store"
        assert await events.next() == {"retry": "2000"}
        yield events


EVENTS = DOCUMENT["paths"]["/stream"]["get"]["x-events"]


async def test_a_stream_of_every_view_conforms_snapshot_and_change() -> None:
    async with api() as own:
        takedown_id = str((await _begun(own)).takedown.takedown_id)
        views = "overview,actors,machines,statistics,recent,history,losses"
        path = f"/stream?view={views},takedown&takedownId={takedown_id}"
        async with watching_stream(own, path) as events:
            first = await events.next()
            assert first["event"] == "snapshot"
            body = json.loads(first["data"])
            conforms(body, EVENTS["snapshot"])
            assert set(body["views"]) == {*views.split(","), "takedown"}
            own.look.office.delete("a", "b")
            await settle()
            own.look.observatory.losses.skipped("item_deleted", 1, 2, "no JSON")
            await own.look.tick(6)
            names: set[str] = set()
            while not names >= {*views.split(","), "takedown"}:
                event = await events.next()
                assert event["event"] == "change"
                body = json.loads(event["data"])
                conforms(body, EVENTS["change"])
                names |= set(body["views"])


async def _begun(own: Api) -> Any:
    now = asyncio.get_running_loop().time()
    own.look.office.ref.ask(TakeDown(takedown(name=str(uuid.uuid4()), now=now)), timeout=20)
    await settle()
    return own.look.office.publisher.last


async def test_a_stream_goes_on_after_the_last_event_that_was_seen() -> None:
    async with api() as own:
        async with watching_stream(own, "/stream?view=actors") as events:
            first = await events.next()
        await _begun(own)
        header = f"Last-Event-ID: {first['id']}"
        async with watching_stream(own, "/stream?view=actors", header) as events:
            event = await events.next()
            assert event["event"] == "change"
            assert json.loads(event["data"])["views"]["actors"]["total"] == 5
        await finish(own)


async def test_a_stream_without_news_has_a_heartbeat() -> None:
    async with api() as own, watching_stream(own, "/stream?view=actors") as events:
        assert (await events.next())["event"] == "snapshot"
        began = asyncio.get_running_loop().time()
        assert await events.next() == {"": "nothing new"}
        assert asyncio.get_running_loop().time() - began == pytest.approx(10, abs=1)


async def test_a_viewer_too_many_is_a_503_and_there_is_room_again_when_one_goes() -> None:
    async with api(viewers=1) as own:
        async with watching_stream(own, "/stream"):
            answer = await exchange(own.door.address, request("GET", "/stream"))
            assert answer.status == 503
            assert answer.json()["type"] == "urn:takedown:problem:too-many-viewers"
            assert "retry-after" in answer.headers
        await asyncio.sleep(2)
        assert own.broadcast.viewers == 0
        async with watching_stream(own, "/stream") as events:
            assert (await events.next())["event"] == "snapshot"


async def test_the_end_of_the_service_ends_the_streams() -> None:
    async with api() as own, watching_stream(own, "/stream?view=actors") as events:
        assert (await events.next())["event"] == "snapshot"
        own.broadcast.ended = True
        own.broadcast.news.set()
        with pytest.raises(EOFError):
            await events.next()


# -------------------------------------------------------------------------- parameters


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=30), max_size=4))
def test_whatever_is_given_is_a_query_or_a_bad_parameter(given_: dict[str, str]) -> None:
    for parameters, use in (
        (ACTOR_PARAMETERS, actors_query),
        (RECENT_PARAMETERS, recent_query),
        (STREAM_PARAMETERS, watching),
    ):
        known = [parameter.name for parameter in parameters]
        for query in (given_, dict(zip(known, given_.values(), strict=False))):
            with suppress(BadParameter):
                hash(use(parse(MultiDict(query), parameters)))


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: b.hex()))
def test_whatever_is_given_for_a_cursor_is_a_key_or_a_bad_cursor(text: str) -> None:
    try:
        key = decode_cursor("-age", text)
    except BadCursor:
        return
    assert isinstance(key, tuple)


@given(st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20))
def test_a_cursor_comes_back_as_it_went(nothing: bool, value: float, name: str) -> None:
    assert decode_cursor("-age", encode_cursor("-age", (nothing, value, name))) == (
        nothing,
        value,
        name,
    )


def test_a_cursor_of_another_order_is_refused() -> None:
    cursor = encode_cursor("-age", (False, 1.0, "x"))
    for order in ("age", "recent", "state"):
        with pytest.raises(BadCursor):
            decode_cursor(order, cursor)
    with pytest.raises(BadCursor):
        decode_cursor("state", encode_cursor("state", (False, 1.0, "x")))
