"""The clients of aiokafka that the bus uses, on the simulated cluster.

They replace the real ones: `TopicReader`, `KafkaPublisher` and `Topics` are the service's own code,
with their positions, lanes, watchers and replacements.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dev.simulation.consumer import Consumer
from dev.simulation.producer import Producer

if TYPE_CHECKING:
    from dev.simulation.network import Network


class SimulatedClients:
    """Creates the clients of one process: the three factories of `bus.kafka.connection.Clients`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def consumer(self, **options: Any) -> Consumer:
        """A consumer."""
        consumer = Consumer(self._network, options)
        self._network.consumers.append(consumer)
        return consumer

    def producer(self, **options: Any) -> Producer:
        """A producer."""
        producer = Producer(self._network, options)
        self._network.producers.append(producer)
        return producer

    def admin(self, **_options: Any) -> Admin:
        """An administrator's client."""
        return Admin(self._network)


class Admin:
    """Lists topics, creates them, and describes their settings."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def start(self) -> None:
        await self._network.ask(lambda: None)

    async def list_topics(self) -> list[str]:
        topics: list[str] = await self._network.ask(lambda: list(self._network.cluster.topics))
        return topics

    async def create_topics(self, wanted: list[Any]) -> Any:
        def create() -> Any:
            for topic in wanted:
                if topic.name not in self._network.cluster.topics:
                    self._network.cluster.create(topic.name, topic.num_partitions)
            return SimpleNamespace(topic_errors=[(topic.name, 0, None) for topic in wanted])

        return await self._network.ask(create)

    async def describe_configs(
        self, resources: list[Any], include_synonyms: bool = False
    ) -> list[Any]:
        def describe(resource: Any) -> tuple[int, str | None, int, str, list[Any]]:
            settings = self._network.cluster.settings.get(resource.name)
            if settings is None:
                return 3, "no such topic", 2, resource.name, []
            wanted = resource.configs
            entries: list[Any] = [
                (name, value, False, 5, False, [])
                for name, value in settings.items()
                if wanted is None or name in wanted
            ]
            return 0, None, 2, resource.name, entries

        def answer() -> list[Any]:
            return [SimpleNamespace(resources=[describe(each) for each in resources])]

        await asyncio.sleep(self._network.cluster.settings_delay)
        answers: list[Any] = await self._network.ask(answer)
        return answers

    async def close(self) -> None:
        pass
