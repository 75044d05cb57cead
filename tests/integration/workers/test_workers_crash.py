"""A worker that dies or hangs is replaced; a supervisor that is killed leaves nobody behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

import aiohttp
import psutil
from support.answers import HungUp, caller
from support.brokers import Broker
from support.observed import scrape
from support.platform import Names, Platform, confirm, confirm_soon, platform
from support.processes import running
from support.served import Served

from .workers_crew import body, by_worker, crew, pids, take_down_many, workers


async def until_running(service: Served, number: int, not_pid: int, *, within: float = 20.0) -> int:
    """Wait until a worker takes part again; returns its new process."""
    async with asyncio.timeout(within):
        while True:
            readyz = await body(service, "/readyz")
            pid = (await workers(service))[number]["pid"]
            if readyz["workers"][number]["ready"] and pid not in {None, not_pid}:
                return int(pid)
            await asyncio.sleep(0.02)


class Callers:
    """They ask again and again, whatever becomes of their connections."""

    def __init__(self, service: Served, items: Platform) -> None:
        self._service = service
        self._items = items
        self.stopped = False

    async def answered(self, count: int) -> None:
        """Wait for so many more answers."""
        enough = len(self._service.asked) + count
        async with asyncio.timeout(20):
            while len(self._service.asked) < enough:  # noqa: ASYNC110 - in the midst of the load
                await asyncio.sleep(0.01)

    async def run(self) -> None:
        while not self.stopped:
            item_id = await self._service.item(self._items, 2)
            with contextlib.suppress(HungUp, aiohttp.ClientConnectorError):
                await self._service.take_down(item_id)


async def test_a_worker_that_is_killed_under_load_costs_its_own_callers_and_comes_back(
    either: Broker, names: Names
) -> None:
    async with crew(either, names) as service:
        async with platform(either.address, names, on_request=confirm_soon) as items:
            await take_down_many(service, items, 8)
            callers = Callers(service, items)
            tasks = [asyncio.create_task(callers.run()) for _ in range(16)]
            (_, victim) = await pids(service)
            await callers.answered(100)
            answered = len(service.asked)
            os.kill(victim, signal.SIGKILL)
            await until_running(service, 1, victim)
            assert len(service.asked) > answered, "the other one went on meanwhile"
            unheard = len(service.unheard)
            await callers.answered(100)
            callers.stopped = True
            await asyncio.gather(*tasks)
            # All answers were true ones, and none of them was "not now".
            assert {asked.status for asked in service.asked} == {200}
            # A caller may meet it more than once while it dies; nobody does who comes after.
            assert len(service.unheard) == unheard
            before = await by_worker(service, "takedown_accepted_total")
            await take_down_many(service, items, 32)
            after = await by_worker(service, "takedown_accepted_total")
            assert after[1] > before[1], "it takes its share again"
        samples = await scrape(service.admin)
        assert samples.value("takedown_worker_restarts_total", worker="1") == 1
        assert samples.value("takedown_worker_restarts_total", worker="0") == 0
        (_, replaced) = await workers(service)
        assert replaced["lastEnd"] == "by SIGKILL"
        await service.check(either.address, names)


async def test_merged_readiness_stays_while_one_worker_serves_and_says_who_is_missing(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        first, victim = await pids(service)
        os.kill(victim, signal.SIGKILL)
        seen: list[tuple[int, dict[str, Any]]] = []
        pid: int | None = victim
        while not (pid not in {None, victim} and seen[-1][1]["workers"][1]["ready"]):
            async with service.http.get(f"{service.admin}/readyz") as answer:
                seen.append((answer.status, await answer.json()))
            pid = (await workers(service))[1]["pid"]
            await asyncio.sleep(0.01)
        missing = [(status, readyz) for status, readyz in seen if not readyz["workers"][1]["ready"]]
        assert {readyz["workers"][1]["state"] for _, readyz in missing} >= {"starting"}
        # Until we hear of its death it is one that does not answer; from then on the service is
        # ready: nobody is sent to a worker before that is ready, too.
        known = [(status, readyz) for status, readyz in missing if len(readyz["checks"]) == 3]
        assert {status for status, _ in known} == {200}
        assert {frozenset(readyz["checks"]) for _, readyz in known} == {
            frozenset({"worker 0", "workers", "running"})
        }
        assert len(known) >= len(missing) - 2
        assert (await pids(service))[0] == first


async def test_a_worker_that_hangs_is_killed_and_replaced(broker: Broker, names: Names) -> None:
    async with crew(broker, names) as service:
        (_, victim) = await pids(service)
        os.kill(victim, signal.SIGSTOP)
        # It still gets its share of the callers, so the service is not what it should be.
        await service.until_detail("worker 1", "does not answer")
        await until_running(service, 1, victim, within=40)
        assert (await workers(service))[1]["lastEnd"].startswith("by SIGKILL (it hung")
        await service.until_ready()


async def test_a_worker_that_keeps_dying_ends_the_program_with_status_1_and_says_why(
    broker: Broker, names: Names
) -> None:
    settings = {
        "kafka_bootstrap_servers": broker.address,
        "http_port": 0,
        "admin_port": 0,
        "workers": 2,
        "log_format": "json",
        **names.settings(),
    }
    with running("serve", **settings) as process:
        await asyncio.to_thread(process.wait_for_event, "ready")
        supervisor = psutil.Process(process.pid)
        killed: set[int] = set()
        first: int | None = None
        while process.returncode is None:
            for child in supervisor.children() if supervisor.is_running() else ():
                try:
                    number = child.cmdline()[-3]
                except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
                    continue
                if number == "0":
                    first = child.pid
                elif child.pid not in killed:
                    killed.add(child.pid)
                    child.kill()
            await asyncio.sleep(0.02)
        assert await asyncio.to_thread(process.wait) == 1
        assert len(killed) == 6
        assert process.events()[-1]["event"] == (
            "Stopped: worker 1 ended 6 times within 30 s, at last by SIGKILL"
        )
        assert first is not None
        assert not psutil.pid_exists(first), "the other one was stopped, too"


async def test_a_supervisor_that_is_killed_leaves_no_process_behind_and_no_caller_unanswered(
    broker: Broker, names: Names
) -> None:
    settings = {
        "kafka_bootstrap_servers": broker.address,
        "kafka_fetch_max_wait": broker.fetch_max_wait,
        "http_port": 0,
        "admin_port": 0,
        "timeout": 3,
        "workers": 2,
        "log_format": "json",
        **names.settings(),
    }
    with running("serve", **settings) as process:
        ready = await asyncio.to_thread(process.wait_for_event, "ready")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        async with caller() as http:
            service = Served(process, ready["http"], ready["admin"], http)
            async with platform(broker.address, names) as items:
                ids = [await service.item(items, 1) for _ in range(8)]
                answers = [asyncio.create_task(service.take_down(each)) for each in ids]
                requests = [await items.wait_for_requests(each, 1) for each in ids]
                process.signal(signal.SIGKILL)
                await asyncio.sleep(0.5)
                for (request,) in requests:
                    await confirm(items, request)
                assert {(await answer).status for answer in answers} == {200}
        gone, left = await asyncio.to_thread(psutil.wait_procs, children, timeout=15)
        assert len(gone) == 2
        assert not left


async def test_an_embedded_broker_ends_with_a_supervisor_that_is_killed(names: Names) -> None:
    settings = {"http_port": 0, "admin_port": 0, "workers": 2, "timeout": 1, **names.settings()}
    with running("serve", "--embedded-broker", log_format="json", **settings) as process:
        await asyncio.to_thread(process.wait_for_event, "ready")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 3, "one broker for both"
        process.signal(signal.SIGKILL)
        _, left = await asyncio.to_thread(psutil.wait_procs, children, timeout=30)
        assert not left
