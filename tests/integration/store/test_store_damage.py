"""Whatever happened to the folder: it is said, and what is in it is not trusted."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.fakes import T0
from support.kept import DAMAGE, TOPIC, batch, entries, entry, filled, opened, truncate

from bus.kafka.log_marks import LogMark
from catalogue.store.check import check
from catalogue.store.data_folder import Folder, FolderInUse, data_of, is_in_use
from catalogue.store.entries import Doubt, pack_doubt
from catalogue.store.lmdb_store import LmdbStore
from catalogue.store.store import FORMAT, StoreDamaged

damaged = pytest.mark.parametrize("damage", DAMAGE, ids=lambda function: function.__name__)


def died(path: Path) -> None:
    """As if whoever had the folder was killed."""
    (path / "service.lock").write_text("pid 1\n")


async def test_what_was_closed_in_order_is_there_at_once_and_is_checked(tmp_path: Path) -> None:
    await filled(tmp_path)
    async with opened(tmp_path) as store:
        kept = store.kept()
        assert kept is not None
        assert (kept.positions, kept.items, kept.format) == ({0: 500}, 500, FORMAT)
        assert store.get(entry(7)[0]) == entry(7)[1]
        await store.proven()
        await store.commit(batch(entries(range(500, 600)), at=600))
    assert check(tmp_path, structure=True).items == 600


@damaged
async def test_damage_after_a_death_is_put_aside_before_anything_is_read(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    await filled(tmp_path)
    damage(tmp_path)
    died(tmp_path)
    async with opened(tmp_path) as store:
        assert store.kept() is None
        assert store.get(entry(7)[0]) is None
        await store.commit(batch(entries(range(3)), at=3, fresh=True))
        await store.proven()
    assert "rebuilt" in caplog.text
    checked = check(tmp_path, structure=True)
    assert (checked.problems, checked.items) == ((), 3)


@damaged
async def test_damage_at_rest_is_found_before_a_miss_counts(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    await filled(tmp_path)
    damage(tmp_path)
    async with opened(tmp_path) as store:
        if store.kept() is not None:  # it is not seen without a look at everything
            with pytest.raises(StoreDamaged):
                await store.proven()
            with pytest.raises(StoreDamaged):
                await store.commit(batch(entries(range(3)), at=503))
        await store.commit(batch(entries(range(3)), at=3, fresh=True))
        await store.proven()
        kept = store.kept()
        assert kept is not None
        assert (kept.positions, kept.items) == ({0: 3}, 3)
    assert check(tmp_path, structure=True).problems == ()


async def test_an_entry_that_is_lost_is_missed(tmp_path: Path) -> None:
    """By the sums: what is left is in perfect order."""
    await filled(tmp_path, 20)
    other = tmp_path / "other"
    other.mkdir()
    async with opened(other) as store:
        await store.commit(batch(entries(range(19)), at=20))
    assert check(tmp_path, structure=False).problems == ()
    await _give_the_sums_of(tmp_path, other)
    problems = check(other, structure=True).problems
    assert any("20 were kept, and 19 are there" in problem for problem in problems)


async def test_a_doubt_that_is_lost_is_missed(tmp_path: Path) -> None:
    """Without it, an item that nobody knows would be a 404."""
    key, _ = entry(7)
    doubt = pack_doubt(key, Doubt(T0, 0, 3, "no JSON"))
    other = tmp_path / "other"
    other.mkdir()
    async with opened(tmp_path) as store:
        await store.commit(batch({**entries(range(5)), key: doubt}, at=20))
        assert await store.doubts() == [(key, doubt)]
        assert await store.tombstones() == []
    async with opened(other) as store:
        await store.commit(batch(entries(range(5)), at=20))
    assert check(tmp_path, structure=True).problems == ()
    await _give_the_sums_of(tmp_path, other)
    problems = check(other, structure=True).problems
    assert any("doubts: 1 were kept, and 0 are there" in problem for problem in problems)


async def test_what_is_stored_beside_the_entries_comes_back(tmp_path: Path) -> None:
    marks = {0: LogMark(3, ((17, b"digest"), (18, b"other"))), 1: LogMark()}
    written = replace(batch(entries(range(5)), at=20), marks=marks, caught_up_at=1767323045.25)
    async with opened(tmp_path) as store:
        await store.commit(written)
    async with opened(tmp_path) as store:
        kept = store.kept()
        assert kept is not None
        assert (kept.marks, kept.caught_up_at) == (marks, 1767323045.25)


async def _give_the_sums_of(path: Path, other: Path) -> None:
    program = (
        "import lmdb, sys\n"
        "one = lmdb.open(sys.argv[1], max_dbs=2); two = lmdb.open(sys.argv[2], max_dbs=2)\n"
        "kept = one.begin(db=one.open_db(b'meta')).get(b'kept')\n"
        "with two.begin(db=two.open_db(b'meta'), write=True) as txn: txn.put(b'kept', kept)\n"
    )
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path), str(other)], check=True
    )


async def test_another_format_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("catalogue.store.store.FORMAT", FORMAT + 1)
        patch.setattr("catalogue.store.lmdb_format.FORMAT", FORMAT + 1)
        async with opened(tmp_path) as store:
            await store.commit(batch(entries(range(5)), at=5))
    async with opened(tmp_path) as store:
        assert store.kept() is None
    assert f"format {FORMAT + 1}, and we read {FORMAT}" in caplog.text


async def test_another_topic_is_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await filled(tmp_path)
    async with opened(tmp_path, topic="item_published.2") as store:
        assert store.kept() is None
        assert store.get(entry(7)[0]) is None
    assert f"made from topic {TOPIC}, and ours is item_published.2" in caplog.text


async def test_a_lock_file_of_lmdb_that_is_left_or_lost_does_no_harm(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "lock.mdb").unlink(missing_ok=True)
    async with opened(tmp_path) as store:
        assert store.kept() is not None
        await store.proven()
    (tmp_path / "lock.mdb").write_bytes(b"nonsense" * 1000)
    async with opened(tmp_path) as store:
        # Damage or not: what is not trusted is rebuilt.
        await store.commit(batch(entries(range(3)), at=3, fresh=True))
        await store.proven()


async def test_what_is_put_aside_leaves_nothing_behind(tmp_path: Path) -> None:
    await filled(tmp_path)
    truncate(tmp_path)
    async with opened(tmp_path):
        pass
    names = await asyncio.to_thread(os.listdir, tmp_path)
    assert sorted(names) == ["data.mdb", "lock.mdb", "service.lock"]


async def test_a_check_that_is_killed_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path)
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("catalogue.store.lmdb_store.sys.executable", str(program))
    async with opened(tmp_path) as store:
        with pytest.raises(StoreDamaged, match="ended with status -11"):
            await store.proven()


async def test_closing_ends_a_check_that_runs(tmp_path: Path) -> None:
    await filled(tmp_path)
    async with opened(tmp_path) as store:
        await asyncio.sleep(0.01)
        check = store._check
    assert check is not None
    assert check.done()


# ----------------------------------------------------------------------------- the folder


async def test_a_folder_is_one_services_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path / "new" / "folder") as store:
        assert is_in_use(store._path)
        with pytest.raises(FolderInUse, match=f"in use by another process \\(pid {os.getpid()}\\)"):
            await LmdbStore(store._path, TOPIC).take()
    assert not is_in_use(tmp_path / "new" / "folder")
    async with opened(tmp_path / "new" / "folder"):
        pass


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        await LmdbStore(tmp_path / "file", TOPIC).take()


def test_whoever_comes_when_somebody_has_just_gone_gets_the_folder(tmp_path: Path) -> None:
    first = Folder.take(tmp_path)
    take = (
        "import sys, pathlib; from catalogue.store.data_folder import Folder;"
        "print('go', flush=True);"
        "Folder.take(pathlib.Path(sys.argv[1]), patience=20); print('mine')"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", take, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "go\n"
    first.give_back(well=True)
    assert program.communicate(timeout=20)[0] == "mine\n"


def test_who_was_killed_has_not_given_back(tmp_path: Path) -> None:
    folder = Folder.take(tmp_path)
    folder.begin()
    os.close(folder._descriptor)  # what the kernel does
    assert not Folder.take(tmp_path).ended_well


@pytest.mark.parametrize("last", ["ftruncate", "pwrite"])
def test_who_is_killed_while_he_says_that_he_begins_does_not_hide_who_was_killed_before(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(tmp_path)
    folder = Folder.take(tmp_path)
    call = getattr(os, last)

    def call_and_die(*arguments: object) -> None:
        call(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, last, call_and_die)
    with pytest.raises(KeyboardInterrupt):
        folder.begin()
    os.close(folder._descriptor)  # what the kernel does
    assert not Folder.take(tmp_path).ended_well


def test_who_gave_back_in_order_is_told_from_who_did_not(tmp_path: Path) -> None:
    for well in (True, False, True):
        folder = Folder.take(tmp_path)
        folder.begin()
        folder.give_back(well=well)
        folder.give_back(well=True)  # has no effect
        with (tmp_path / "service.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        again = Folder.take(tmp_path)
        assert again.ended_well is well
        again.give_back(well=True)


def test_nothing_is_checked_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check(tmp_path, structure=True)
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        check(tmp_path, structure=True)
    assert not data_of(tmp_path).exists()
