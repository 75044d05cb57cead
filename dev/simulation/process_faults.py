"""Faults of the broker and of the process that strike at a time of their own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from dev.simulation.cluster import PARTITIONS, TOPICS, Broker
from dev.simulation.faults import Fault

if TYPE_CHECKING:
    import random

    from dev.simulation.world import World


class ProcessFaults:
    """These faults of one run.

    Args:
        world: everything around the service.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def plan(self, kind: Fault, rng: random.Random, last: float) -> None:
        """Schedule a fault of this kind.

        Args:
            rng: what draws its time and its strength.
            last: seconds until the last planned request.
        """
        # Some are there from the start.
        at = rng.uniform(0.0, last + 0.5) if rng.random() < 0.8 else 0.0
        happen = self._world.loop.happen
        match kind:
            case Fault.BROKER_REFUSES:
                happen(at, self._world.cluster.away, Broker.REFUSES, rng.uniform(0.05, 2.5))
            case Fault.BROKER_HANGS:
                happen(at, self._world.cluster.away, Broker.HANGS, rng.uniform(0.05, 4.0))
            case Fault.NO_LEADER:
                topic, seconds = rng.choice(TOPICS), rng.uniform(0.05, 2.0)
                happen(
                    at, self._world.cluster.lose_leader, topic, rng.randrange(PARTITIONS), seconds
                )
            case Fault.PARTITIONS_ADDED:
                happen(at, self._world.cluster.add_partition, rng.choice(TOPICS))
            case Fault.PAUSED:
                happen(at, self._world.pause, rng.choice((0.3, 1.0, 3.0)) * rng.uniform(0.3, 2.0))
            case Fault.PAUSED_MIDWAY:
                pause = functools.partial(
                    self._world.pause, rng.choice((0.1, 1, 3)) * rng.uniform(0.3, 2)
                )
                happen(at, self._world.loop.after_callbacks, rng.randint(1, 60), pause)
            case Fault.SLOWED:
                happen(at, self._slow_down, rng, rng.randint(20, 200))
            case Fault.DRAINED:
                happen(at, self._world.restart, False, rng.uniform(0.0, 0.5))
                if rng.random() < 0.4:  # and the process is stopped while it drains
                    happen(at + rng.uniform(0.0, 0.2), self._world.pause, rng.uniform(1.0, 8.0))
            case Fault.KILLED:
                kill = functools.partial(self._world.restart, True, rng.uniform(0.0, 0.5))
                if rng.random() < 0.5:
                    happen(at, kill)
                else:
                    happen(at, self._world.loop.after_callbacks, rng.randint(1, 60), kill)
            case Fault.PRODUCER_DIED:
                happen(at, self._kill_producer)
            case Fault.READER_STALLED:
                happen(at, self._stall_reader, rng.choice(TOPICS[1:]))
            case Fault.READER_LOST:
                happen(at, self._world.lose_reader, rng.choice(TOPICS[1:]))
            case Fault.READER_LAGS:
                happen(at, self._lag, "item_deleted", rng.uniform(0.05, 1.5), rng.uniform(0.1, 2))
            case Fault.PARTITION_LAGS:
                where = f"{rng.choice(TOPICS[1:])}[{rng.randrange(PARTITIONS)}]"
                happen(at, self._lag, where, rng.uniform(0.005, 1.5), rng.uniform(0.5, 3.0))
            case Fault.CATALOGUE_BEHIND:
                lag = rng.uniform(0.05, 3.0)
                happen(at, self._lag, "item_published", lag, rng.uniform(0.5, 3.0))
            case _:
                self._world.topic_faults.plan(kind, at, rng)

    def _slow_down(self, rng: random.Random, times: int) -> None:
        """Make the program's own work slow: repeatedly pause it after some callbacks."""
        if times and not self._world.faults.over:
            self._world.pause(rng.uniform(0.0005, 0.005))
            more = functools.partial(self._slow_down, rng, times - 1)
            self._world.loop.after_callbacks(rng.randint(1, 60), more)

    def _lag(self, topic: str, lag: float, seconds: float) -> None:
        self._world.journal.write("Kafka", "Kafka", f"! {topic} is read {lag:.3f} s late")
        self._world.cluster.lag[topic] = lag
        self._world.loop.happen(seconds, self._world.cluster.lag.pop, topic, None)

    def _kill_producer(self) -> None:
        if self._world.life is not None:
            self._world.journal.write("publisher", "publisher", "! the producer's task dies")
            for producer in self._world.life.network.producers:
                producer.die()

    def _stall_reader(self, topic: str) -> None:
        for consumer in self._world.life.network.consumers if self._world.life is not None else ():
            if consumer.topic == topic:
                self._world.journal.write("Kafka", "Kafka", f"! {topic} is not fetched any more")
                consumer.silent = True
