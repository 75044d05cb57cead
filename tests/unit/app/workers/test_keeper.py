"""One worker is kept: restarted within a budget, killed when it hangs, stopped when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.workers.child import Keeper, Policy, State

from .workers_fakes import FakeWorker, Office

POLICY = Policy()


class Kept:
    def __init__(self, office: Office) -> None:
        self.office = office
        self.failed: list[str] = []
        self.keeper = Keeper(
            7,
            start=office.start,
            answers=office.answers,
            on_failed=self.failed.append,
            policy=POLICY,
        )
        self.task = asyncio.create_task(self.keeper.run())

    def state(self) -> State:
        return self.keeper.state

    @property
    def worker(self) -> FakeWorker:
        return self.office.started[-1]


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    kept = Kept(Office())
    await asyncio.sleep(0.01)
    yield kept
    kept.keeper.stop()
    for worker in kept.office.started:
        worker.end("at the test's end")
    await kept.task


async def test_a_worker_is_running_once_it_has_opened_its_servers() -> None:
    kept = Kept(Office(opens=False))
    assert kept.state() is State.STARTING
    await asyncio.sleep(1)
    assert kept.state() is State.STARTING
    assert not kept.keeper.opened.is_set()
    kept.worker.open()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert kept.state() is State.RUNNING
    assert kept.keeper.opened.is_set()
    kept.keeper.stop()
    await kept.task


async def test_a_worker_that_ends_is_started_again_after_a_moment(kept: Kept) -> None:
    kept.worker.end("by SIGSEGV")
    await asyncio.sleep(0.05)
    assert kept.state() is State.RESTARTING
    assert kept.keeper.worker is None
    await asyncio.sleep(0.1)
    assert kept.state() is State.RUNNING
    assert (kept.keeper.restarts, kept.keeper.ending) == (1, "by SIGSEGV")
    assert kept.office.firsts == [True, False], "a replacement is told that it is one"


async def test_waits_between_restarts_grow_and_are_short_again_after_a_quiet_time(
    kept: Kept,
) -> None:
    async def wait_after_an_end() -> float:
        before, ended = len(kept.office.at), asyncio.get_running_loop().time()
        kept.worker.end("with status 1")
        while len(kept.office.at) == before:  # noqa: ASYNC110 - a virtual clock
            await asyncio.sleep(0.01)
        return round(kept.office.at[-1] - ended, 2)

    assert [await wait_after_an_end() for _ in range(4)] == [0.1, 0.2, 0.4, 0.8]
    await asyncio.sleep(POLICY.within)
    assert await wait_after_an_end() == 0.1


async def test_one_restart_too_many_within_the_time_is_the_end(kept: Kept) -> None:
    for _ in range(POLICY.restarts):
        kept.worker.end("with status 3")
        await asyncio.sleep(4)
    assert not kept.failed
    kept.worker.end("with status 4")
    await kept.task
    assert kept.failed == ["worker 7 ended 6 times within 30 s, at last with status 4"]
    assert kept.state() is State.STOPPED
    assert len(kept.office.started) == 1 + POLICY.restarts


async def test_restarts_that_lie_far_apart_go_on_for_ever(kept: Kept) -> None:
    for _ in range(20):
        kept.worker.end("with status 3")
        await asyncio.sleep(POLICY.within / POLICY.restarts + 0.01)
    assert kept.state() is State.RUNNING
    assert kept.keeper.restarts == 20
    assert not kept.failed


async def test_a_process_that_cannot_even_be_started_is_tried_again(kept: Kept) -> None:
    kept.office.fails = OSError(11, "no more processes")
    kept.worker.end("by SIGKILL")
    await asyncio.sleep(0.2)
    kept.office.fails = None
    await asyncio.sleep(0.5)
    assert kept.state() is State.RUNNING
    assert kept.keeper.ending == "before it began: [Errno 11] no more processes"


async def test_a_worker_that_does_not_open_its_servers_in_time_is_killed_and_replaced() -> None:
    kept = Kept(Office(opens=False))
    await asyncio.sleep(POLICY.start_within - 1)
    (first,) = kept.office.started
    assert not first.killed()
    await asyncio.sleep(2)
    assert first.killed()
    assert kept.keeper.ending == "by SIGKILL (it had not started after 60 s)"
    assert len(kept.office.started) == 2
    kept.keeper.stop()
    await kept.task


async def test_a_worker_that_hangs_is_killed_after_so_many_questions_and_not_before(
    kept: Kept,
) -> None:
    await asyncio.sleep(100)
    hanging = kept.worker
    hanging.answers = False
    each = POLICY.probe_every + POLICY.probe_within
    await asyncio.sleep((POLICY.misses - 1) * each)
    assert not hanging.killed()
    await asyncio.sleep(each + POLICY.probe_every)
    assert hanging.killed()
    assert kept.keeper.ending == "by SIGKILL (it hung: no answer to 5 questions in a row)"
    assert kept.state() is State.RUNNING, "by another one"


async def test_a_worker_that_answers_again_in_time_is_left_alone(kept: Kept) -> None:
    each = POLICY.probe_every + POLICY.probe_within
    for _ in range(10):
        kept.worker.answers = False
        await asyncio.sleep((POLICY.misses - 1) * each)
        kept.worker.answers = True
        await asyncio.sleep(each)
    assert len(kept.office.started) == 1


async def test_a_worker_that_answers_nonsense_is_not_alive_either(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nonsense(_admin: str) -> bool:
        raise ValueError("not HTTP")

    monkeypatch.setattr(kept.keeper, "_answers", nonsense)
    worker = kept.worker
    await asyncio.sleep(POLICY.misses * POLICY.probe_every + 1)
    assert worker.killed()


async def test_a_worker_that_is_told_to_stop_is_not_replaced(kept: Kept) -> None:
    kept.keeper.stop()
    await kept.task
    assert kept.worker.terminated == 1
    assert kept.state() is State.STOPPED
    assert len(kept.office.started) == 1


async def test_a_worker_that_drains_is_stopping_until_it_has_ended() -> None:
    office = Office()
    office.on_terminate = lambda _worker: None
    kept = Kept(office)
    await asyncio.sleep(0.01)
    kept.keeper.stop()
    await asyncio.sleep(5)
    assert kept.state() is State.STOPPING
    kept.keeper.stop()
    assert kept.worker.terminated == 2, "a second signal is passed on"
    kept.worker.end("with status 0")
    await kept.task


async def test_a_worker_that_hangs_while_it_drains_is_killed_all_the_same() -> None:
    office = Office()
    office.on_terminate = lambda _worker: None
    kept = Kept(office)
    await asyncio.sleep(0.01)
    kept.keeper.stop()
    kept.worker.answers = False
    async with asyncio.timeout(POLICY.misses * (POLICY.probe_every + POLICY.probe_within) + 1):
        await kept.task
    assert kept.worker.killed()


async def test_a_stop_between_two_processes_starts_no_other(kept: Kept) -> None:
    kept.worker.end("by SIGKILL")
    await asyncio.sleep(0.05)
    kept.keeper.stop()
    async with asyncio.timeout(0.01):
        await kept.task
    assert len(kept.office.started) == 1


async def test_a_stop_while_the_process_is_being_started_ends_it_as_soon_as_it_is() -> None:
    office = Office()
    gate = asyncio.Event()

    class Slow(Office):
        async def start(self, first: bool) -> FakeWorker:
            await gate.wait()
            return await office.start(first)

    kept = Kept(Slow())
    await asyncio.sleep(1)
    kept.keeper.stop()
    gate.set()
    await kept.task
    (worker,) = office.started
    assert worker.terminated == 1


async def test_the_first_process_that_refuses_a_setting_is_the_end_and_says_why() -> None:
    kept = Kept(Office(opens=False))
    await asyncio.sleep(0.01)
    kept.worker.misused = "TAKEDOWN_X must be y"
    kept.worker.end("with status 2")
    await kept.task
    assert kept.keeper.misused == "TAKEDOWN_X must be y"
    assert kept.failed == ["TAKEDOWN_X must be y"]
    assert len(kept.office.started) == 1


async def test_a_later_process_that_refuses_a_setting_is_one_more_that_ended(kept: Kept) -> None:
    kept.office.opens = False
    kept.worker.end("by SIGKILL")
    await asyncio.sleep(0.2)
    kept.worker.misused = "TAKEDOWN_KAFKA_SSL_CA cannot be read"
    kept.worker.end("with status 2")
    await asyncio.sleep(1)
    assert len(kept.office.started) == 3
    assert kept.keeper.ending == "with status 2 (TAKEDOWN_KAFKA_SSL_CA cannot be read)"
    assert not kept.failed
