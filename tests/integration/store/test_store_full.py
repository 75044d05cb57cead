"""A disk that is full: said, nothing wrong is told, and it passes by itself."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kept import TOPIC, batch, entries, filled
from support.processes import ROOT, running

from catalogue.store.check import check
from catalogue.store.lmdb_files import LmdbFiles
from catalogue.store.store import StoreUnavailable

PROGRAM = Path(__file__).parent / "full_disk.py"


def test_a_full_disk_loses_nothing_and_passes_by_itself(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["before"] == "{0: 1}"
    assert "cannot be written to" in said["full"]
    assert "MiB of the disk are free" in said["full"]
    assert said["kept"] == "{0: 1}"
    assert said["known"] == "3001"
    assert said["after"] == "{0: 3001}"
    checked = check(tmp_path, structure=True)
    assert (checked.problems, checked.items, checked.containers) == ((), 3001, 60_001)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 1000, 4096, 8192, 12288, 16384])
def test_a_disk_that_is_full_while_a_store_is_made_is_said_and_passes(
    size: int, tmp_path: Path
) -> None:
    first = batch(entries(range(5)), at=5)
    files = LmdbFiles(tmp_path, first_map=1 << 20)
    with largest_file(size):
        with contextlib.suppress(StoreUnavailable):  # an empty store has room, or has none
            files.open()
        with pytest.raises(StoreUnavailable, match="cannot be written to"):
            files.commit(first, TOPIC)
    assert files.kept is None
    files.commit(first, TOPIC)
    files.close()
    assert check(tmp_path, structure=True).items == 5
    assert {file.name for file in tmp_path.iterdir()} == {"data.mdb", "lock.mdb"}


async def test_a_folder_that_is_in_use_is_one_clear_line_and_status_2(tmp_path: Path) -> None:
    await filled(tmp_path, 3)
    settings = {"http_port": 0, "admin_port": 0, "log_format": "json", "catalogue_folder": tmp_path}
    with running("serve", "--embedded-broker", **settings) as first:
        first.wait_for_event("ready")
        with running("serve", "--embedded-broker", **settings) as second:
            assert second.wait() == 2
            said = [line for line in second.lines if not line.startswith("{")]
            assert len(said) == 1
            assert said[0].startswith(f"takedown: TAKEDOWN_CATALOGUE_FOLDER: {tmp_path} is in use")
            assert f"(pid {first.pid})" in said[0]
        assert first.stop() == 0


def test_with_the_embedded_broker_the_folder_is_gone_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "temporary").mkdir()
    settings = {"http_port": 0, "admin_port": 0, "log_format": "json", "catalogue_folder": ""}
    with running("serve", "--embedded-broker", **settings) as service:
        service.wait_for_event("ready")
        assert list(tmp_path.glob("temporary/takedown-*/data.mdb"))
        assert service.stop() == 0
        assert not list(tmp_path.glob("temporary/takedown-*/data.mdb"))
    assert not (tmp_path / "data").exists()


def test_with_a_broker_of_its_own_the_folder_is_in_the_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = {"http_port": 0, "admin_port": 0, "log_format": "json", "catalogue_folder": ""}
    with running("serve", kafka_bootstrap_servers="127.0.0.1:1", **settings) as service:
        service.wait_for_event("listening")
        assert (tmp_path / "takedown" / "catalogue" / "service.lock").exists()
        assert service.stop() == 0


def test_a_folder_that_cannot_be_made_is_one_clear_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = {"http_port": 0, "admin_port": 0, "catalogue_folder": tmp_path / "file"}
    with running("serve", "--embedded-broker", **settings) as service:
        assert service.wait() == 2
        assert "takedown: TAKEDOWN_CATALOGUE_FOLDER cannot be used" in service.text()
