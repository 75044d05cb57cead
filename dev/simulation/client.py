"""The client inside simulated consumers and producers: metadata, and requests that are bytes."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from bus.kafka.epoch_ends import OffsetForLeaderEpochRequest
from bus.kafka.metadata_request import MetadataResponse_v12
from dev.simulation.cluster import Broker
from dev.simulation.requests import RawConnection, batch, batch_header, epoch_ends, fetched

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dev.simulation.cluster import Cluster
    from dev.simulation.network import Network


class Metadata:
    """A client's copy of the cluster's metadata."""

    def __init__(self) -> None:
        self.unauthorized_topics: frozenset[str] = frozenset()
        self._partitions: dict[str, set[int]] = {}
        self._led: dict[TopicPartition, bool] = {}

    def update(self, cluster: Cluster) -> None:
        for topic, logs in cluster.topics.items():
            self._partitions[topic] = set(range(len(logs)))
            for number, log in enumerate(logs):
                self._led[TopicPartition(topic, number)] = log.led

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._partitions.get(topic)

    def leader_for_partition(self, tp: TopicPartition) -> int:
        return 0 if self._led.get(tp) else -1

    def brokers(self) -> tuple[Any, ...]:
        return (SimpleNamespace(nodeId=0, host="simulated", port=9092),)


class _Connections:
    """The one connection of a client, under every name.

    A connection to a broker that hangs looks connected.
    """

    def __init__(self, network: Network, open_raw: Callable[[], RawConnection]) -> None:
        self._network = network
        self._open_raw = open_raw

    def get(self, _which: object) -> _Connections:
        return self

    def __getitem__(self, _which: object) -> RawConnection:
        """A further connection, for requests that are written as bytes."""
        return self._open_raw()

    def connected(self) -> bool:
        return not self._network.cut and self._network.cluster.state is not Broker.REFUSES


class Client:
    """The client inside a consumer or a producer."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._conns = _Connections(network, lambda: RawConnection(self._answer))
        self.cluster = Metadata()
        self._topic = ""

    def add_topic(self, topic: str) -> None:
        """Metadata always has all topics."""
        self._topic = topic

    def force_metadata_update(self) -> asyncio.Future[bool]:
        # Not a coroutine: it is done even if the caller does not await it.
        asked: asyncio.Future[None] = self._network.loop.create_future()
        done: asyncio.Future[bool] = self._network.loop.create_future()

        def tell(_: object) -> None:
            if not done.done():
                done.set_result(asked.exception() is None)

        asked.add_done_callback(tell)
        self._network.put(asked, lambda: self.cluster.update(self._network.cluster))
        return done

    async def ready(self, _node: int, *, group: object = None) -> bool:
        return self._conns.connected()

    async def send(self, _node: int, request: Any) -> Any:
        answer: Callable[[], Any]
        if isinstance(request, FetchedBatches):
            return request.response()
        if isinstance(request, FetchRequest):
            ((topic, wanted),) = request.prepare({1: (4, 4)}).topics
            answer = partial(self._records, topic, wanted)
        elif isinstance(request, OffsetForLeaderEpochRequest):
            ((topic, wanted),) = request.prepare({23: (2, 4)}).topics
            answer = partial(self._epoch_ends, topic, wanted)
        else:
            answer = partial(self._describe, request.topics[0])
        return await self._network.ask(answer)

    def _answer(self, connection: RawConnection, numbers: list[int]) -> None:
        asked: asyncio.Future[Any] = self._network.loop.create_future()

        def tell(_: object) -> None:
            if asked.exception() is None:
                connection.answered(*asked.result())
            else:
                connection.lose()

        committed = connection.committed

        def read() -> Any:
            logs = self._network.cluster.topics.get(self._topic, [])
            known = [(n, logs[n]) for n in numbers if n < len(logs)]
            ends = [
                (n, 0 if log.led else 6, log.stable if committed else log.end, log.epoch)
                for n, log in known
            ]
            return ends, self._describe(self._topic)

        asked.add_done_callback(tell)
        self._network.put(asked, read)

    def _records(self, topic: str, wanted: list[tuple[int, int, int]]) -> Any:
        logs = self._network.cluster.topics[topic]
        found, refused = {}, {}
        for number, offset, _ in wanted:
            log = logs[number]
            if not log.start <= offset <= log.end:
                refused[number] = 1
            else:
                some = log.since(offset, log.end, committed=False)[:8]
                found[number] = b"".join(
                    batch(record, record.epoch, transactional=record.transaction > 0)
                    for record in some
                )
        return fetched(topic, found, refused)

    def _epoch_ends(self, topic: str, wanted: list[tuple[int, int, int]]) -> Any:
        logs = self._network.cluster.topics[topic]
        return epoch_ends(
            topic, [(0, number, *logs[number].epoch_end(epoch)) for number, _, epoch in wanted]
        )

    def _describe(self, topic: str) -> MetadataResponse_v12:
        cluster = self._network.cluster
        logs = cluster.topics.get(topic)
        partitions: list[Any] = [
            (0, number, 0 if log.led else -1, log.epoch, [], [], [], {})
            for number, log in enumerate(logs or ())
        ]
        described: list[Any] = [
            (
                *(0 if logs is not None else 3, topic, cluster.ids.get(topic, bytes(16))),
                *(False, partitions, 0, {}),
            )
        ]
        return MetadataResponse_v12(0, [], cluster.cluster_id, 0, described, {})

    async def close(self) -> None:
        pass


class FetchedBatches(FetchRequest):  # type: ignore[misc] # aiokafka carries no types
    """Gives the monitors of a client's fetches the batches that a consumer has fetched."""

    def __init__(self, tp: TopicPartition, batches: list[tuple[int, int]]) -> None:
        super().__init__(0, 0, 0, 0, [(tp.topic, [(tp.partition, batches[0][0], 0)])])
        self._tp = tp
        self._batches = batches

    def response(self) -> Any:
        headers = b"".join(batch_header(offset, epoch) for offset, epoch in self._batches)
        return fetched(self._tp.topic, {self._tp.partition: headers}, {})
