"""`takedown catalogue`: for people, for programs, and for those who call it wrongly."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.fakes import T0, item_id
from support.kept import DAMAGE, batch, entries, entry, filled, one_bit, opened
from support.processes import Process, running

from bus.kafka.log_marks import LogMark
from catalogue.store.data_folder import data_of
from catalogue.store.entries import Doubt, pack, pack_doubt

DAMAGED = [damage for damage in DAMAGE if damage.__name__ != "no_heads"]


class Said:
    """What a command said, and its exit status."""

    def __init__(self, *arguments: str, **settings: object) -> None:
        with running("catalogue", *arguments, **settings) as process:
            self.status = process.wait(within=60)
            self.text = process.text()

    def json(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.text)
        return facts


async def said(path: Path, *arguments: str) -> Said:
    return await asyncio.to_thread(Said, *arguments, catalogue_folder=path)


async def test_status_says_what_is_kept(tmp_path: Path) -> None:
    await filled(tmp_path, 20)
    for_people = await said(tmp_path, "status")
    assert for_people.status == 0
    lines = dict(line.split(maxsplit=1) for line in for_people.text.splitlines())
    assert lines["items"] == "20"
    assert lines["containers"] == "40"
    assert lines["positions"] == "0: 20"
    assert lines["folder"] == str(tmp_path)
    for_programs = await said(tmp_path, "status", "--json")
    assert for_programs.status == 0
    assert for_programs.json() == {
        "folder": str(tmp_path),
        "inUse": False,
        "bytes": data_of(tmp_path).stat().st_size,
        "topic": "item_published",
        "clusterId": "cluster",
        "topicId": "log",
        "format": 5,
        "items": 20,
        "containers": 40,
        "tombstones": 0,
        "inDoubt": 0,
        "caughtUpAt": None,
        "leaderEpochs": {},
        "positions": {"0": 20},
    }


async def test_an_item_that_is_gone_is_not_there(tmp_path: Path) -> None:
    key, _ = entry(2)
    async with opened(tmp_path) as store:
        await store.commit(batch({**entries(range(5)), key: pack(key, (), T0, 0)}, at=5))
    gone = await said(tmp_path, "item", item_id(2), "--json")
    assert gone.status == 1
    facts = (await said(tmp_path, "status", "--json")).json()
    assert (facts["items"], facts["containers"], facts["tombstones"]) == (4, 8, 1)
    assert (await said(tmp_path, "verify")).status == 0


async def test_doubts_are_listed_newest_first_and_item_shows_one(tmp_path: Path) -> None:
    older = Doubt(T0, 2, 41, "no JSON")
    newer = Doubt(T0 + timedelta(seconds=1), 0, 7, "containers: null")
    keys = [entry(number)[0] for number in (1, 2)]
    doubts = {key: pack_doubt(key, doubt) for key, doubt in zip(keys, (older, newer), strict=True)}
    marks = {0: LogMark(epoch=3), 1: LogMark(epoch=5)}
    async with opened(tmp_path) as store:
        changes = {**entries(range(5)), **doubts}
        await store.commit(replace(batch(changes, at=5), marks=marks, caught_up_at=1767323045.5))
    for_programs = await said(tmp_path, "doubts", "--json")
    assert for_programs.status == 0
    assert for_programs.json() == {
        "total": 2,
        "gaps": [],
        "doubts": [
            {
                "itemId": item_id(2),
                "topic": "item_published",
                "partition": 0,
                "offset": 7,
                "doubtedAt": "2026-01-02T03:04:06.678Z",
                "reason": "containers: null",
            },
            {
                "itemId": item_id(1),
                "topic": "item_published",
                "partition": 2,
                "offset": 41,
                "doubtedAt": "2026-01-02T03:04:05.678Z",
                "reason": "no JSON",
            },
        ],
    }
    for_people = (await said(tmp_path, "doubts")).text.splitlines()
    assert for_people[0] == "2 items in doubt"
    assert for_people[2].endswith("item_published[2] at offset 41: no JSON")
    shown = await said(tmp_path, "item", item_id(1))
    assert shown.status == 1
    assert "is in doubt: item_published[2] at offset 41: no JSON" in shown.text
    facts = (await said(tmp_path, "status", "--json")).json()
    assert (facts["items"], facts["containers"], facts["inDoubt"]) == (3, 6, 2)
    assert facts["leaderEpochs"] == {"0": 3, "1": 5}
    assert facts["caughtUpAt"] == "2026-01-02T03:04:05.500Z"
    assert (await said(tmp_path, "verify")).status == 0


async def test_item_says_where_one_item_is(tmp_path: Path) -> None:
    await filled(tmp_path, 3)
    for_people = await said(tmp_path, "item", item_id(2).upper())
    assert for_people.status == 0
    assert [line.split() for line in for_people.text.splitlines()[1:]] == [
        ["a", "(group)"],
        ["b", "(group)"],
    ]
    for_programs = await said(tmp_path, "item", item_id(2), "--json")
    assert for_programs.json() == {
        "itemId": item_id(2),
        "listedAt": "2026-01-02T03:04:05.678000Z",
        "containers": [
            {"containerId": "a", "containerType": "group"},
            {"containerId": "b", "containerType": "group"},
        ],
    }


async def test_an_item_that_is_not_there_is_status_1(tmp_path: Path) -> None:
    await filled(tmp_path, 3)
    for_people = await said(tmp_path, "item", item_id(9))
    assert for_people.status == 1
    assert for_people.text == f"takedown: {item_id(9)} is not in the stored catalogue"
    for_programs = await said(tmp_path, "item", item_id(9), "--json")
    assert for_programs.status == 1
    assert for_programs.json()["itemId"] == item_id(9)


async def test_an_entry_that_is_damaged_is_not_shown(tmp_path: Path) -> None:
    await filled(tmp_path)
    one_bit(tmp_path)
    shown = await said(tmp_path, "item", item_id(7))
    assert shown.status == 1
    assert "damaged" in shown.text
    assert "(group)" not in shown.text


async def test_verify_reads_all_of_it(tmp_path: Path) -> None:
    await filled(tmp_path, 20)
    for_people = await said(tmp_path, "verify")
    assert for_people.status == 0
    assert for_people.text == "20 items in 40 containers: all is as it was written."
    for_programs = await said(tmp_path, "verify", "--json")
    assert for_programs.json() == {
        "folder": str(tmp_path),
        "items": 20,
        "containers": 40,
        "structure": True,
    }
    async with opened(tmp_path) as store:  # which has not noticed anything
        assert store.kept() is not None


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
async def test_verify_of_what_is_damaged_is_status_1(tmp_path: Path, damage: Any) -> None:
    await filled(tmp_path)
    damage(tmp_path)
    found = await said(tmp_path, "verify", "--json")
    assert found.status == 1
    assert "damaged" in found.json()["problem"]


async def test_rebuild_removes_what_is_kept(tmp_path: Path) -> None:
    await filled(tmp_path, 20)
    done = await said(tmp_path, "rebuild")
    assert done.status == 0
    assert "the next start makes it again" in done.text
    async with opened(tmp_path) as store:
        assert store.kept() is None
    await filled(tmp_path, 20)
    assert (await said(tmp_path, "rebuild", "--json")).json() == {
        "folder": str(tmp_path),
        "removed": True,
    }


async def test_all_but_rebuild_work_while_a_service_writes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit(batch(dict([entry(1), entry(2)]), at=2))
        status = await said(tmp_path, "status", "--json")
        assert status.json()["inUse"] is True
        assert status.json()["items"] == 2
        assert (await said(tmp_path, "item", item_id(1))).status == 0
        verified = await said(tmp_path, "verify")
        assert verified.status == 0
        assert "the file's structure was not checked" in verified.text
        refused = await said(tmp_path, "rebuild")
        assert refused.status == 2
        assert "is in use by another process" in refused.text
        assert "stop it first" in refused.text
        await store.commit(batch(dict([entry(3)]), at=3))
        assert store.get(entry(1)[0]) == entry(1)[1]


@pytest.mark.parametrize("command", [["status"], ["item", item_id(1)], ["verify"], ["rebuild"]])
async def test_without_a_catalogue_it_says_so(tmp_path: Path, command: list[str]) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        nothing = await said(path, *command)
        assert nothing.status == 1
        assert nothing.text == f"takedown: there is no catalogue in {path}"
    assert not (tmp_path / "nowhere").exists()


async def test_with_workers_it_says_where_theirs_are(tmp_path: Path) -> None:
    await filled(tmp_path / "worker-0", 3)
    nothing = await said(tmp_path, "status")
    assert nothing.status == 1
    assert str(tmp_path / "worker-0") in nothing.text
    assert (await said(tmp_path / "worker-0", "status")).status == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["item"], "ITEM_ID"),
        (["item", "no uuid"], "'no uuid' is not an item's id"),
        (["status", "--what"], "--what"),
        (["mend"], "mend"),
        ([], "Usage"),
    ],
)
async def test_what_is_called_wrongly_is_status_2(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    wrong = await said(tmp_path, *arguments)
    assert wrong.status == 2
    assert complaint in wrong.text


def test_the_folder_can_be_named_by_a_flag(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path, 3))
    process = Process(
        "catalogue", "status", "--json", "--catalogue-folder", str(tmp_path), catalogue_folder="/no"
    )
    try:
        assert process.wait() == 0
        assert json.loads(process.text())["items"] == 3
    finally:
        process.close()
