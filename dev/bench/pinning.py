"""Which core a process runs on, and how soon it gets its turn.

Where server, load, responder and broker share two cores, a request waits for its turn as often as
for the server. With the server on a core of its own that part of the noise is gone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dev.bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TASKS = Path("/proc")
ATTEMPTS = 10


def can_pin() -> bool:
    """Whether there are two cores, and a kernel that can be told which to take."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) >= 2


def pin(pid: int, cores: set[int]) -> None:
    """Have a process with all its threads, also those to come, run on these cores alone.

    Raises:
        BenchError: it has ended, or starts threads faster than they can be told.
    """
    for _ in range(ATTEMPTS):
        try:
            threads = [int(path.name) for path in (TASKS / str(pid) / "task").iterdir()]
        except OSError as error:
            raise BenchError(f"cannot pin process {pid}: {error}") from error
        if all([_has(thread, cores) for thread in threads]):  # noqa: C419 - every one is told
            return
    raise BenchError(f"cannot pin process {pid}: it starts threads all the time")


def _has(thread: int, cores: set[int]) -> bool:
    """Whether a thread runs on these cores alone; if not, it does from now on."""
    try:
        if os.sched_getaffinity(thread) == cores:
            return True
        os.sched_setaffinity(thread, cores)
    except ProcessLookupError:
        return True  # it has ended meanwhile
    return False  # look again: it may have started another thread just before


@contextmanager
def pinned(pids: Mapping[int, int]) -> Iterator[None]:
    """Have each process run on one core alone in the block, and on ours again after it.

    Args:
        pids: which core each process is to take, counted from 0 in those that we may use.
    """
    ours = os.sched_getaffinity(0)
    cores = sorted(ours)
    try:
        for pid, place in pids.items():
            pin(pid, {cores[place]})
        yield
    finally:
        for pid in pids:
            if (TASKS / str(pid)).exists():
                pin(pid, ours)
