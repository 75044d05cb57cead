"""Many callers, callers that go away, and another instance beside this one."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import psutil
import pytest
from support.answers import caller
from support.asking import wait_for_servers
from support.invariants import check_invariants
from support.measure import Measure
from support.observed import given_back, quiet, scrape, until
from support.platform import Names, platform
from support.processes import running
from support.served import TIMEOUT, Served, served
from support.storm import Confirming, Storm, goodput, publish_items, wall

from dev.apache_kafka.cluster import ApacheKafka

pytestmark = pytest.mark.apache

POOL = 100
DELETION_TAKES = 2.0
CAPACITY = POOL / DELETION_TAKES
"""Takedowns a second that the pool can carry, when each deletion takes so long."""

RST_ON_CLOSE = struct.pack("ii", 1, 0)
MEGABYTE = 1024 * 1024


async def test_ten_times_too_many_requests_get_503_at_once_and_the_others_their_200(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    confirming = Confirming(after=DELETION_TAKES)
    async with (
        served(kafka.bootstrap_servers, names, pool_max=POOL) as service,
        platform(kafka.bootstrap_servers, names, on_request=confirming) as items,
    ):
        ids = iter(await publish_items(service, items, 6000))
        before_idle = await quiet(service.admin)
        rates: dict[str, float] = {}
        storms: dict[str, Storm] = {}
        for name, factor, seconds in (("before", 0.8, 8), ("during", 10, 9), ("after", 0.8, 8)):
            async with Storm(service, ids, per_second=CAPACITY * factor) as storm:
                began = wall()
                await asyncio.sleep(seconds)
                ended = wall()
            # The first deletions come after so long.
            rates[name] = goodput(storm.asked, began + DELETION_TAKES + 0.5, ended)
            storms[name] = storm
            measured(f"10 x overload: goodput {name}", f"{rates[name]:.1f}/s")

        assert {each.status for each in storms["before"].asked} == {200}
        assert rates["before"] > CAPACITY * 0.7
        assert rates["during"] > CAPACITY * 0.85, "flat, and not collapsed"
        assert {each.status for each in storms["after"].asked} == {200}, "without help"
        assert rates["after"] > rates["before"] * 0.9

        refused = [each for each in storms["during"].asked if each.status == 503]
        assert len(refused) > len(storms["during"].asked) * 0.7
        for each in refused:
            assert each.got.body["type"] == "urn:takedown:problem:overloaded"
            assert int(each.got.headers["retry-after"]) >= 1
        times = sorted(each.got.seconds for each in refused)
        measured("10 x overload: median 503", times[len(times) // 2])
        measured("10 x overload: slowest 503", times[-1])
        assert times[len(times) // 2] < 0.1
        assert times[-1] < 1.0

        await confirming.stop()
        await service.http.close()  # the connections that it would keep for next time
        await given_back(service.admin, before_idle)
        report = await service.check(kafka.bootstrap_servers, names)
    measured("10 x overload", report)


async def test_a_thousand_callers_who_reset_their_connections_leave_nothing_behind(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    async with (
        served(kafka.bootstrap_servers, names) as service,
        platform(kafka.bootstrap_servers, names) as items,
    ):
        confirming = Confirming(after=0.2)
        items.on_request = confirming
        ids = await publish_items(service, items, 1300)
        await resets(service, ids[:200])  # everything that is made once is made
        await quiet(service.admin)
        process = psutil.Process(service.process.pid)
        before = await quiet(service.admin)
        files, memory = process.num_fds(), process.memory_info().rss

        await resets(service, ids[200:1200])

        await quiet(service.admin)
        await given_back(service.admin, before)
        await asyncio.sleep(0.5)
        more_files = process.num_fds() - files
        more_memory = (process.memory_info().rss - memory) / MEGABYTE
        measured("1000 resets: more open files", more_files)
        measured("1000 resets: more memory", f"{more_memory:.1f} MB")
        assert more_files <= 2
        assert more_memory < 10
        for item_id in ids[1200:1220]:
            assert (await service.take_down(item_id)).status == 200
        await confirming.stop()
        report = await check_invariants(
            kafka.bootstrap_servers, names, service.asked, service.lists, unheard=ids[:1200]
        )
    measured("1000 resets", report)


async def resets(service: Served, ids: list[str], *, at_once: int = 50) -> None:
    """Ask for each item, and break the connection a moment later."""
    host, port = service.api.removeprefix("http://").split(":")
    moments = itertools.cycle([0.0, 0.001, 0.005, 0.02, 0.1])

    async def one(item_id: str) -> None:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"DELETE /items/{item_id} HTTP/1.1\r\nHost: server\r\n\r\n".encode())
        await writer.drain()
        await asyncio.sleep(next(moments))
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        writer.transport.abort()

    for first in range(0, len(ids), at_once):
        await asyncio.gather(*(one(item_id) for item_id in ids[first : first + at_once]))


async def test_another_instance_that_starts_stops_and_is_killed_changes_nothing_here(
    kafka: ApacheKafka, names: Names, measured: Measure
) -> None:
    confirming = Confirming(after=0.05)
    async with (
        served(kafka.bootstrap_servers, names) as here,
        platform(kafka.bootstrap_servers, names, on_request=confirming) as items,
    ):
        ids: Iterator[str] = iter(await publish_items(here, items, 3000, places=2))
        unheard: list[str] = []
        there_asked = []
        async with Storm(here, ids, per_second=25) as storm:
            await asyncio.sleep(1.0)
            for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                async with another(kafka, names) as there:
                    there.lists = here.lists
                    await asyncio.gather(*(there.take_down(next(ids)) for _ in range(20)))
                    if end == signal.SIGKILL:
                        unheard += await killed_in_flight(there, [next(ids) for _ in range(20)])
                    else:
                        assert await asyncio.to_thread(there.process.stop) == 0
                    there_asked += there.asked
                await asyncio.sleep(1.0)
        await confirming.stop()
        assert {each.status for each in there_asked} == {200}
        assert {each.status for each in storm.asked} == {200}, "none of ours was touched"
        slowest = max(each.got.seconds for each in storm.asked)
        measured("another instance: slowest 200 here", slowest)
        assert slowest < 2.0
        sessions = (await scrape(here.admin)).value(
            "takedown_reader_sessions_total", topic=names.deleted
        )
        assert sessions == 1, "nobody's coming and going made this one connect again"
        await until(lambda samples: samples.value("takedown_in_flight") == 0, here.admin)
        report = await check_invariants(
            kafka.bootstrap_servers,
            names,
            [*here.asked, *there_asked],
            here.lists,
            unheard=unheard,
        )
    measured("another instance", report)


@asynccontextmanager
async def another(kafka: ApacheKafka, names: Names) -> AsyncIterator[Served]:
    """A second service on the same topics, which ends as the test wants it."""
    with running(
        "serve",
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        http_port=0,
        admin_port=0,
        timeout=TIMEOUT,
        log_format="json",
        **names.settings(),
    ) as process:
        api, admin = await wait_for_servers(process)
        async with caller() as http:
            service = Served(process, api, admin, http)
            await service.until_ready()
            yield service


async def killed_in_flight(service: Served, ids: list[str]) -> list[str]:
    """Kill it while these are in flight; nobody hears what became of them."""
    asking = [
        asyncio.create_task(service.http.delete(f"{service.api}/items/{item_id}"))
        for item_id in ids
    ]
    await until(lambda samples: samples.value("takedown_in_flight") > 0, service.admin)
    service.process.signal(signal.SIGKILL)
    results = await asyncio.gather(*asking, return_exceptions=True)
    for result in results:
        if isinstance(result, aiohttp.ClientResponse):
            result.release()
    return ids
