"""A process and all its threads run where they are told to, for as long as they are told to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dev.bench.latency import apart
from dev.bench.pinning import can_pin, pin, pinned
from dev.bench.processes import BenchError, Child

pytestmark = pytest.mark.skipif(not can_pin(), reason="needs Linux with two cores")

THREADS = """
import threading, time
for _ in range(19):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""


def cores_of(pid: int) -> list[set[int]]:
    return [os.sched_getaffinity(int(path.name)) for path in Path(f"/proc/{pid}/task").iterdir()]


async def test_every_thread_is_pinned_in_the_block_and_free_after_it(tmp_path: Path) -> None:
    ours = os.sched_getaffinity(0)
    second = {sorted(ours)[1]}
    async with Child("threads", [sys.executable, "-c", THREADS], tmp_path / "log") as child:
        await child.until_said("ready")
        with pinned({child.pid: 1}):
            assert cores_of(child.pid) == [second] * 20
        assert cores_of(child.pid) == [ours] * 20
    assert os.sched_getaffinity(0) == ours


async def test_a_process_that_ended_in_the_block_does_not_hide_what_went_wrong(
    tmp_path: Path,
) -> None:
    async def end(child: Child) -> None:
        with pinned({child.pid: 0}):
            await child.stop()
            raise BenchError("on purpose")

    async with Child("threads", [sys.executable, "-c", THREADS], tmp_path / "log") as child:
        with pytest.raises(BenchError, match="on purpose"):
            await end(child)


def test_a_process_that_is_not_there_cannot_be_pinned() -> None:
    with pytest.raises(BenchError, match="cannot pin process 0"):
        pin(0, {0})


def test_where_nothing_can_be_pinned_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = os.sched_getaffinity(0)
    with apart([], [], may_pin=False) as pinned_:
        assert pinned_ is False
        assert os.sched_getaffinity(0) == ours
    with apart([], [], may_pin=True) as pinned_:
        assert pinned_ is True
        assert os.sched_getaffinity(0) == {min(ours)}
    assert os.sched_getaffinity(0) == ours
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert not can_pin()
