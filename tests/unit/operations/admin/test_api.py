"""Every answer of the admin API is what its document says; the network is virtual."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from openapi_spec_validator import validate
from support.fakes import ITEM
from support.lookout import lookout
from support.operators_api import DOCUMENT, api, finish, history_of_all_kinds
from support.wire import exchange, request

from operations.admin.api import AdminApi
from operations.admin.openapi import OPERATIONS, document
from operations.metrics.metrics import Metrics
from operations.observation.live_updates import Broadcast
from operations.observation.recent import RecentQuery

# A virtual socket has no buffer in a kernel, whose size a stream sets.
pytestmark = pytest.mark.filterwarnings("ignore:Ignoring socket option")


# ------------------------------------------------------------------------- the document


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


async def test_every_path_of_the_server_is_in_the_document_and_no_other() -> None:
    async with lookout() as look:
        app = AdminApi(
            health=look.readiness.health,
            metrics=Metrics(lambda: ()),
            observatory=look.observatory,
            broadcast=Broadcast(look.observatory),
        ).application()
        routes = {r.resource.canonical for r in app.router.routes() if r.resource is not None}
        assert routes == set(DOCUMENT["paths"]) == {o.path for o in OPERATIONS}


async def test_the_document_is_served() -> None:
    async with api() as own:
        answer = await exchange(own.server.address, request("GET", "/openapi.json"))
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
        answer = await exchange(own.server.address, request("GET", path))
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:takedown:problem:not-found"


@pytest.mark.parametrize("path", [o.path for o in OPERATIONS])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_but_get_is_taken(path: str, method: str) -> None:
    async with api() as own:
        path = path.replace("{id}", "x").replace("{takedownId}", "x").replace("{name}", "x")
        answer = await exchange(own.server.address, request(method, path))
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
