"""Lists that are put together from what has changed in them."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from operations.observation.schemas.stream import (
    Change,
    ChangedViews,
    FinishedChanges,
    Snapshot,
    Views,
)
from operations.observation.schemas.takedowns import FinishedPage, FinishedTakedown
from operations.top.world import World


def finished(name: str, late: int = 0) -> FinishedTakedown:
    return FinishedTakedown(
        takedown_id=name,
        item_id="i",
        outcome="Deleted",
        status=200,
        accepted_at="t",
        answered_at="t",
        elapsed_seconds=1.0,
        containers_total=1,
        containers_done=1,
        late_events=late,
        actor_id="a",
        detail=None,
    )


def test_what_is_in_no_change_stays_and_what_is_not_in_the_order_goes() -> None:
    world = World()
    a, b, c = finished("a"), finished("b"), finished("c")
    page = FinishedPage(total=2, takedowns=(b, a), next=None)
    world.apply(
        "snapshot", msgspec.json.encode(Snapshot(at="1", views=Views(recent=page))), now=1.0
    )
    assert world.recent == [b, a]

    later = replace(b, late_events=1)
    changes = FinishedChanges(total=3, order=("c", "b"), changed=(c, later), next=None)
    world.apply(
        "change", msgspec.json.encode(Change(at="2", views=ChangedViews(recent=changes))), now=2.0
    )
    assert world.recent == [c, later]

    only_order = FinishedChanges(total=3, order=("b", "c"), changed=(), next=None)
    world.apply(
        "change", msgspec.json.encode(Change(at="3", views=ChangedViews(recent=only_order))), 3.0
    )
    assert world.recent == [later, c]
    assert world.at == "3"


def test_actors_are_put_together_in_the_same_manner() -> None:
    world = World()
    names = ("coordinator", "publisher")
    rows = [_actor(name) for name in names]
    snapshot = {"at": "1", "views": {"actors": {"total": 2, "actors": rows, "next": None}}}
    world.apply("snapshot", msgspec.json.encode(snapshot), now=1.0)

    changed = _actor("publisher") | {"handled": 9}
    change = {"total": 2, "order": names[::-1], "changed": [changed], "next": None}
    world.apply("change", msgspec.json.encode({"at": "2", "views": {"actors": change}}), now=2.0)

    assert [(row.actor.id, row.actor.handled, row.at) for row in world.rows] == [
        ("publisher", 9, 2.0),
        ("coordinator", 1, 1.0),
    ]


def _actor(name: str) -> dict[str, object]:
    nothing = (
        *("since", "inStateSeconds", "takedownId", "itemId", "acceptedAt", "ageSeconds"),
        *("deadlineAt", "deadlineLeftSeconds", "containersTotal", "containersDone"),
        *("outstandingCount", "acknowledged", "lastTransition"),
    )
    return dict.fromkeys(nothing) | {
        "id": name,
        "kind": "Coordinator",
        "state": "Open",
        "outstanding": [],
        "waitingFor": [],
        "mailboxDepth": 0,
        "handled": 1,
        "restarts": 0,
        "stuck": False,
    }
