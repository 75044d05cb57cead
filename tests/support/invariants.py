"""Asks for takedowns while something is broken, and checks the invariants from the topics.

The topics are read from their beginnings, when all is over, by a client of the checker's own: what
the service says is compared with what is written there, and with nothing else.

An item's list may change while it is taken down. Then an answer names the containers of the list
that was there when it was asked for and of those that came after, up to some list that was there
when it was answered; and a container that a later one of these does not have counts as deleted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from support.answers import GRACE, Got, take_down
from support.platform import Names, read_topic

Places = list[dict[str, str]]

_CLOCKS = 0.05
"""Seconds by which a record's time may lie after an answer that already knew of it."""


@dataclass(frozen=True)
class Asked:
    """One request for a takedown, and its one answer.

    Attributes:
        item_id: of which item.
        deadline: seconds that the caller gave it, or the service does.
        at: when it was asked, by the wall clock.
        answered_at: when it was answered, by the wall clock.
        got: the answer; its `seconds` are of the test's loop.
    """

    item_id: str
    deadline: float
    at: float
    answered_at: float
    got: Got

    @property
    def status(self) -> int:
        return self.got.status

    @property
    def overshoot(self) -> float:
        """Seconds that the answer came after the deadline; negative before it."""
        return self.got.seconds - self.deadline


@dataclass(frozen=True)
class Report:
    """What was counted while the invariants were checked.

    Attributes:
        statuses: how many answers of each status.
        reported: records of `item_reported` that belong to the answers.
        deleted: records of `item_deleted`.
        overshoot: seconds that the latest answer of all came after its deadline; negative: none.
    """

    statuses: Mapping[int, int]
    reported: int
    deleted: int
    overshoot: float

    def __str__(self) -> str:
        answers = ", ".join(
            f"{count} x {status}" for status, count in sorted(self.statuses.items())
        )
        return (
            f"{answers}; {self.reported} requests and {self.deleted} deletions in the topics; "
            f"latest answer {self.overshoot * 1000:+.0f} ms from its deadline"
        )


async def ask(
    http: aiohttp.ClientSession,
    api: str,
    item_id: str,
    *,
    wait: int | None = None,
    timeout: float = 3.0,
) -> Asked:
    """Ask for a takedown.

    Args:
        http: the caller.
        server: the public API.
        item_id: which item.
        wait: the caller's own deadline, if it has one.
        timeout: the service's.
    """
    headers = [] if wait is None else [("Prefer", f"wait={wait}")]
    at = time.time()
    got = await take_down(http, api, item_id, headers)
    deadline = timeout if wait is None else min(timeout, wait)
    return Asked(item_id, deadline, at, time.time(), got)


async def check_invariants(
    bootstrap: str,
    names: Names,
    asked: Iterable[Asked],
    lists: Mapping[str, Places],
    *,
    kept: bool = True,
    unheard: Container[str] = (),
    starved: float = 0.0,
) -> Report:
    """Check I1 to I4, I6 and I7 for all answers; fails with the first that breaks one.

    Args:
        bootstrap: the broker, without a fault in front of it.
        names: the topics.
        asked: every request that was made of the service, and its answer.
        lists: each item's containers when it was asked for; an item that is not in it does not
            exist.
        kept: the topics still hold everything that was written to them.
        unheard: items whose askers went away, or whose service was killed, before the answer.
        starved: seconds for which the machine has let service and askers wait for a processor.
    """
    answers = list(asked)
    ids = [each.got.takedown_id for each in answers]
    assert len(set(ids)) == len(ids), "each request has an identity of its own"
    written = await _read(bootstrap, names)
    foreign = [
        request
        for takedown_id in written.reported.keys() - set(ids)
        for request in written.reported[takedown_id]
        if request["itemId"] not in unheard
    ]
    assert not foreign, "nothing is reported that nobody asked for"
    for each in answers:
        assert each.overshoot <= GRACE + starved, f"I1: {each.overshoot:.3f} s late: {each}"
        try:
            _check(each, lists.get(each.item_id, []), written, kept=kept)
        except AssertionError as error:
            error.add_note(f"the answer: {each}")
            raise
    return Report(
        statuses=Counter(each.status for each in answers),
        reported=sum(map(len, written.reported.values())),
        deleted=sum(map(len, written.deleted.values())),
        overshoot=max(each.overshoot for each in answers),
    )


@dataclass(frozen=True)
class _Written:
    reported: Mapping[str, list[dict[str, Any]]]
    """By takedown."""
    deleted: Mapping[tuple[str, str], list[float]]
    """Of an item from a container: when it was written, by the wall clock."""
    published: Mapping[str, list[_List]]
    """Of an item: its lists, in the order of the topic."""


@dataclass(frozen=True)
class _List:
    at: float
    """When it was written, by the wall clock."""
    kinds: Mapping[str, str]
    """The types of its containers, by their ids; of a container that it has twice the first."""


async def _read(bootstrap: str, names: Names) -> _Written:
    requests, deletions, lists = await asyncio.gather(
        *(read_topic(bootstrap, name) for name in (names.reported, names.deleted, names.published))
    )
    reported: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in requests:
        value = json.loads(record.value)
        reported[value["takedownId"]].append(value)
    deleted: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in deletions:
        try:
            value = json.loads(record.value or b"")
            deleted[value["itemId"], value["containerId"]].append(record.timestamp / 1000)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # poison that a test put there
    published: dict[str, list[_List]] = defaultdict(list)
    for record in lists:
        try:
            value = json.loads(record.value) if record.value is not None else {"containers": []}
            item_id = value["itemId"] if record.value is not None else record.key.decode()
            published[item_id].append(_List(record.timestamp / 1000, _kinds(value["containers"])))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # poison
    return _Written(reported, deleted, published)


def _kinds(places: Iterable[Mapping[str, str]]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for place in places:
        kinds.setdefault(place["containerId"], place["containerType"])
    return kinds


def _check(asked: Asked, places: Places, written: _Written, *, kept: bool) -> None:
    body, status = asked.got.body, asked.status
    requests = written.reported.get(asked.got.takedown_id, [])
    assert {request["itemId"] for request in requests} <= {asked.item_id}
    lists = _lists_while(asked, places, written, kept=kept)
    listed = {name for each in lists for name in each.kinds}
    assert {request["containerId"] for request in requests} <= listed
    match status:
        case 200:
            named = [
                {k: p[k] for k in ("containerId", "containerType")} for p in body["containers"]
            ]
            assert _one_of(lists, named), "I2: every container, and no other"
            assert places
            _heard_of(named, asked, written, lists, kept=kept)
        case 400 | 404 | 503:
            assert not requests, "I3: nothing was published"
            assert status != 404 or not places, "I6: a 404 for an item that exists"
        case 502 | 504:
            deleted, outstanding = body["deleted"], body["outstanding"]
            assert _one_of(lists, [*deleted, *outstanding]), "I4: the lists are whole"
            _heard_of(deleted, asked, written, lists, kept=kept)
            if status == 502:
                published = body["published"]
                not_known = [*body["unpublished"], *body["unacknowledged"]]
                assert _sorted([*published, *not_known]) == _sorted([*deleted, *outstanding])
                there = {request["containerId"] for request in requests}
                assert not kept or {p["containerId"] for p in published} <= there, "I4"
        case _:
            raise AssertionError(f"{status} is no answer to any fault")


def _lists_while(asked: Asked, places: Places, written: _Written, *, kept: bool) -> list[_List]:
    """The list that was there when it was asked, and those that came till it was answered."""
    history = written.published.get(asked.item_id, [])
    same = [at for at, each in enumerate(history) if each.kinds == _kinds(places)]
    if not same:
        assert not places or not kept, f"{places} is not in the topic of the lists"
        return [_List(asked.at, _kinds(places))]
    # Of one that was written several times, the last before it was asked; it may be still unread.
    before = [at for at in same if history[at].at <= asked.at]
    rest = history[before[-1] if before else same[0] :]
    return [rest[0], *(each for each in rest[1:] if each.at <= asked.answered_at + _CLOCKS)]


def _one_of(lists: list[_List], named: Iterable[Mapping[str, str]]) -> bool:
    """Whether these are the containers of the first list or of the first few together."""
    known: dict[str, str] = {}
    for each in lists:
        known = {**each.kinds, **known}
        if sorted(known.items()) == _sorted(named):
            return True
    return False


def _heard_of(
    places: Places, asked: Asked, written: _Written, lists: list[_List], *, kept: bool
) -> None:
    """Of each container that the answer calls deleted a deletion, or a list without it after one
    with it, was in the topic by then (I2, I4, I7)."""
    for place in places:
        name = place["containerId"]
        since = next((at for at, each in enumerate(lists) if name in each.kinds), len(lists))
        if any(name not in each.kinds for each in lists[since:]):
            continue
        times = written.deleted.get((asked.item_id, name), [])
        if times or kept:
            assert times, f"no deletion from {place} is in the topic"
            assert min(times) <= asked.answered_at + _CLOCKS


def _sorted(places: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    return sorted((place["containerId"], place["containerType"]) for place in places)
