"""The yardsticks do the job that they are measured by: over a real broker and real sockets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bus.kafka.embedded_broker import EmbeddedBroker
from dev.bench.items import Topics, containers_of, item_ids
from dev.bench.load import measure
from dev.bench.processes import Child, flags, free_port, python

TOPICS = Topics("test")
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Bridge:
    port: int
    pid: int

    def url(self, item_id: str) -> str:
        return f"http://127.0.0.1:{self.port}/items/{item_id}"


@pytest.fixture(params=["dev.bench.minimal_bridge", "dev.bench.pykka_bridge"])
async def bridge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bridge]:
    port = free_port()
    async with EmbeddedBroker() as broker:
        responder = python(
            "dev.bench.responder",
            bootstrap=broker.address,
            prefix=TOPICS.prefix,
            servers="one",
            containers="3",
            items=20,
            fetch_max_wait_ms=10,
        )
        topics = flags(
            item_published=TOPICS.item_published,
            item_reported=TOPICS.item_reported("one"),
            item_deleted=TOPICS.item_deleted("one"),
        )
        program = python(request.param, bootstrap=broker.address, port=port, fetch_max_wait_ms=10)
        async with Child("the responder", responder, tmp_path / "responder.log") as child:
            await child.until_said("ready")
            async with Child("the bridge", [*program, *topics], tmp_path / "bridge.log") as server:
                await server.until_said("ready")
                yield Bridge(port, server.pid)
                assert await server.stop() == 0


async def test_a_bridge_answers_as_the_contract_says(bridge: Bridge) -> None:
    item_id = item_ids(3, 20)[0]
    async with aiohttp.ClientSession() as session:
        async with session.delete(bridge.url(item_id)) as response:
            body = await response.json()
        assert response.status == 200
        assert body.keys() >= {"itemId", "outcome", "containers"}
        assert (body["itemId"], body["outcome"]) == (item_id, "deleted")
        assert all(one["deletedAt"] for one in body["containers"])
        named = [
            {key: one[key] for key in ("containerId", "containerType")}
            for one in body["containers"]
        ]
        assert sorted(named, key=str) == sorted(containers_of(3), key=str)

        async with session.delete(bridge.url(UNKNOWN)) as response:
            assert response.status == 404


async def test_a_round_of_load_counts_good_answers_only(bridge: Bridge) -> None:
    round_ = measure(
        port=bridge.port,
        pid=bridge.pid,
        containers=3,
        items=20,
        concurrency=4,
        warm_up=0.1,
        seconds=0.3,
    )
    measured = await asyncio.wait_for(round_, 60)
    assert measured.errors == {}
    assert measured.answered > 0
    assert 0 < measured.p50 <= measured.p99

    unpublished = measure(
        port=bridge.port,
        pid=bridge.pid,
        containers=1,  # items that nobody published
        items=20,
        concurrency=1,
        warm_up=0.0,
        seconds=0.1,
    )
    measured = await asyncio.wait_for(unpublished, 60)
    assert measured.answered == 0
    assert measured.errors.keys() == {"404"}


async def test_the_floor_answers_every_request_with_as_many_containers(tmp_path: Path) -> None:
    port = free_port()
    command = python("dev.bench.hello", port=port, containers=3)
    async with Child("the floor", command, tmp_path / "hello.log") as server:
        await server.until_said("ready")
        measured = await measure(
            port=port,
            pid=server.pid,
            containers=3,
            items=20,
            concurrency=4,
            warm_up=0.0,
            seconds=0.2,
        )
        assert measured.errors == {}  # what it answers is looked at as the service's answers are
        assert measured.answered > 0
        assert await server.stop() == 0
