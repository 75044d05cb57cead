"""Makes a store and dies after each call that is made for it: a program of its own, for it forks.

`python die_anywhere.py FOLDER`: prints, as JSON, what the folder was said to hold after the deaths,
or what was said to be wrong with it, and how often. The last one of each kind was let live.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType

from support.kept import TOPIC, batch, entries

from catalogue.store.check import check
from catalogue.store.data_folder import data_of
from catalogue.store.lmdb_files import LmdbFiles

_MAP = 1 << 20


def make(files: LmdbFiles) -> None:
    """What a first start does."""
    files.open()


def start_over(files: LmdbFiles) -> None:
    """What is done with a topic that was recreated."""
    files.commit(batch(entries(range(3)), at=3, fresh=True), TOPIC)


def live_for(steps: int, act: Callable[[LmdbFiles], None], folder: Path) -> bool:
    """Whether `act` came to its end, in a process that is killed after so many of our calls."""
    child = os.fork()
    if child == 0:
        files = LmdbFiles(folder, first_map=_MAP)
        if act is start_over:
            files.open()
        left = count(steps - 1, -1)

        def step(frame: FrameType, event: str, _: object) -> None:
            if event not in {"return", "c_return"}:
                return
            caller = frame if event == "c_return" else frame.f_back
            ours = caller is not None and caller.f_globals["__name__"].startswith("catalogue.")
            if ours and not next(left):
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(step)
        act(files)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
    return status == 0


def look(folder: Path) -> str:
    """What a start finds, and whether one can go on with it."""
    if not data_of(folder).exists():
        said = "nothing"
    else:
        checked = check(folder, structure=True)
        said = "; ".join(checked.problems) or f"{checked.items} items"
        if checked.kept is None:
            said += ", nothing kept"
    files = LmdbFiles(folder, first_map=_MAP)
    files.open()
    files.commit(batch(entries(range(7)), at=7, fresh=True), TOPIC)
    files.close()
    checked = check(folder, structure=True)
    assert (checked.problems, checked.items) == ((), 7)
    left = {file.name for file in folder.iterdir()} - {"data.mdb", "lock.mdb"}
    assert not left, left
    return said


def main() -> None:
    folder = Path(sys.argv[1])
    found: dict[str, Counter[str]] = {}
    for act in (make, start_over):
        counted = found.setdefault(act.__name__, Counter())
        for steps in count(1):
            folder.mkdir()
            if act is start_over:
                before = LmdbFiles(folder, first_map=_MAP)
                before.open()
                before.commit(batch(entries(range(5)), at=5), TOPIC)
                before.close()
            lived = live_for(steps, act, folder)
            counted[look(folder)] += 1
            shutil.rmtree(folder)
            if lived:
                break
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
