"""A catalogue's folder that others can write to is refused, and no link in it is followed."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fakes import T0, item_id
from support.kept import TOPIC, batch, filled, opened
from support.processes import ROOT, running

from catalogue.store.data_folder import UnsafeFolder, data_of, is_in_use
from catalogue.store.entries import key_of, pack
from catalogue.store.lmdb_store import LmdbStore
from domain.messages import Container, ContainerId

ANOTHER_USER = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def of_another_user(path: Path) -> None:
    os.chown(path, ANOTHER_USER, ANOTHER_USER)


def for_the_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWGRP)


def for_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWOTH)


OPENED = {
    "the group can write": (for_the_group, "others can write to"),
    "all can write": (for_all, "others can write to"),
}
ANOTHERS = pytest.param(of_another_user, "belongs to user 65534", marks=as_root, id="another user")
UNSAFE = [*(pytest.param(*case, id=name) for name, case in OPENED.items()), ANOTHERS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue"


def modes(path: Path) -> dict[str, int]:
    """The mode of everything below this folder."""
    return {
        str(each.relative_to(path)): stat.S_IMODE(each.stat().st_mode) for each in path.rglob("*")
    }


def made(path: Path, mode: int) -> Path:
    path.mkdir()
    path.chmod(mode)
    return path


async def take(path: Path) -> None:
    """Take the folder as the service does."""
    store = LmdbStore(path, TOPIC)
    try:
        await store.take()
    finally:
        await store.close()


async def test_a_folder_is_made_for_us_alone_and_so_are_those_on_the_way_to_it(
    tmp_path: Path,
) -> None:
    was = os.umask(0)
    try:
        await filled(tmp_path / "data" / "catalogue", 3)
    finally:
        os.umask(was)
    assert modes(tmp_path) == {
        "data": 0o700,
        "data/catalogue": 0o700,
        "data/catalogue/service.lock": 0o600,
        "data/catalogue/data.mdb": 0o600,
        "data/catalogue/lock.mdb": 0o600,
    }


@pytest.mark.parametrize(("spoil", "words"), UNSAFE)
async def test_a_folder_that_others_can_write_to_is_refused(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    await filled(path, 3)
    spoil(path)
    with pytest.raises(UnsafeFolder, match=words):
        await take(path)


@pytest.mark.parametrize("name", ["service.lock", "data.mdb", "lock.mdb"])
@pytest.mark.parametrize(("spoil", "words"), UNSAFE)
async def test_a_file_in_it_that_others_can_write_to_is_refused(
    path: Path, name: str, spoil: Callable[[Path], None], words: str
) -> None:
    await filled(path, 3)
    spoil(path / name)
    with pytest.raises(UnsafeFolder, match=f"{words}.*|.*{name} {words}"):
        await take(path)


@pytest.mark.parametrize("name", ["service.lock", "data.mdb", "lock.mdb", "data.mdb.new"])
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
async def test_a_link_in_place_of_a_file_is_not_followed(
    path: Path, tmp_path: Path, name: str, there: bool
) -> None:
    await filled(path, 3)
    target = tmp_path / "target"
    if there:
        target.write_bytes(b"another user's")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(target)
    with pytest.raises(UnsafeFolder, match=f"{name} is a symbolic link"):
        await take(path)
    assert target.exists() == there
    if there:
        assert target.read_bytes() == b"another user's"


@pytest.mark.parametrize("name", ["service.lock", "data.mdb"])
async def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(
    path: Path, name: str
) -> None:
    await filled(path, 3)
    (path / name).unlink()
    os.mkfifo(path / name)
    async with asyncio.timeout(5):
        with pytest.raises(UnsafeFolder, match=f"{name} is not a file"):
            await take(path)


def test_the_lock_file_is_opened_without_following_links_whatever_was_checked_before(
    path: Path, tmp_path: Path
) -> None:
    path.mkdir()
    (path / "service.lock").symlink_to(tmp_path / "target")
    with pytest.raises(UnsafeFolder, match="symbolic link"):
        is_in_use(path)


async def test_a_link_to_the_folder_itself_is_the_operators(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made(path, 0o700))
    async with opened(tmp_path / "link"):
        assert is_in_use(path)


@as_root
@pytest.mark.parametrize(
    ("owner", "mode", "outcome"),
    [
        (ANOTHER_USER, 0o700, "taken"),
        (12345, 0o777, "UnsafeFolder"),
        (0, 0o777, "UnsafeFolder"),
        (0, 0o755, "PermissionError"),  # root's is as good as ours, but for its rights
    ],
)
def test_a_process_without_rights_takes_its_own_folders_only(
    path: Path, owner: int, mode: int, outcome: str
) -> None:
    path.parent.chmod(0o755)
    path.mkdir()
    path.chmod(mode)
    os.chown(path, owner, owner)
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from catalogue.store.data_folder import Folder
os.chdir({str(path.parent)!r})
os.seteuid({ANOTHER_USER})
try:
    Folder.take(Path({path.name!r}))
    print("taken")
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == outcome


# --------------------------------------------------------------------------- the program


def complaint(*arguments: str, **settings: object) -> tuple[int, str]:
    with running(*arguments, **settings) as process:
        return process.wait(within=30), process.text()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_service_with_a_folder_that_others_can_write_to_does_not_start(
    path: Path, workers: int
) -> None:
    status, text = await asyncio.to_thread(
        complaint,
        "serve",
        catalogue_folder=made(path, 0o777),
        workers=workers,
        kafka_bootstrap_servers="127.0.0.1:1",
        http_port=0,
        admin_port=0,
        log_format="json",
    )
    assert status == 2
    (line,) = [line for line in text.splitlines() if not line.startswith("{")]
    assert line == (
        f"takedown: TAKEDOWN_CATALOGUE_FOLDER: others can write to {path} (mode 0777): "
        f"name a folder of its own, or run chmod go-w {path}"
    )


@pytest.mark.parametrize("command", [["status"], ["item", item_id(1)], ["verify"], ["rebuild"]])
async def test_no_command_reads_a_folder_that_others_can_write_to(
    path: Path, command: list[str]
) -> None:
    await filled(path, 3)
    for_the_group(path)
    status, text = await asyncio.to_thread(complaint, "catalogue", *command, catalogue_folder=path)
    assert status == 2
    assert len(text.splitlines()) == 1
    assert text.startswith(f"takedown: TAKEDOWN_CATALOGUE_FOLDER: others can write to {path} ")
    assert data_of(path).exists()


async def test_what_a_writer_called_a_container_does_not_control_the_operators_terminal(
    path: Path,
) -> None:
    hostile = "\x1b]0;title\x07\x9b2J\u202e\nforged"
    key = key_of(item_id(1))
    value = pack(key, [Container(ContainerId(hostile), hostile)], T0, 0)
    async with opened(path) as store:
        await store.commit(batch({key: value}, at=1))
    shown: list[str] = []
    for flag in ([], ["--json"]):
        status, text = await asyncio.to_thread(
            complaint, "catalogue", "item", item_id(1), *flag, catalogue_folder=path
        )
        assert status == 0
        assert len(text.splitlines()) == (1 if flag else 2)
        assert "".join(text.splitlines()).isprintable()
        shown.append(text)
    assert json.loads(shown[1])["containers"][0]["containerId"] == hostile
