"""`takedown catalogue`: inspect, check or rebuild the stored catalogue.

All but `rebuild` work while a service runs. Exit status: 0 when all is well, 1 when something is
not (there is no catalogue, no such item, or damage), 2 when it was called wrongly.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from app.catalogue_folder import folder_of
from app.setting_table import SETTINGS
from app.settings import load
from bus.kafka.codec import parse_item_id
from catalogue.store.check import check
from catalogue.store.data_folder import (
    Folder,
    FolderInUse,
    UnsafeFolder,
    clear,
    data_of,
    is_in_use,
    refuse_unsafe,
    sweep,
)
from catalogue.store.entries import (
    DamagedEntry,
    Doubt,
    is_doubt,
    item_of,
    key_of,
    partition_of_key,
    unpack,
)
from catalogue.store.lmdb_reader import read_only
from catalogue.store.store import StoreDamaged
from domain.errors import SettingsError
from domain.printable import escaped, escaped_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from catalogue.store.store import Kept
    from domain.messages import ItemId

_FAILED = 1

_FOLDER = SETTINGS["catalogue_folder"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks about."""

    path: Path
    json: bool

    def answer(self, facts: dict[str, Any], text: str) -> None:
        click.echo(escaped_json(msgspec.json.encode(facts).decode()) if self.json else text)

    def fail(self, problem: str, /, **facts: Any) -> NoReturn:
        """Say what is not well, and end."""
        if self.json:
            answer = msgspec.json.encode({"problem": problem, **facts}).decode()
            click.echo(escaped_json(answer))
        else:
            click.echo(f"takedown: {escaped(problem)}", err=True)
        sys.exit(_FAILED)


@click.group("catalogue", help="Inspect, check or rebuild the stored catalogue.")
def catalogue() -> None:
    """Nothing by itself: the commands do it."""


def _command(function: Callable[..., None]) -> click.Command:
    """A command with the folder and `--json` as options."""

    @functools.wraps(function)
    def callback(*, catalogue_folder: str | None, json: bool, **arguments: str) -> None:
        settings = load(os.environ, {"catalogue_folder": catalogue_folder})
        asked = _Asked(folder_of(settings), json)
        try:
            refuse_unsafe(asked.path)
            function(asked, **arguments)
        except UnsafeFolder as error:
            raise SettingsError(f"{_FOLDER.variable}: {error}") from None
        except FileNotFoundError:
            workers = sorted(asked.path.glob("worker-*"))
            hint = f"; its workers' are in {', '.join(map(str, workers))}" if workers else ""
            asked.fail(f"there is no catalogue in {asked.path}{hint}")
        except PermissionError as error:
            asked.fail(f"{asked.path} cannot be read: {error.strerror}")
        except (StoreDamaged, DamagedEntry) as error:
            asked.fail(f"the catalogue is damaged: {error}")

    command = click.command(function.__name__.removeprefix("_"))(callback)
    assert isinstance(command, click.Command)
    command.params += [
        click.Option(
            [_FOLDER.flag, "catalogue_folder"],
            metavar="TEXT",
            help=f"{_FOLDER.help} [{_FOLDER.variable}; default: empty]",
        ),
        click.Option(["--json"], is_flag=True, help="for programs"),
    ]
    catalogue.add_command(command)
    return command


def _facts(path: Path, kept: Kept | None) -> dict[str, Any]:
    return {
        "folder": str(path),
        "inUse": is_in_use(path),
        "bytes": data_of(path).stat().st_size,
        "topic": kept.topic if kept else "",
        "clusterId": kept.cluster_id if kept else "",
        "topicId": kept.topic_id if kept else "",
        "format": kept.format if kept else 0,
        "items": kept.items if kept else 0,
        "containers": kept.containers if kept else 0,
        "tombstones": kept.tombstones if kept else 0,
        "inDoubt": kept.doubts if kept else 0,
        "caughtUpAt": _time(kept.caught_up_at) if kept and kept.caught_up_at else None,
        "leaderEpochs": {str(n): mark.epoch for n, mark in sorted(kept.marks.items())}
        if kept
        else {},
        "positions": {str(n): at for n, at in sorted(kept.positions.items())} if kept else {},
    }


@_command
def _status(asked: _Asked) -> None:
    """What is kept, and how far the topic was read for it."""
    with read_only(asked.path) as (_, kept):
        facts = _facts(asked.path, kept)
    positions = ", ".join(f"{number}: {at}" for number, at in facts["positions"].items())
    epochs = ", ".join(f"{number}: {at}" for number, at in facts["leaderEpochs"].items())
    lines = (
        ("folder", facts["folder"]),
        ("in use", "yes, by a service" if facts["inUse"] else "no"),
        ("size", f"{facts['bytes'] / 2**20:.1f} MiB"),
        ("items", facts["items"]),
        ("containers", facts["containers"]),
        ("tombstones", facts["tombstones"]),
        ("in doubt", facts["inDoubt"]),
        ("topic", facts["topic"] or "nothing was read yet"),
        ("topic id", facts["topicId"] or "not reported by the broker"),
        ("cluster id", facts["clusterId"] or "not reported by the broker"),
        ("positions", positions or "none"),
        ("epochs", epochs or "none"),
        ("caught up", facts["caughtUpAt"] or "never"),
    )
    asked.answer(facts, "\n".join(f"{name:<11}{value}" for name, value in lines))


@_command
@click.argument("item_id")
def _item(asked: _Asked, item_id: str) -> None:
    """Where one item is, as of the positions that are kept."""
    parsed = parse_item_id(item_id)
    if parsed is None:
        raise SettingsError(f"{item_id!r} is not an item's id: a UUID in its usual text form")
    key = key_of(parsed)
    with read_only(asked.path) as (entries, _):
        value = entries.get(key)
    listed = unpack(key, value) if value is not None else None
    if isinstance(listed, Doubt):
        with read_only(asked.path) as (_, kept):
            doubt = _doubt(parsed, listed, kept)
        asked.fail(f"{parsed} is in doubt: {_where(doubt)}: {doubt['reason']}", **doubt)
    if listed is None or not listed.containers:
        asked.fail(f"{parsed} is not in the stored catalogue", itemId=parsed)
    facts = {
        "itemId": parsed,
        "listedAt": listed.listed_at,
        "containers": listed.containers,
    }
    lines = [f"{parsed}, list of {listed.listed_at.isoformat()}"]
    lines += [
        f"  {escaped(one.container_id)}  ({escaped(one.container_type)})"
        for one in listed.containers
    ]
    asked.answer(facts, "\n".join(lines))


@_command
def _doubts(asked: _Asked) -> None:
    """The items whose newest record cannot be read, as of the positions that are stored."""
    with read_only(asked.path) as (entries, kept):
        found = [
            (item_id, doubt)
            for key, value in entries.cursor()
            if is_doubt(value)
            and isinstance(doubt := unpack(key, value), Doubt)
            and (item_id := item_of(key)) is not None
        ]
        gaps = [
            _doubt(None, doubt, kept)
            for key, value in entries.cursor()
            if partition_of_key(key) is not None and isinstance(doubt := unpack(key, value), Doubt)
        ]
    found.sort(key=lambda each: each[1].doubted_at, reverse=True)
    rows = [_doubt(item_id, doubt, kept) for item_id, doubt in found]
    lines = [f"{len(rows)} items in doubt"]
    lines += [
        f"and each item whose record is not newer than {_where(row)}: {escaped(row['reason'])}"
        for row in gaps
    ]
    lines += [
        f"{row['itemId']}  {row['doubtedAt']}  {_where(row)}: {escaped(row['reason'])}"
        for row in rows
    ]
    asked.answer({"total": len(rows), "doubts": rows, "gaps": gaps}, "\n".join(lines))


def _doubt(item_id: ItemId | None, doubt: Doubt, kept: Kept | None) -> dict[str, Any]:
    return {
        "itemId": item_id,
        "topic": kept.topic if kept else "",
        "partition": doubt.partition,
        "offset": doubt.offset,
        "doubtedAt": doubt.doubted_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "reason": doubt.reason,
    }


def _where(row: dict[str, Any]) -> str:
    return f"{row['topic']}[{row['partition']}] at offset {row['offset']}"


def _time(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@_command
def _verify(asked: _Asked) -> None:
    """Read all of it, and say whether it is what was written. Status 1 if it is not."""
    if not data_of(asked.path).exists():
        raise FileNotFoundError
    try:
        # Ours for the while: the structure can only be looked at while nobody writes.
        folder = Folder.take(asked.path, patience=0)
    except FolderInUse:
        checked = check(asked.path, structure=False)
    else:
        try:
            checked = check(asked.path, structure=True)
        finally:
            folder.give_back(well=False)
    facts = {
        "folder": str(asked.path),
        "items": checked.items,
        "containers": checked.containers,
        "structure": checked.structure,
    }
    if checked.problems:
        asked.fail(f"the catalogue is damaged: {'; '.join(checked.problems)}", **facts)
    without = "" if checked.structure else " A service writes: the file's structure was not checked"
    asked.answer(
        facts,
        f"{checked.items} items in {checked.containers} containers: all is as it was written."
        + without,
    )


@_command
def _rebuild(asked: _Asked) -> None:
    """Remove what is kept: the next start reads the topic from its beginning."""
    if not data_of(asked.path).exists():
        raise FileNotFoundError
    try:
        folder = Folder.take(asked.path)
    except FolderInUse as error:
        raise SettingsError(f"{error}: stop it first") from None
    try:
        clear(asked.path)
        sweep(asked.path)
    finally:
        folder.give_back(well=True)
    asked.answer(
        {"folder": str(asked.path), "removed": True},
        "The catalogue is removed; the next start makes it again from the topic.",
    )
