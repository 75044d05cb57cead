"""The parts of the service that are observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors.fsm.machine import Machine
    from actors.fsm.transitions import TransitionFeed
    from bus.event_bus import EventBus
    from bus.kafka.publisher import KafkaPublisher
    from bus.kafka.reader import TopicReader
    from catalogue.doubts import ItemDoubt
    from coordinator.coordinator import Coordinator
    from coordinator.readiness import Readiness


def _no_doubts(_limit: int) -> tuple[str, int, Sequence[ItemDoubt]]:
    return "", 0, ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The parts, or functions that return them where they are built later.

    Attributes:
        feed: every machine.
        machines: the tables of all kinds of machine that join the feed.
        coordinator: the coordinator, once there is one.
        bus: the event bus.
        readers: the topics' readers.
        publisher: the producer.
        catalogue: the catalogue's statistics.
        doubts: the catalogue's topic, how many of its items are in doubt, and the newest of them.
        readiness: every check.
        public_api: its address and how many connections are open.
        admin_api: the same.
        viewers: how many streams are open, and how many were cut off.
        tasks: the service's own tasks by name, and whether each runs.
    """

    feed: TransitionFeed
    machines: tuple[Machine[Any, Any], ...]
    coordinator: Callable[[], Coordinator | None]
    bus: EventBus
    readers: tuple[TopicReader, ...]
    publisher: KafkaPublisher
    catalogue: Callable[[], object]
    readiness: Readiness
    public_api: Callable[[], tuple[str, int]]
    admin_api: Callable[[], tuple[str, int]]
    viewers: Callable[[], tuple[int, int]]
    tasks: Callable[[], Mapping[str, bool]]
    doubts: Callable[[int], tuple[str, int, Sequence[ItemDoubt]]] = _no_doubts

    def skipped(self) -> int:
        """Records that were skipped, of all topics."""
        return sum(reader.statistics().skipped for reader in self.readers)

    def states(self) -> tuple[str, ...]:
        """The states of every machine."""
        return tuple(state.value for machine in self.machines for state in machine.states)
