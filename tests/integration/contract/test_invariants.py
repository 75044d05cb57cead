"""A mixed run beside an Items side that misbehaves; then the topics are read back.

What is published and how it misbehaves follows from a seed; what happens when does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from support.answers import (
    GRACE,
    Got,
    assert_deleted,
    assert_problem,
    hurried_caller,
    take_down,
)
from support.observed import given_back, quiet, scrape, starvation
from support.platform import (
    Platform,
    confirm_soon,
    container,
    new_item_id,
    read_topic,
)
from support.processes import Process

TIMEOUT = 3
POOL = 90
ASKED = 200
LATE = 1.0
"""Seconds after which a deletion in the topic must have been read, on a slow machine too."""

CLOCK_STEP = 0.001
"""Seconds: the service's loop (uvloop) counts its time in milliseconds."""

Places = list[dict[str, str]]


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"timeout": TIMEOUT, "pool_max": POOL}


class Misbehaving:
    """Drops, duplicates, delays and reorders; now and then says what nobody asked for."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_request(self, platform: Platform, request: dict[str, Any]) -> None:
        chance = self._random.random()
        if chance < 0.05:
            return
        times = 2 if chance < 0.25 else 1
        for _ in range(times):
            delay = self._random.choice([0, 0, 0, 0.01, 0.1, 0.5, 1.5])
            self._later(delay, platform, request)
        if chance > 0.8:
            other = {**request, "containerId": f"not {request['containerId']}"}
            self._later(0, platform, other)
            self._later(0, platform, {**request, "itemId": new_item_id()})

    def _later(self, delay: float, platform: Platform, request: dict[str, Any]) -> None:
        async def confirm() -> None:
            await asyncio.sleep(delay)
            await confirm_soon(platform, request)

        task = asyncio.create_task(confirm())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)


@dataclass(frozen=True)
class Asked:
    """One request and its answer."""

    item_id: str
    wait: int | None
    at: float
    answered_at: float
    got: Got

    @property
    def deadline(self) -> float:
        return TIMEOUT if self.wait is None else min(self.wait, TIMEOUT)


@dataclass(frozen=True)
class Run:
    """Everything that was asked, answered and written."""

    asked: list[Asked]
    lists: Mapping[str, Places]
    reported: Mapping[str, list[dict[str, Any]]]
    """By takedown."""
    deleted: Mapping[tuple[str, str], list[float]]
    """Of an item from a container: when it was written, by the wall clock."""
    log: list[dict[str, Any]]
    starved: float
    """Seconds for which the machine has not let the service run when it should have."""
    we_starved: float
    """The same for this test, whose clock is the caller's."""


def lists_of(seed: int) -> dict[str, Places]:
    chosen = random.Random(seed)
    return {
        new_item_id(): [
            container(f"c{number}", chosen.choice(["timeline", "group"]))
            for number in range(chosen.choice([0, 1, 1, 2, 3, 3, 5, 20]))
        ]
        for _ in range(120)
    }


async def ask(http: aiohttp.ClientSession, api: str, item_id: str, wait: int | None) -> Asked:
    headers = [] if wait is None else [("Prefer", f"wait={wait}")]
    at = time.time()
    got = await take_down(http, api, item_id, headers)
    return Asked(item_id, wait, at, time.time(), got)


async def take_all_down(api: str, lists: Mapping[str, Places], seed: int) -> list[Asked]:
    chosen = random.Random(seed)
    async with hurried_caller() as http:
        asking = []
        for _ in range(ASKED):
            item_id = chosen.choice(list(lists))
            kind = chosen.random()
            if kind < 0.05:
                item_id = new_item_id()
            elif kind < 0.08:
                item_id = item_id[:-1]
            wait = chosen.choice([None, None, 1, 2, 60])
            asking.append(asyncio.create_task(ask(http, api, item_id, wait)))
            # Some together and some apart: all deadlines at one moment would be another test.
            await asyncio.sleep(chosen.choice([0, 0, 0.01, 0.02]))
        return await asyncio.gather(*asking)


@pytest.fixture(params=[1, 2, 3])
async def run(
    request: pytest.FixtureRequest,
    service: Process,
    bootstrap: str,
    api: str,
    admin: str,
    items: Platform,
) -> Run:
    seed: int = request.param
    before = await quiet(admin)
    counted = (await scrape(admin)).samples
    lists = lists_of(seed)
    await items.publish_items(lists)
    misbehaving = Misbehaving(seed)
    known = set(lists)

    async def on_request(platform: Platform, record: dict[str, Any]) -> None:
        if record["itemId"] in known:  # those of the run before are in the topic, too
            await misbehaving.on_request(platform, record)

    items.on_request = on_request
    async with starvation(service.pid) as starved, starvation(os.getpid()) as we_starved:
        asked = await take_all_down(api, lists, seed)
    await misbehaving.finish()

    await given_back(admin, before)
    answers = "takedown_http_answers_total"
    after = (await scrape(admin)).samples
    assert sum(
        value - counted.get(key, 0) for key, value in after.items() if key[0] == answers
    ) == len(asked)

    reported: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in await read_topic(bootstrap, items.names.reported):
        value = json.loads(record.value)
        reported[value["takedownId"]].append(value)
    deleted: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in await read_topic(bootstrap, items.names.deleted):
        value = json.loads(record.value)
        deleted[value["itemId"], value["containerId"]].append(record.timestamp / 1000)
    return Run(
        asked, lists, reported, deleted, service.events(), starved.worst(), we_starved.worst()
    )


async def test_the_invariants_hold(run: Run) -> None:
    """One run for all of them: it is the run that takes long."""
    statuses = {asked.got.status for asked in run.asked}
    assert statuses >= {200, 400, 404, 504}, "a run that shows something has all of these"
    each_request_has_exactly_one_answer_in_time(run)
    for asked in run.asked:
        check = {
            200: deleted_only_if_every_deletion_was_written,
            400: nothing_was_published,
            404: not_found_only_if_there_was_nothing,
            503: nothing_was_published,
            504: the_lists_are_true,
        }[asked.got.status]
        check(run, asked)


def each_request_has_exactly_one_answer_in_time(run: Run) -> None:  # I1
    ids = [asked.got.takedown_id for asked in run.asked]
    assert len(set(ids)) == len(ids)
    answered: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in run.log:
        if event["event"] in {"Answered a takedown", "Refused a request"}:
            answered[event["takedownId"]].append(event)
    for asked in run.asked:
        (event,) = answered[asked.got.takedown_id]
        assert event["status"] == asked.got.status
        # By the service's clock: with 200 at once, ours also measures how busy this test is.
        bound = asked.deadline + GRACE + run.starved
        assert event.get("elapsedMs", 0) <= bound * 1000
        if asked.got.status == 504:
            assert asked.got.seconds >= asked.deadline - CLOCK_STEP
        else:
            assert asked.got.seconds <= bound + GRACE + run.we_starved


def deleted_only_if_every_deletion_was_written(run: Run, asked: Asked) -> None:  # I2
    places = run.lists[asked.item_id]
    assert places
    assert_deleted(asked.got, asked.item_id, places)
    for place in places:
        written = run.deleted[asked.item_id, place["containerId"]]
        assert min(written) <= asked.answered_at + 0.01
    only_what_was_asked_for(run, asked)


def nothing_was_published(run: Run, asked: Asked) -> None:  # I3
    assert asked.got.takedown_id not in run.reported
    if asked.got.status == 503:
        assert_problem(asked.got, 503, "overloaded", item_id=asked.item_id)
    else:
        assert_problem(asked.got, 400, "invalid-item-id")


def not_found_only_if_there_was_nothing(run: Run, asked: Asked) -> None:  # I3, I6
    assert asked.got.takedown_id not in run.reported
    assert not run.lists.get(asked.item_id)
    assert_problem(asked.got, 404, "item-not-found", item_id=asked.item_id)


def the_lists_are_true(run: Run, asked: Asked) -> None:  # I4, I7
    places = run.lists[asked.item_id]
    deleted, outstanding = asked.got.body["deleted"], asked.got.body["outstanding"]
    assert_problem(
        asked.got,
        504,
        "deadline-passed",
        item_id=asked.item_id,
        deleted=deleted,
        outstanding=outstanding,
    )
    assert outstanding == [place for place in places if place not in deleted]
    assert len(deleted) + len(outstanding) == len(places)
    for place in deleted:
        assert min(run.deleted[asked.item_id, place["containerId"]]) <= asked.answered_at + 0.01
    for place in outstanding:
        heard = run.deleted.get((asked.item_id, place["containerId"]), [])
        assert not [at for at in heard if asked.at + LATE < at < asked.answered_at - LATE]
    only_what_was_asked_for(run, asked)
    assert len(run.reported[asked.got.takedown_id]) == len(places)


def only_what_was_asked_for(run: Run, asked: Asked) -> None:
    """One request for each container at most, and none for anything else."""
    requests = run.reported.get(asked.got.takedown_id, [])
    named = [request["containerId"] for request in requests]
    assert len(set(named)) == len(named)
    assert set(named) <= {place["containerId"] for place in run.lists[asked.item_id]}
    assert {request["itemId"] for request in requests} <= {asked.item_id}
