"""The broker is not there yet, goes away, hangs, and comes back."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import psutil
import pytest
from support.asking import readiness, take_down, until_ready, wait_for_servers
from support.platform import Names, confirm, container, new_item_id, platform
from support.processes import Process, running

AFTER_THE_WAIT = 2.5
"""Seconds within which a takedown is refused that has waited for Kafka, 2 s by default."""


async def test_a_service_that_starts_without_a_broker_says_so_and_gets_ready_when_it_comes(
    http: aiohttp.ClientSession,
    settings: dict[str, object],
    port: int,
    bootstrap: str,
    names: Names,
) -> None:
    with running("serve", **settings) as service:
        api, admin = await wait_for_servers(service)
        status, checks = await readiness(http, admin)
        assert status == 503
        assert not checks["kafka producer"]["ok"]
        async with http.get(f"{admin}/livez") as alive:
            assert alive.status == 200
        # No caller is accepted before the service was ready for the first time.
        with pytest.raises(aiohttp.ClientConnectorError):
            await take_down(http, api, new_item_id())

        with running("broker", broker_port=port, log_format="json") as broker:
            broker.wait_for_event("ready")
            await until_ready(http, admin)
            async with platform(bootstrap, names, on_request=confirm) as items:
                item_id = new_item_id()
                await items.publish_item(item_id, [container("c0")])
                status, _, _ = await take_down(http, api, item_id)
                assert status == 200
            assert service.stop() == 0
    interruptions = [e for e in service.events() if "interrupted" in str(e.get("event"))]
    assert interruptions, "it must say in the log that Kafka is not there"
    assert all("127.0.0.1" in e["event"] for e in interruptions[:1])


async def test_a_broker_that_goes_away_means_503_and_that_comes_back_empty_means_200_again(
    http: aiohttp.ClientSession,
    settings: dict[str, object],
    broker: Process,
    port: int,
    bootstrap: str,
    names: Names,
) -> None:
    with running("serve", **settings) as service:
        api, admin = await wait_for_servers(service)
        await until_ready(http, admin)
        async with platform(bootstrap, names, on_request=confirm) as items:
            item_id = new_item_id()
            await items.publish_item(item_id, [container("c0")])
            assert (await take_down(http, api, item_id))[0] == 200
            for child in _children(broker.pid):
                child.kill()
            broker.wait()
        # It is gone: refused after the wait, by the connection or by the readiness.
        status, body, seconds = await take_down(http, api, item_id)
        assert status == 503
        assert body["type"].rpartition(":")[2] in {"kafka-unreachable", "not-ready"}
        assert seconds < 2.9
        assert bootstrap not in body["detail"]
        await until_ready(http, admin, status=503)
        status, body, seconds = await take_down(http, api, item_id)
        assert 1.9 < seconds < AFTER_THE_WAIT
        # The caller is told what does not work, operators which server is why.
        assert status == 503
        plain = {
            "kafka consumer: deletions cannot be read now; nothing was published",
            "kafka producer: requests cannot be published now; nothing was published",
        }
        assert body["detail"] in plain
        _, checks = await readiness(http, admin)
        assert bootstrap in str(checks)

        # A broker in memory forgets everything: topics, offsets, records.
        with running("broker", broker_port=port, log_format="json") as again:
            again.wait_for_event("ready")
            await until_ready(http, admin)
            async with platform(bootstrap, names, on_request=confirm) as items:
                status, _, _ = await take_down(http, api, item_id)
                assert status == 404, "the new broker knows no item"
                await items.publish_item(item_id, [container("c0"), container("c1")])
                status, body, _ = await take_down(http, api, item_id)
                assert status == 200
                assert len(body["containers"]) == 2
            assert service.stop() == 0


async def test_a_broker_that_hangs_never_makes_an_answer_late(
    http: aiohttp.ClientSession,
    settings: dict[str, object],
    broker: Process,
    bootstrap: str,
    names: Names,
) -> None:
    children = _children(broker.pid)
    with running("serve", **settings) as service:
        api, admin = await wait_for_servers(service)
        await until_ready(http, admin)
        async with platform(bootstrap, names) as items:
            item_id = new_item_id()
            await items.publish_item(item_id, [container("c0")])
            # Known by the catalogue before the broker hangs.
            assert (await take_down(http, api, item_id, Prefer="wait=1"))[0] == 504
            for child in children:
                child.send_signal(signal.SIGSTOP)
            try:
                # The connection is there, so the request is handed over, and nothing comes.
                status, body, seconds = await take_down(http, api, item_id)
                assert status in {502, 503, 504}
                assert seconds < 3.25
                if status == 504:
                    assert body["outstanding"] == [container("c0")]
                await until_ready(http, admin, status=503)
                status, _, seconds = await take_down(http, api, item_id)
                assert status == 503
                assert seconds < AFTER_THE_WAIT
            finally:
                for child in children:
                    child.send_signal(signal.SIGCONT)
            await until_ready(http, admin)
            items.on_request = confirm
            async with asyncio.timeout(15):
                while (await take_down(http, api, item_id))[0] != 200:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.1)
            assert service.stop() == 0


def _children(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    assert children, "the broker command runs the broker as a child"
    return children
