"""Two workers are one service: they share callers and limits, and speak with one voice."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter

import psutil
from support.answers import assert_deleted
from support.brokers import Broker
from support.observed import scrape
from support.platform import Names, confirm, platform
from support.served import eventually

from .workers_crew import body, by_worker, crew, pids, take_down_many, workers

MANY = 32
"""Connections: that all of them come to one of two workers has a chance of 1 in 2**31."""


async def test_takedowns_spread_over_the_workers_and_each_gets_its_own_true_answer(
    either: Broker, names: Names
) -> None:
    async with crew(either, names) as service:
        async with platform(either.address, names, on_request=confirm) as items:
            asked = await take_down_many(service, items, MANY)
        for item_id, answer in asked.items():
            assert_deleted(answer.got, item_id, service.lists[item_id])
        accepted = await by_worker(service, "takedown_accepted_total")
        assert sum(accepted) == MANY
        assert min(accepted) > 0, accepted
        report = await service.check(either.address, names)
        assert report.reported == 2 * MANY, "no request was made twice"


async def test_metrics_of_all_workers_are_one_exposition_that_adds_up(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        async with platform(broker.address, names, on_request=confirm) as items:
            await take_down_many(service, items, MANY)
        samples = await scrape(service.admin)
        assert samples.value("takedown_workers") == 2
        for number in "01":
            assert samples.value("takedown_worker_up", worker=number) == 1
            assert samples.value("takedown_worker_restarts_total", worker=number) == 0
            assert samples.value("takedown_ready", worker=number) == 1
        assert sum(
            await by_worker(service, "takedown_http_answer_seconds_count", status="200")
        ) == (MANY)
        below = await by_worker(
            service, "takedown_http_answer_seconds_bucket", status="200", le="+Inf"
        )
        assert sum(below) == MANY
        for accept in ("text/plain", "application/openmetrics-text"):
            async with service.http.get(
                f"{service.admin}/metrics", headers={"Accept": accept}
            ) as answer:
                assert answer.headers["Content-Type"].startswith(accept)
                text = await answer.text()
            types = Counter(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
            assert set(types.values()) == {1}, "a family stands there once"
            assert text.endswith("# EOF\n") == (accept != "text/plain")


async def test_limits_are_for_the_whole_service(broker: Broker, names: Names) -> None:
    async with crew(broker, names, pool_max=5) as service:
        assert await by_worker(service, "takedown_pool_maximum") == [3, 2]


async def test_each_log_line_names_its_worker_and_ready_is_said_once(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        await asyncio.to_thread(service.process.wait_for_event, "ready")

        async def both_say_so() -> bool:
            return service.process.text().count('"worker ready"') == 2

        await eventually(both_say_so)
        events = service.process.events()
        assert len(events) == len(service.process.lines), "every line is whole"
        ready = [event for event in events if event["event"] == "ready"]
        assert [(e["http"], e["admin"]) for e in ready] == [(service.api, service.admin)]
        assert sorted(e["worker"] for e in events if e["event"] == "worker ready") == [0, 1]
        assert all("worker" not in e for e in ready)


async def test_the_rest_of_a_workers_own_server_is_behind_its_number(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        listed = await workers(service)
        assert [(w["worker"], w["state"], w["restarts"]) for w in listed] == [
            (0, "running", 0),
            (1, "running", 0),
        ]
        for worker in listed:
            async with service.http.get(f"{worker['admin']}/readyz") as answer:
                own = await answer.json()
            assert await body(service, f"/workers/{worker['worker']}/readyz") == own
        for path, status in [
            ("/workers/2/readyz", 404),
            ("/workers/0/nonsense", 404),
            ("/workers/-1/readyz", 404),
            ("/workers/0", 404),
            ("/workers/0/../../etc", 404),
        ]:
            async with service.http.get(service.admin + path) as answer:
                assert answer.status == status, path
                assert answer.content_type == "application/problem+json"
        async with service.http.post(f"{service.admin}/workers/0/readyz") as answer:
            assert answer.status == 405


async def test_a_ctrl_c_at_the_terminal_comes_to_the_supervisor_alone(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        groups = [os.getpgid(pid) for pid in await pids(service)]
        assert os.getpgid(service.process.pid) not in groups


async def test_no_setting_stands_on_a_command_line_that_all_users_of_the_machine_can_read(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        for pid in await pids(service):
            process = psutil.Process(pid)
            line = " ".join(process.cmdline())
            assert names.reported not in line
            assert broker.address not in line
            assert process.environ()["TAKEDOWN_TOPIC_ITEM_REPORTED"] == names.reported
