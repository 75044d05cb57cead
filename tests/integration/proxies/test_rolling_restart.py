"""Two instances behind a proxy are restarted in turn under load, and no call fails.

Each call is made once: neither the client nor the test tries again. Half of the clients keep their
connection to the proxy, the others make a new one for each call.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import aiohttp
import pytest
from support.answers import caller
from support.platform import Names, confirm, containers, new_item_id, platform
from support.processes import Process, running
from support.proxies import NGINX_KEEPALIVE, free_port, haproxy, nginx

RATE = 60
"""Calls for each second."""

BETWEEN = 12.0
"""Seconds between an instance that is ready again and the stop of the next one. nginx sends nothing
to an instance for `fail_timeout` (10 s) after it has refused a connection, so two instances that
are restarted within 10 s are both away for it. HAProxy needs `rise` x `inter` (4 s)."""

GRACE = 8
"""Seconds between the 503 at `/readyz` and the end of an instance's listening. HAProxy takes it out
of rotation at the third failed check (`fall` 3, `inter` 2 s), so up to 6 s after the 503."""

Proxy = Callable[[Path, tuple[int, int], tuple[int, int]], AbstractContextManager[str]]

PROXIES: dict[str, Proxy] = {
    "nginx": lambda folder, public, _admin: nginx(folder, public),
    "nginx with keepalive": lambda folder, public, _admin: nginx(folder, public, **NGINX_KEEPALIVE),
    "HAProxy": haproxy,
}


EXISTING = 10
"""One call of so many is for an item that exists, whose deletion the test confirms: 200. The others
are for items that do not: 404. Each needs an answer that a ready instance alone can give; with more
of the first kind, a busy machine would measure the Kafka clients of the test."""


class Calls:
    """Takes items down at a steady rate, and counts what comes of it."""

    def __init__(self, address: str, existing: Sequence[str]) -> None:
        self._address = address
        self._existing = iter(existing)
        self.counts: Counter[object] = Counter()
        self._stop = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        number = 0
        async with (
            caller() as kept,
            caller(force_close=True) as fresh,
            asyncio.TaskGroup() as tasks,
        ):
            while not self._stop:
                exists = number % EXISTING == 0
                item_id = next(self._existing) if exists else new_item_id()
                tasks.create_task(self._one((kept, fresh)[number // EXISTING % 2], item_id))
                number += 1
                due += 1 / RATE
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def _one(self, http: aiohttp.ClientSession, item_id: str) -> None:
        try:
            async with http.delete(f"{self._address}/items/{item_id}") as answer:
                await answer.read()
                self.counts[answer.status] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.counts[repr(error)] += 1

    def stop(self) -> None:
        self._stop = True


@pytest.mark.timeout(240)
@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
async def test_no_call_fails_while_two_instances_are_restarted_in_turn(
    proxy: Proxy, broker: Process, names: Names, tmp_path: Path
) -> None:
    bootstrap = broker.wait_for_event("ready")["kafka"]
    public, admin = (free_port(), free_port()), (free_port(), free_port())

    def instance(number: int) -> AbstractContextManager[Process]:
        return running(
            "serve",
            kafka_bootstrap_servers=bootstrap,
            kafka_fetch_max_wait=0.01,
            http_port=public[number],
            admin_port=admin[number],
            shutdown_grace=GRACE,
            log_format="json",
            catalogue_folder=tmp_path / f"catalogue-{number}",
            **names.settings(),
        )

    with ExitStack() as stack:
        instances = [stack.enter_context(instance(number)) for number in range(2)]
        for each in instances:
            await asyncio.to_thread(each.wait_for_event, "ready")
        address = stack.enter_context(proxy(tmp_path, public, admin))
        async with platform(bootstrap, names, on_request=confirm) as items:
            existing = {new_item_id(): containers(1) for _ in range(600)}
            await items.publish_items(existing)
            calls = Calls(address, list(existing))
            running_calls = asyncio.create_task(calls.run())
            await asyncio.sleep(3)
            for number in range(2):
                instances[number].signal(signal.SIGTERM)
                assert await asyncio.to_thread(instances[number].wait) == 0
                instances[number] = stack.enter_context(instance(number))
                await asyncio.to_thread(instances[number].wait_for_event, "ready")
                await asyncio.sleep(BETWEEN)
            calls.stop()
            await running_calls
        assert set(calls.counts) == {200, 404}, calls.counts
        assert calls.counts[404] > 20 * RATE
        for each in instances:
            assert await asyncio.to_thread(each.stop) == 0
