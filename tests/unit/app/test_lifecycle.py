"""Whatever happens, everything that was started is stopped, last first and in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.lifecycle import Lifecycle, cancel


class Parts:
    """Steps that write down when they are stopped."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle()
        self.stopped: list[str] = []

    def start(
        self,
        name: str,
        *,
        then: Callable[[], Awaitable[object]] | None = None,
        within: float = 5.0,
    ) -> None:
        async def stop() -> None:
            self.stopped.append(name)
            if then is not None:
                await then()

        self.lifecycle.started(name, stop, within=within)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def failing() -> None:
    raise ValueError("cannot stop")


async def cancelled() -> None:
    raise asyncio.CancelledError


async def test_what_was_started_last_is_stopped_first() -> None:
    parts = Parts()
    for name in "abc":
        parts.start(name)
    await parts.lifecycle.stop()
    assert parts.stopped == ["c", "b", "a"]


async def test_one_is_stopped_before_the_next_is_begun() -> None:
    parts = Parts()
    ended: list[str] = []

    async def slowly() -> None:
        await asyncio.sleep(3)
        ended.append("slow")

    async def last() -> None:
        assert ended == ["slow"]
        ended.append("last")

    parts.start("first", then=last)
    parts.start("second", then=slowly)
    await parts.lifecycle.stop()
    assert ended == ["slow", "last"]


async def test_nothing_is_stopped_twice() -> None:
    parts = Parts()
    parts.start("a")
    await parts.lifecycle.stop()
    await parts.lifecycle.stop()
    assert parts.stopped == ["a"]


async def test_stopping_nothing_is_harmless() -> None:
    await Lifecycle().stop()


async def test_a_step_that_raises_does_not_keep_the_others_from_being_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = Parts()
    parts.start("a")
    parts.start("b", then=failing)
    parts.start("c")
    await parts.lifecycle.stop()
    assert parts.stopped == ["c", "b", "a"]
    assert "Shutdown: b failed" in caplog.text
    assert "cannot stop" in caplog.text


async def test_a_step_that_hangs_is_given_up_after_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = Parts()
    parts.start("a")
    parts.start("b", then=for_ever, within=7)
    parts.start("c")
    loop = asyncio.get_running_loop()
    before = loop.time()
    await parts.lifecycle.stop()
    assert loop.time() - before == pytest.approx(7)
    assert parts.stopped == ["c", "b", "a"]
    assert "Shutdown: b took longer than 7 s" in caplog.text


async def test_each_step_has_a_time_of_its_own() -> None:
    parts = Parts()
    for number in range(3):
        parts.start(str(number), then=for_ever, within=2)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await parts.lifecycle.stop()
    assert loop.time() - before == pytest.approx(6)
    assert parts.stopped == ["2", "1", "0"]


async def test_a_step_that_was_cancelled_inside_is_a_step_that_failed() -> None:
    parts = Parts()
    parts.start("a")
    parts.start("b", then=cancelled)
    await parts.lifecycle.stop()
    assert parts.stopped == ["b", "a"]


async def test_a_stop_that_is_cancelled_from_outside_ends() -> None:
    parts = Parts()
    parts.start("a")
    parts.start("b", then=for_ever, within=60)
    stopping = asyncio.create_task(parts.lifecycle.stop())
    await asyncio.sleep(1)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert stopping.cancelled()


async def test_each_step_of_the_shutdown_is_logged_with_its_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    parts = Parts()
    parts.start("close the server")
    parts.start("take nothing new")
    await parts.lifecycle.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["Shutdown 1/2: take nothing new", "Shutdown 2/2: close the server"]


async def test_cancel_waits_until_the_task_has_ended() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(2)
            ended.append("cleaned up")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await cancel(task)
    assert task.cancelled()
    assert ended == ["cleaned up"]


async def test_cancel_of_a_task_that_ended_in_an_error_does_not_raise() -> None:
    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await cancel(task)
    assert isinstance(task.exception(), ValueError)


# ---------------------------------------------------------------------------- reloading


class Reloads:
    """Parts that write down when they are reloaded."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle()
        self.reloaded: list[str] = []

    def add(self, name: str, then: Callable[[], Awaitable[object]] | None = None) -> None:
        async def reload() -> None:
            self.reloaded.append(name)
            if then is not None:
                await then()

        self.lifecycle.reloads(name, reload)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_one_line_names_what_was_reloaded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reloads = Reloads()
    reloads.add("TLS files")
    reloads.add("policy")
    await reloads.lifecycle.reload()
    assert reloads.reloaded == ["TLS files", "policy"]
    assert logged(caplog) == ["Reloaded: TLS files, policy"]


async def test_with_nothing_to_reload_the_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await Lifecycle().reload()
    assert logged(caplog) == ["Nothing to reload"]


async def test_what_cannot_be_reloaded_does_not_prevent_the_next_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    reloads = Reloads()
    reloads.add("TLS files", failing)
    reloads.add("something slow", for_ever)
    reloads.add("policy")
    await reloads.lifecycle.reload()
    assert logged(caplog) == [
        "Not reloaded: TLS files: cannot stop",
        "Not reloaded: something slow: TimeoutError",
        "Reloaded: policy",
    ]
