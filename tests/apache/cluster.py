"""A cluster of three brokers, and what tests ask about it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from dev.apache_kafka.cluster import ApacheKafka
from dev.apache_kafka.ports import HOST, free_ports

_TRANSITION = re.compile(r"Completed transition to (\w+)\(.*?epoch=(\d+)")


async def until_in_sync(kafka: ApacheKafka, topics: Iterable[str], *, within: float = 60.0) -> None:
    """Wait until every copy of every partition is there: until then no other broker may go."""
    wanted = sorted(topics)
    async with asyncio.timeout(within):
        while True:
            with contextlib.suppress(KafkaError, OSError):
                partitions = await _partitions(kafka, wanted)
                if partitions and all(len(p["isr"]) == len(kafka.nodes) for p in partitions):
                    return
            await asyncio.sleep(0.1)


async def leads(kafka: ApacheKafka, topic: str) -> set[int]:
    """The brokers that lead at least one of a topic's partitions."""
    return {p["leader"] for p in await _partitions(kafka, [topic])}


async def require_copies(kafka: ApacheKafka, topic: str, copies: int) -> None:
    """Have a topic take a record only when so many brokers have it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        await admin.start()
        wanted = {"min.insync.replicas": str(copies)}
        (response,) = await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, wanted)]
        )
        assert not any(code for code, *_ in response.resources), response
    finally:
        await admin.close()


async def _partitions(kafka: ApacheKafka, topics: list[str]) -> list[dict[str, Any]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    try:
        await admin.start()
        described = await admin.describe_topics(topics)
    finally:
        await admin.close()
    return [partition for topic in described for partition in topic["partitions"]]


def alive(kafka: ApacheKafka) -> list[int]:
    """The brokers that run."""
    return [node for node in kafka.nodes if kafka.pid(node) is not None]


def controller(kafka: ApacheKafka) -> int:
    """The broker that is the cluster's active controller, by what the brokers' logs say."""
    found: list[tuple[int, int]] = []
    for node in alive(kafka):
        transitions = _TRANSITION.findall(kafka.log(node).read_text(errors="replace"))
        if transitions:
            role, epoch = transitions[-1]
            if role == "Leader":
                found.append((int(epoch), node))
    assert found, "no broker says in its log that it became the controller"
    return max(found)[1]


class StableAddress:
    """One address that always leads to some broker, as a load balancer or a service name does.

    Clients ask there only which brokers exist; then they talk to those.

    Args:
        targets: says where brokers listen now, as `host:port`.
    """

    def __init__(self, targets: Callable[[], Iterable[str]]) -> None:
        (self._port,) = free_ports(1)
        self._targets = targets
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"{HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self._port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            for target in self._targets():
                host, port = target.split(":")
                with contextlib.suppress(OSError):
                    there, out = await asyncio.open_connection(host, int(port))
                    writers.append(out)
                    await asyncio.wait(
                        [
                            asyncio.ensure_future(_pump(reader, out)),
                            asyncio.ensure_future(_pump(there, writer)),
                        ],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    return
        finally:
            for each in writers:
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


class ElectLeadersResponse_v0(Response):  # type: ignore[misc] # noqa: N801 - as aiokafka does
    """What became of each election."""

    API_KEY = 43
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", String("utf-8")),
                    ),
                ),
            ),
        ),
    )


class ElectLeadersRequest_v0(RequestStruct):  # type: ignore[misc] # noqa: N801
    """Has each partition's first copy lead it, which aiokafka cannot ask for."""

    API_KEY = 43
    API_VERSION = 0
    RESPONSE_TYPE = ElectLeadersResponse_v0
    SCHEMA = Schema(
        ("topics", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
        ("timeout_ms", Int32),
    )


class ElectLeadersRequest(Request[ElectLeadersRequest_v0]):  # type: ignore[misc]
    """Of these partitions of each topic."""

    API_KEY: ClassVar[int] = 43

    def __init__(self, topics: list[tuple[str, list[int]]]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        return request_struct_class(self._topics, 10_000)


async def elect_preferred_leaders(kafka: ApacheKafka, topics: Iterable[str]) -> int:
    """Move leaders in good order, while all brokers run; returns how many were moved."""
    client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers)
    await client.bootstrap()
    try:
        wanted = []
        for topic in topics:
            await client._wait_on_metadata(topic)
            wanted.append((topic, sorted(client.cluster.partitions_for_topic(topic))))
        response = await client.send(client.get_random_node(), ElectLeadersRequest(wanted))
    finally:
        await client.close()
    # One that is led by its first copy already is an error; it is not counted.
    return sum(not code for _, partitions in response.topics for _, code, _ in partitions)
