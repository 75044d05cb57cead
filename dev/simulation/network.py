"""The network between one simulated process and the simulated cluster."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from aiokafka import TopicPartition

    from dev.simulation.cluster import Cluster
    from dev.simulation.consumer import Consumer
    from dev.simulation.event_log import Journal
    from dev.simulation.faults import Faults
    from dev.simulation.loop import SimulatedLoop
    from dev.simulation.producer import Producer

_FAR = (0.0, 0.0, 0.005, 0.03)
"""Seconds that a partition may be away, beyond the delay of the whole network."""


class Network:
    """What one process's clients reach the cluster through; cut when the process is killed.

    Attributes:
        consumers: those that are open.
        producers: those that are open.
        cut: whether the process was killed.
        settled: is given the requests of a batch and its error when the service learns the result.
    """

    def __init__(
        self, loop: SimulatedLoop, cluster: Cluster, faults: Faults, journal: Journal
    ) -> None:
        self.loop = loop
        self.cluster = cluster
        self.faults = faults
        self.journal = journal
        self.consumers: list[Consumer] = []
        self.producers: list[Producer] = []
        self.cut = False
        self.settled: Callable[[Iterable[bytes], Exception | None], None] | None = None
        self._far: dict[TopicPartition, float] = {}

    def sever(self) -> None:
        """Cut the network: nothing is sent or received from now on."""
        self.cut = True
        for consumer in tuple(self.consumers):
            consumer.leave()
        for producer in tuple(self.producers):
            producer.die()
            producer.leave()

    def unsettled(self) -> set[bytes]:
        """The requests that were sent and whose result the service does not know yet."""
        return {value for producer in self.producers for value in producer.unsettled()}

    async def ask(self, read: Callable[[], Any]) -> Any:
        """Send a request to the cluster.

        Raises:
            KafkaConnectionError: the cluster refuses it.
        """
        future: asyncio.Future[Any] = self.loop.create_future()
        self.put(future, read)
        return await future

    def put(self, future: asyncio.Future[Any], read: Callable[[], Any]) -> None:
        """Send a request to the cluster, and have this future receive the answer."""
        if self.cut:
            future.set_exception(KafkaConnectionError("cut"))
            future.exception()  # the task that asked may have ended, too
        else:
            self.cluster.ask(future, read)

    def delay_from(self, tp: TopicPartition) -> float:
        """Seconds until a new record of a partition reaches its readers, this time."""
        far = self._far.get(tp)
        if far is None:  # brokers differ in distance and load
            rng = random.Random(f"{self.cluster.ids[tp.topic].hex()} {tp.partition}")
            far = self._far[tp] = rng.choice(_FAR)
        lags = self.cluster.lag
        if lags:
            far += lags.get(tp.topic, 0.0) + lags.get(f"{tp.topic}[{tp.partition}]", 0.0)
        return self.cluster.delay() + far
