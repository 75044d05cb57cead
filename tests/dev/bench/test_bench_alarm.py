"""An alarm wakes when it is time, and never before."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from dev.bench.alarm import Alarm


async def test_it_never_wakes_early() -> None:
    late = []
    with Alarm() as alarm:
        for number in range(30):
            moment = time.perf_counter() + 0.0003 * (number % 5)
            await alarm.until(moment)
            late.append(time.perf_counter() - moment)
    assert min(late) >= 0


async def test_a_moment_that_has_passed_is_not_waited_for() -> None:
    with Alarm() as alarm:
        await alarm.until(time.perf_counter() - 1)


async def test_a_sleeper_that_was_cancelled_leaves_the_alarm_fit_for_use() -> None:
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
    with Alarm() as alarm:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(alarm.until(time.perf_counter() + 0.05), 0.01)
        await asyncio.sleep(0.1)  # its moment comes, and nobody waits for it
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(alarm.until(time.perf_counter() + 60), 0.01)
        moment = time.perf_counter() + 0.02
        await asyncio.wait_for(alarm.until(moment), 30)
        assert time.perf_counter() >= moment
    assert not wrong


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has its files there")
async def test_it_gives_its_file_back() -> None:
    before = open_files()
    with Alarm() as alarm:
        await alarm.until(time.perf_counter() + 0.001)
        assert open_files() > before
    assert open_files() == before


async def test_without_the_kernels_timer_the_loops_own_is_taken() -> None:
    alarm = Alarm()
    alarm._libc = None
    with alarm:
        moment = time.perf_counter() + 0.01
        await alarm.until(moment)
        assert time.perf_counter() >= moment - 0.002
