"""The part of aiokafka's consumer that the bus uses, on the simulated cluster."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from dev.simulation.client import Client, FetchedBatches
from dev.simulation.cluster import Broker
from dev.simulation.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dev.simulation.log import Log, Record
    from dev.simulation.network import Network

_RETRY = 0.1
"""Seconds until a partition without a leader is tried again."""


class Consumer:
    """A consumer whose positions are set by its user; it belongs to no group."""

    def __init__(self, network: Network, options: dict[str, Any]) -> None:
        self._network = network
        self._loop = network.loop
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=options["fetch_max_wait_ms"])
        self._client = Client(network)
        self._committed = options.get("isolation_level") == "read_committed"
        self._positions: dict[TopicPartition, int] = {}
        self._visible: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, tuple[int, int]] = {}
        self._batches: dict[TopicPartition, list[tuple[int, int]]] = {}
        self._pending: set[TopicPartition] = set()
        self._stamps: dict[TopicPartition, float] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.silent = False
        self.topic = ""

    async def start(self) -> None:
        await self._network.ask(lambda: self._client.cluster.update(self._network.cluster))
        self._network.cluster.readers.append(self)

    async def stop(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Receive nothing from now on."""
        if self in self._network.cluster.readers:
            self._network.cluster.readers.remove(self)
        if self in self._network.consumers:
            self._network.consumers.remove(self)

    def lose(self, error: Exception) -> None:
        """The next fetch fails in this way."""
        self._error = error
        self._wake()

    # --------------------------------------------------------------------------- requests

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._client.cluster.partitions_for_topic(topic)

    async def end_offsets(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        asked = await self._led(wanted)
        answer: dict[TopicPartition, int] = await self._network.ask(
            lambda: {
                tp: self._end(self._network.cluster.topics[tp.topic][tp.partition]) for tp in asked
            }
        )
        return answer

    def _end(self, log: Log) -> int:
        """How far this consumer may read, and what ListOffsets answers it."""
        return log.stable if self._committed else log.end

    async def beginning_offsets(
        self, wanted: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        topics, asked = self._network.cluster.topics, await self._led(wanted)
        answer: dict[TopicPartition, int] = await self._network.ask(
            lambda: {tp: topics[tp.topic][tp.partition].start for tp in asked}
        )
        return answer

    async def _led(self, wanted: Iterable[TopicPartition]) -> tuple[TopicPartition, ...]:
        """Only a partition's leader answers; aiokafka asks again until there is one."""
        asked = tuple(wanted)
        topics = self._network.cluster.topics
        while not all(topics[tp.topic][tp.partition].led for tp in asked):  # noqa: ASYNC110 - as aiokafka does
            await asyncio.sleep(_RETRY)
        return asked

    # --------------------------------------------------------------------------- fetching

    def assign(self, partitions: list[TopicPartition]) -> None:
        # As in aiokafka, a new assignment starts from nothing.
        self._positions = dict.fromkeys(sorted(partitions), -1)
        self._visible.clear()
        self._ends.clear()
        self._stamps.clear()
        self.topic = partitions[0].topic
        self.back()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._positions[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._positions[tp]

    def highwater(self, tp: TopicPartition) -> int | None:
        return self._ends[tp][0] if tp in self._ends else None

    def last_stable_offset(self, tp: TopicPartition) -> int | None:
        return self._ends[tp][1] if tp in self._ends else None

    def last_poll_timestamp(self, tp: TopicPartition) -> float | None:
        if self._answered(tp):
            self._stamps[tp] = self._loop.time() * 1000 // self._fetcher._fetch_max_wait_ms
        return self._stamps.get(tp)

    def _answered(self, tp: TopicPartition) -> bool:
        cluster = self._network.cluster
        led = cluster.topics[tp.topic][tp.partition].led
        return not self.silent and led and cluster.state is Broker.UP

    def appended(self, topic: str, partition: int) -> None:
        if topic == self.topic:
            self._fetch(TopicPartition(topic, partition))

    def back(self) -> None:
        for tp in self._positions:
            self._fetch(tp)

    def hurry(self) -> None:
        self._pending.clear()

    def cut(self, topic: str, partition: int) -> None:
        # Records that were fetched but not returned yet were in the log until now.
        if (tp := TopicPartition(topic, partition)) in self._visible:
            self._visible[tp] = min(self._visible[tp], self._positions[tp])
            self._fetch(tp)

    def _fetch(self, tp: TopicPartition) -> None:
        if tp in self._positions and tp not in self._pending:
            self._pending.add(tp)
            self._loop.happen(self._network.delay_from(tp), self._fetched, tp)

    def _fetched(self, tp: TopicPartition) -> None:
        self._pending.discard(tp)
        if tp not in self._positions or not self._answered(tp):
            return
        log = self._network.cluster.topics[tp.topic][tp.partition]
        position = self._positions[tp]
        if not log.start <= position <= log.end:
            self._error = OffsetOutOfRangeError({tp: position})
        self._ends[tp] = log.end, log.stable
        reach = self._end(log)
        pace = self._network.cluster.pace.get(f"{tp.topic}[{tp.partition}]")
        if pace is not None:
            records, seconds = pace
            reach = min(reach, max(self._visible.get(tp, -1), position) + records)
            if reach < self._end(log):
                self._pending.add(tp)
                self._loop.happen(seconds, self._fetched, tp)
        self._visible[tp] = reach
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        found = self._take()
        if not found:
            self._waiter = self._loop.create_future()
            timer = self._loop.call_later(timeout_ms / 1000, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
            found = self._take()
        batches, self._batches = self._batches, {}
        for tp, of in batches.items():
            await self._client.send(0, FetchedBatches(tp, of))
        return found

    def _take(self) -> dict[TopicPartition, list[Record]]:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        found = {}
        for tp, position in self._positions.items():
            end = self._visible.get(tp, -1)
            if end <= position:
                continue
            first = position
            if (
                rng := self._network.faults.strikes(
                    Fault.RECORDS_AGAIN, tp.topic, tp.partition, end
                )
            ) is not None:
                first = max(0, position - rng.randint(1, 6))
            log = self._network.cluster.topics[tp.topic][tp.partition]
            records = log.since(first, end, committed=self._committed)
            if batches := log.batches(first, end):
                self._batches[tp] = batches
            self._positions[tp] = end
            if records:
                found[tp] = records
        return found
