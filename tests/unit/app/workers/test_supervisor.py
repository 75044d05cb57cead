"""All workers are started, and stopped, together."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from app.workers.child import State
from app.workers.supervisor import Supervisor

from .workers_fakes import FakeWorker, Office


def supervisor_of(offices: list[Office]) -> Supervisor:
    async def start(number: int, first: bool) -> FakeWorker:
        return await offices[number].start(first)

    async def answers(_admin: str) -> bool:
        return True

    return Supervisor(len(offices), start=start, answers=answers)


async def test_it_has_started_when_every_worker_has_opened_its_servers() -> None:
    offices = [Office(), Office(opens=False), Office()]
    supervisor = supervisor_of(offices)
    starting = asyncio.create_task(supervisor.start())
    await asyncio.sleep(5)
    assert not starting.done()
    offices[1].started[0].open()
    assert await starting is None
    assert {keeper.state for keeper in supervisor.keepers} == {State.RUNNING}
    await supervisor.stop(within=10)
    assert {keeper.state for keeper in supervisor.keepers} == {State.STOPPED}
    assert not supervisor.failed.done()


async def test_what_one_worker_refuses_is_told_once_and_the_others_are_not_waited_for() -> None:
    offices = [Office(opens=False), Office(opens=False)]
    supervisor = supervisor_of(offices)
    starting = asyncio.create_task(supervisor.start())
    await asyncio.sleep(1)
    for office in offices:
        office.started[0].misused = "TAKEDOWN_X must be y"
        office.started[0].end("with status 2")
    assert await starting == "TAKEDOWN_X must be y"
    await supervisor.stop(within=10)
    assert [len(office.started) for office in offices] == [1, 1]


async def test_a_worker_that_cannot_be_kept_fails_all_of_them() -> None:
    offices = [Office(), Office()]
    supervisor = supervisor_of(offices)
    await supervisor.start()
    for _ in range(6):
        offices[1].started[-1].end("by SIGSEGV")
        await asyncio.sleep(4)
    assert await supervisor.failed == "worker 1 ended 6 times within 30 s, at last by SIGSEGV"
    assert supervisor.keepers[0].state is State.RUNNING, "until the program stops it"
    await supervisor.stop(within=10)
    assert offices[0].started[0].terminated == 1


async def test_a_worker_that_does_not_end_is_killed_when_the_time_is_over() -> None:
    offices = [Office(), Office()]
    offices[1].on_terminate = lambda _worker: None
    supervisor = supervisor_of(offices)
    await supervisor.start()
    began = asyncio.get_running_loop().time()
    await supervisor.stop(within=10)
    assert asyncio.get_running_loop().time() - began == 10
    assert not offices[0].started[0].killed()
    assert offices[1].started[0].killed()


async def test_a_second_signal_is_passed_on_to_all() -> None:
    offices = [Office(), Office()]

    def end_at_the_second(worker: FakeWorker) -> None:
        if worker.terminated == 2:
            worker.end("with status 0")

    for office in offices:
        office.on_terminate = end_at_the_second
    supervisor = supervisor_of(offices)
    await supervisor.start()
    stopping = asyncio.create_task(supervisor.stop(within=100))
    await asyncio.sleep(1)
    assert not stopping.done()
    supervisor.hurry()
    await stopping
    assert asyncio.get_running_loop().time() < 2


async def test_a_supervisor_that_was_never_started_stops_at_once() -> None:
    await supervisor_of([Office()]).stop(within=10)


async def test_a_start_that_is_given_up_leaves_no_error_behind() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: reported.append(what))
    supervisor = supervisor_of([Office(opens=False), Office(opens=False)])
    starting = asyncio.create_task(supervisor.start())
    await asyncio.sleep(1)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    await supervisor.stop(within=10)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as when the loop ends
        task.cancel()
    await asyncio.sleep(1)
    del starting
    gc.collect()
    assert reported == []
