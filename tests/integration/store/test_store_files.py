"""The store in LMDB against a dictionary: whatever is done, both hold the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.fakes import T0, item_id, places
from support.kept import TOPIC, batch, entries, entry, large
from support.processes import ROOT

from catalogue.store.check import check
from catalogue.store.entries import count, key_of, pack
from catalogue.store.lmdb_files import LmdbFiles
from catalogue.store.lmdb_reader import read_only
from catalogue.store.store import MemoryStore, StoreDamaged, StoreUnavailable

PROGRAM = Path(__file__).parent / "die_anywhere.py"

NUMBERS = st.integers(0, 60)
NAMES = st.lists(st.sampled_from("abcdefgh"), max_size=5, unique=True)
CHANGES = st.dictionaries(NUMBERS, st.one_of(st.none(), NAMES), max_size=30)


class LikeADictionary(RuleBasedStateMachine):
    """Batches, beginnings and restarts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="takedown-test-"))
        self.files = LmdbFiles(self.path, first_map=1 << 17)
        self.files.open()
        self.model: dict[bytes, bytes] = {}
        self.position = 0
        self.written = False

    @rule(changes=CHANGES, fresh=st.booleans())
    def commit(self, changes: dict[int, list[str] | None], fresh: bool) -> None:
        values: dict[bytes, bytes | None] = {}
        for number, names in changes.items():
            key = key_of(item_id(number))
            values[key] = pack(key, places(*names), T0, 0) if names is not None else None
        if fresh:
            self.model.clear()
        for key, value in values.items():
            self.model.pop(key, None)
            if value is not None:
                self.model[key] = value
        self.position += 1
        self.files.commit(batch(values, at=self.position, fresh=fresh), TOPIC)
        self.written = True

    @rule(number=NUMBERS)
    def commit_what_needs_a_larger_map(self, number: int) -> None:
        key, value = large(number)
        self.model[key] = value
        self.position += 1
        self.files.commit(batch({key: value}, at=self.position), TOPIC)
        self.written = True

    @rule()
    def open_again(self) -> None:
        self.files.close()
        checked = check(self.path, structure=True)
        assert checked.problems == ()
        assert checked.items == sum(bool(count(v)) for v in self.model.values())
        self.files = LmdbFiles(self.path, first_map=1 << 17)
        self.files.open()

    @invariant()
    def every_key_has_its_value(self) -> None:
        for number in range(61):
            key = key_of(item_id(number))
            assert self.files.get(key) == self.model.get(key)

    @invariant()
    def what_is_kept_adds_up(self) -> None:
        kept = self.files.kept
        assert (kept is not None) == self.written
        if kept is not None:
            assert kept.positions == {0: self.position}
            assert kept.items == sum(bool(count(v)) for v in self.model.values())
            assert kept.items + kept.tombstones == len(self.model)
            tombstones = {key for key, value in self.model.items() if not count(value)}
            assert set(self.files.tombstones()) == tombstones
            assert kept.containers == sum(count(v) for v in self.model.values())

    def teardown(self) -> None:
        self.files.close()
        shutil.rmtree(self.path)


LikeADictionary.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_it_is_like_a_dictionary = LikeADictionary.TestCase


def test_the_store_in_memory_keeps_the_same(tmp_path: Path) -> None:
    files = LmdbFiles(tmp_path, first_map=1 << 20)
    files.open()
    memory = MemoryStore()
    batches = (
        batch(entries(range(50)), at=50),
        batch({**entries(range(10), "z"), **dict.fromkeys(entries(range(10, 20)))}, at=70),
        batch({key: pack(key, (), T0, 1) for key in entries(range(20, 30))}, at=80),
        batch(entries(range(5)), at=5, fresh=True),
    )
    for one in batches:
        files.commit(one, TOPIC)
        _run(memory.commit(one))
        ours, its = memory.kept(), files.kept
        assert ours is not None
        assert its is not None
        assert ours == its
        for number in range(60):
            key, _ = entry(number)
            assert memory.get(key) == files.get(key)
    files.close()


def _run(coroutine: Any) -> None:
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_the_map_grows_with_what_it_holds(tmp_path: Path) -> None:
    files = LmdbFiles(tmp_path, first_map=1 << 16)
    files.open()
    changes: dict[bytes, bytes | None] = dict(large(number) for number in range(200))
    files.commit(batch(changes, at=200), TOPIC)
    assert files.statistics().bytes > 1 << 20
    assert all(files.get(key) == value for key, value in changes.items())
    files.close()
    assert check(tmp_path, structure=True).problems == ()


def test_a_reader_in_another_place_sees_one_state(tmp_path: Path) -> None:
    files = LmdbFiles(tmp_path)
    files.open()
    files.commit(batch(entries(range(10)), at=10), TOPIC)
    files.close()
    with read_only(tmp_path) as (seen, kept):
        assert kept is not None
        assert kept.positions == {0: 10}
        assert seen.get(entry(3)[0]) == entry(3)[1]
        assert seen.get(entry(11)[0]) is None


def test_a_file_that_was_exchanged_while_it_was_closed_is_not_written_to(tmp_path: Path) -> None:
    files = LmdbFiles(tmp_path / "one")
    (tmp_path / "one").mkdir()
    files.open()
    files.commit(batch(entries(range(10)), at=10), TOPIC)
    with files._swap:
        files._close_locked()  # as after a transaction that failed
    with pytest.raises(StoreUnavailable):  # which is no word on whether it is there
        files.get(entry(3)[0])
    shutil.rmtree(tmp_path / "one")
    (tmp_path / "one").mkdir()
    with pytest.raises(StoreDamaged, match="not the file that we wrote"):
        files.commit(batch(entries(range(10, 20)), at=20), TOPIC)
    files.close()


def test_half_a_batch_is_never_there(tmp_path: Path) -> None:
    files = LmdbFiles(tmp_path)
    files.open()
    files.commit(batch(entries(range(10)), at=10), TOPIC)
    poison: Any = {**entries(range(10, 20)), entry(15)[0]: "no bytes"}
    with pytest.raises(TypeError):
        files.commit(batch(poison, at=20), TOPIC)
    assert files.get(entry(12)[0]) is None
    assert files.kept is not None
    assert files.kept.positions == {0: 10}
    files.close()
    assert check(tmp_path, structure=True).problems == ()


def test_whoever_dies_while_he_makes_a_store_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    """After each call that is made for it."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["make"].keys() == {"nothing", "0 items, nothing kept"}
    assert found["start_over"].keys() == {"5 items", "nothing", "0 items, nothing kept", "3 items"}
