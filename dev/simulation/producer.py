"""The part of aiokafka's producer that the bus uses, on the simulated cluster."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)

from dev.simulation.client import Client
from dev.simulation.cluster import Broker
from dev.simulation.faults import Fault

if TYPE_CHECKING:
    from dev.simulation.network import Network

_RETRY = 0.1
"""Seconds until a batch is sent again to a partition without a leader."""


class Batch:
    """Records for one partition; accepts more until the producer sends it.

    Args:
        size: bytes of values at which it is full.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self.closed = False
        self.records: list[tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]] = []
        self.topic = ""
        self.partition = 0
        self.expires = 0.0
        self.future: asyncio.Future[Any] | None = None

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes,
        value: bytes,
        headers: list[tuple[str, bytes]],
    ) -> object | None:
        """Add a record; None if the batch is full or closed."""
        if self.closed or (self.records and len(value) > self._left):
            self.closed = True
            return None
        self._left -= len(value)
        self.records.append((key, value, tuple(headers)))
        return self

    def size(self) -> int:
        """Bytes of its values."""
        return sum(len(value) for _, value, _ in self.records)

    @property
    def name(self) -> str:
        """Its name in the names of faults: the item of its first record."""
        return self.records[0][0][-4:].decode()


class Producer:
    """Sends one batch of a partition after the other; some are written twice, as in reality."""

    def __init__(self, network: Network, options: dict[str, Any]) -> None:
        self._network = network
        self._loop = network.loop
        self._request_timeout = options["request_timeout_ms"] / 1000
        self._size = options["max_batch_size"]
        self.client = Client(network)
        self._sender = SimpleNamespace(sender_task=network.loop.create_future(), close=self._close)
        self._message_accumulator = SimpleNamespace(fail_all=self._fail_all)
        self._open: dict[asyncio.Future[Any], Batch] = {}
        self._waiting: dict[int, list[Batch]] = {}
        self._in_flight: dict[int, Batch] = {}
        self._fates: dict[bytes, float] = {}

    async def start(self) -> None:
        await self._network.ask(lambda: self.client.cluster.update(self._network.cluster))

    async def partitions_for(self, topic: str) -> set[int]:
        return self.client.cluster.partitions_for_topic(topic) or set()

    async def stop(self) -> None:
        if self._open:
            await asyncio.wait(tuple(self._open))
        self.leave()

    async def _close(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Send nothing from now on."""
        if self in self._network.producers:
            self._network.producers.remove(self)
        if not self._sender.sender_task.done():
            self._sender.sender_task.set_result(None)

    def unsettled(self) -> set[bytes]:
        """The requests that were sent and whose result the service does not know yet."""
        return {value for batch in self._open.values() for _, value, _ in batch.records}

    def die(self) -> None:
        """End the background task with an error; the results of batches in flight stay unknown."""
        if not self._sender.sender_task.done():
            error = RuntimeError("the sender died")
            self._sender.sender_task.set_exception(error)
            self._sender.sender_task.exception()
            self._fail_all(KafkaConnectionError("the sender died"))

    def _fail_all(self, error: Exception) -> None:
        for future in tuple(self._open):
            self._resolve(future, error)
        self._waiting.clear()

    def _resolve(self, future: asyncio.Future[Any], error: Exception | None) -> None:
        batch = self._open.pop(future, None)
        if future.done():
            return
        if batch is not None:
            self._report(batch, error)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # the sender may not wait any more

    def _report(self, batch: Batch, error: Exception | None) -> None:
        """Record that the service learns the result of its requests."""
        in_parts = isinstance(error, MessageSizeTooLargeError) and len(batch.records) > 1
        if self._network.settled is not None and not self._network.cut and not in_parts:
            self._network.settled([value for _, value, _ in batch.records], error)

    # ---------------------------------------------------------------------------- batches

    def create_batch(self) -> Batch:
        return Batch(self._size)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        if (rng := self._network.faults.strikes(Fault.SLOW_HAND_OVER, batch.name)) is not None:
            await asyncio.sleep(rng.uniform(0.05, 3.0))
        if self._sender.sender_task.done():
            raise ProducerClosed
        batch.topic, batch.partition = topic, partition
        batch.expires = self._loop.time() + self._request_timeout
        batch.future = self._loop.create_future()
        self._open[batch.future] = batch
        self._waiting.setdefault(partition, []).append(batch)
        self._loop.call_soon(self._send_next, partition)
        return batch.future

    def _send_next(self, partition: int) -> None:
        waiting = self._waiting.get(partition)
        if not waiting or partition in self._in_flight:
            return
        batch = self._in_flight[partition] = waiting.pop(0)
        batch.closed = True
        self._loop.happen(self._network.cluster.delay(), self._arrive, batch)

    def _arrive(self, batch: Batch) -> None:
        cluster, name = self._network.cluster, batch.name
        assert batch.future is not None
        if batch.future.done() or self._network.cut:
            self._settle(batch, None)
            return
        if cluster.state is not Broker.UP or not cluster.topics[batch.topic][batch.partition].led:
            if self._loop.time() >= batch.expires:
                self._settle(batch, KafkaTimeoutError())
            else:
                self._loop.happen(_RETRY, self._arrive, batch)
            return
        strikes = self._network.faults.strikes
        if self._struck_one(batch):
            return
        if strikes(Fault.ACK_FAILED, name) is not None:
            self._network.journal.write(
                "Kafka", "publisher", f"! refuses {len(batch.records)} requests"
            )
            self._answer(0.0, batch, TopicAuthorizationFailedError())
            return
        if len(batch.records) > 1 and strikes(Fault.BATCH_TOO_LARGE, name) is not None:
            self._network.journal.write(
                "Kafka", "publisher", f"! accepts no batch of {len(batch.records)} requests"
            )
            self._answer(0.0, batch, MessageSizeTooLargeError())
            return
        for key, value, headers in batch.records:
            cluster.append(batch.topic, batch.partition, key, value, headers)
        if (rng := strikes(Fault.ACK_FAILED_WRITTEN, name)) is not None:
            self._answer(rng.uniform(0.0, 2.0), batch, RequestTimedOutError())
        elif (rng := strikes(Fault.ACK_LOST, name)) is not None:
            # The client tries again: the records are there twice.
            self._loop.happen(rng.uniform(0.05, 0.5), self._arrive, batch)
        elif (rng := strikes(Fault.ACK_DELAYED, name)) is not None:
            self._answer(rng.uniform(0.3, 4.0), batch, None)
        elif (rng := strikes(Fault.ACK_AFTER_EVENT, name)) is not None:
            self._answer(rng.uniform(0.05, 0.3), batch, None)
        else:
            self._answer(0.0, batch, None)

    def _struck_one(self, batch: Batch) -> bool:
        """Whether one of several requests is refused, and the others wait for their answers.

        They are made to come in batches of their own: a batch of several is too large.
        """
        values = [value for _, value, _ in batch.records]
        seconds = self._fates.pop(values[0], None) if len(values) == 1 else None
        if seconds is not None:
            if not seconds:
                self._network.journal.write("Kafka", "publisher", f"! refuses one of {batch.name}")
                self._answer(0.0, batch, TopicAuthorizationFailedError())
                return True
            (key, value, headers), *_ = batch.records
            self._network.cluster.append(batch.topic, batch.partition, key, value, headers)
            self._answer(0.0 if self._network.faults.over else seconds, batch, None)
            return True
        if len(batch.records) < 2:
            return False
        rng = self._network.faults.strikes(Fault.ONE_REFUSED, batch.name)
        if rng is None and self._fates.keys().isdisjoint(values):
            return False
        if rng is not None:
            # One after the other, as a partition's batches are sent: together so long.
            seconds = rng.uniform(0.4, 4.0) / (len(values) - 1)
            self._fates |= dict.fromkeys(values, seconds)
            self._fates[values[0] if rng.random() < 0.6 else rng.choice(values)] = 0.0
        self._answer(0.0, batch, MessageSizeTooLargeError())
        return True

    def _answer(self, extra: float, batch: Batch, error: Exception | None) -> None:
        self._loop.happen(self._network.cluster.delay() + extra, self._settle, batch, error)

    def _settle(self, batch: Batch, error: Exception | None) -> None:
        assert batch.future is not None
        self._resolve(batch.future, error)
        self._in_flight.pop(batch.partition, None)
        if self._waiting.get(batch.partition):
            self._loop.call_soon(self._send_next, batch.partition)
