"""As much of aiokafka's clients as the bus uses, talking to the simulated cluster.

They stand where the real ones do: `TopicReader`, `KafkaPublisher` and `Topics` are the real ones,
with their positions, hand-over line, watchers and replacements.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    ProducerClosed,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.fetch import FetchRequest

from bus.kafka.epoch_ends import OffsetForLeaderEpochRequest
from bus.kafka.metadata_request import MetadataResponse_v12
from dev.simulation.cluster import Broker
from dev.simulation.faults import Fault
from dev.simulation.requests import RawConnection, batch, batch_header, epoch_ends, fetched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dev.simulation.cluster import Cluster
    from dev.simulation.event_log import Journal
    from dev.simulation.faults import Faults
    from dev.simulation.log import Log, Record
    from dev.simulation.loop import SimulatedLoop

_RETRY = 0.1
_FAR = (0.0, 0.0, 0.005, 0.03)
"""Seconds that a partition may be away, beyond what everything takes over the network."""


class Net:
    """One life's way to the cluster; cut when its process is killed."""

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
        """Nothing goes out or comes in any more."""
        self.cut = True
        for consumer in tuple(self.consumers):
            consumer.leave()
        for producer in tuple(self.producers):
            producer.die()
            producer.leave()

    def unsettled(self) -> set[bytes]:
        """The requests that were handed over and of which the service was told nothing yet."""
        return {value for producer in self.producers for value in producer.unsettled()}

    async def ask(self, read: Callable[[], Any]) -> Any:
        """Ask the cluster something.

        Raises:
            KafkaConnectionError: it refuses.
        """
        future: asyncio.Future[Any] = self.loop.create_future()
        self.put(future, read)
        return await future

    def put(self, future: asyncio.Future[Any], read: Callable[[], Any]) -> None:
        """Ask the cluster something, and have the answer put here."""
        if self.cut:
            future.set_exception(KafkaConnectionError("cut"))
            future.exception()  # whoever asked may be gone, too
        else:
            self.cluster.ask(future, read)

    def way_from(self, tp: TopicPartition) -> float:
        """Seconds that what is new in a partition takes to its readers, this time."""
        far = self._far.get(tp)
        if far is None:  # not all brokers are as near, nor as busy
            dice = random.Random(f"{self.cluster.ids[tp.topic].hex()} {tp.partition}")
            far = self._far[tp] = dice.choice(_FAR)
        lags = self.cluster.lag
        if lags:
            far += lags.get(tp.topic, 0.0) + lags.get(f"{tp.topic}[{tp.partition}]", 0.0)
        return self.cluster.delay() + far

    # The three factories of `bus.kafka.connection.Clients`.

    def consumer(self, **options: Any) -> Consumer:
        """A consumer."""
        consumer = Consumer(self, options)
        self.consumers.append(consumer)
        return consumer

    def producer(self, **options: Any) -> Producer:
        """A producer."""
        producer = Producer(self, options)
        self.producers.append(producer)
        return producer

    def admin(self, **_options: Any) -> Admin:
        """An administrator's client."""
        return Admin(self)


class _Metadata:
    """What a client has been told of the cluster."""

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
    """The one connection of a client, under every name; one to a broker that hangs looks well."""

    def __init__(self, net: Net, open_raw: Callable[[], RawConnection]) -> None:
        self._net = net
        self._open_raw = open_raw

    def get(self, _which: object) -> _Connections:
        return self

    def __getitem__(self, _which: object) -> RawConnection:
        """Another one, for requests that are written as bytes."""
        return self._open_raw()

    def connected(self) -> bool:
        return not self._net.cut and self._net.cluster.state is not Broker.REFUSES


class _Client:
    """The client below a consumer or a producer."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._conns = _Connections(net, lambda: RawConnection(self._answer))
        self.cluster = _Metadata()
        self._topic = ""

    def add_topic(self, topic: str) -> None:
        """All topics are told."""
        self._topic = topic

    def force_metadata_update(self) -> asyncio.Future[bool]:
        # Not a coroutine: whoever does not wait for it has it done all the same.
        asked: asyncio.Future[None] = self._net.loop.create_future()
        done: asyncio.Future[bool] = self._net.loop.create_future()

        def tell(_: object) -> None:
            if not done.done():
                done.set_result(asked.exception() is None)

        asked.add_done_callback(tell)
        self._net.put(asked, lambda: self.cluster.update(self._net.cluster))
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
        return await self._net.ask(answer)

    def _answer(self, connection: RawConnection, numbers: list[int]) -> None:
        asked: asyncio.Future[Any] = self._net.loop.create_future()

        def tell(_: object) -> None:
            if asked.exception() is None:
                connection.answered(*asked.result())
            else:
                connection.lose()

        committed = connection.committed

        def read() -> Any:
            logs = self._net.cluster.topics.get(self._topic, [])
            known = [(n, logs[n]) for n in numbers if n < len(logs)]
            ends = [
                (n, 0 if log.led else 6, log.stable if committed else log.end, log.epoch)
                for n, log in known
            ]
            return ends, self._describe(self._topic)

        asked.add_done_callback(tell)
        self._net.put(asked, read)

    def _records(self, topic: str, wanted: list[tuple[int, int, int]]) -> Any:
        logs = self._net.cluster.topics[topic]
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
        logs = self._net.cluster.topics[topic]
        return epoch_ends(
            topic, [(0, number, *logs[number].epoch_end(epoch)) for number, _, epoch in wanted]
        )

    def _describe(self, topic: str) -> MetadataResponse_v12:
        cluster = self._net.cluster
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
    """Shows whoever listens to a client's fetches the batches of what a consumer has fetched."""

    def __init__(self, tp: TopicPartition, batches: list[tuple[int, int]]) -> None:
        super().__init__(0, 0, 0, 0, [(tp.topic, [(tp.partition, batches[0][0], 0)])])
        self._tp = tp
        self._batches = batches

    def response(self) -> Any:
        headers = b"".join(batch_header(offset, epoch) for offset, epoch in self._batches)
        return fetched(self._tp.topic, {self._tp.partition: headers}, {})


class Consumer:
    """Reads by hand-set positions, and knows nothing of groups."""

    def __init__(self, net: Net, options: dict[str, Any]) -> None:
        self._net = net
        self._loop = net.loop
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=options["fetch_max_wait_ms"])
        self._client = _Client(net)
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
        await self._net.ask(lambda: self._client.cluster.update(self._net.cluster))
        self._net.cluster.readers.append(self)

    async def stop(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Hear of nothing any more."""
        if self in self._net.cluster.readers:
            self._net.cluster.readers.remove(self)
        if self in self._net.consumers:
            self._net.consumers.remove(self)

    def lose(self, error: Exception) -> None:
        """The next fetch fails in this way."""
        self._error = error
        self._wake()

    # -------------------------------------------------------------------------- questions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._client.cluster.partitions_for_topic(topic)

    async def end_offsets(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        asked = await self._led(wanted)
        answer: dict[TopicPartition, int] = await self._net.ask(
            lambda: {
                tp: self._end(self._net.cluster.topics[tp.topic][tp.partition]) for tp in asked
            }
        )
        return answer

    def _end(self, log: Log) -> int:
        """How far this consumer may read, and what ListOffsets answers it."""
        return log.stable if self._committed else log.end

    async def beginning_offsets(
        self, wanted: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        topics, asked = self._net.cluster.topics, await self._led(wanted)
        answer: dict[TopicPartition, int] = await self._net.ask(
            lambda: {tp: topics[tp.topic][tp.partition].start for tp in asked}
        )
        return answer

    async def _led(self, wanted: Iterable[TopicPartition]) -> tuple[TopicPartition, ...]:
        """Only a partition's leader answers; aiokafka asks again until there is one."""
        asked = tuple(wanted)
        topics = self._net.cluster.topics
        while not all(topics[tp.topic][tp.partition].led for tp in asked):  # noqa: ASYNC110 - as aiokafka does
            await asyncio.sleep(_RETRY)
        return asked

    # --------------------------------------------------------------------------- fetching

    def assign(self, partitions: list[TopicPartition]) -> None:
        # As aiokafka does: whoever assigns again starts from nothing.
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
        cluster = self._net.cluster
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
        # What was fetched and not taken yet was in the log until now.
        if (tp := TopicPartition(topic, partition)) in self._visible:
            self._visible[tp] = min(self._visible[tp], self._positions[tp])
            self._fetch(tp)

    def _fetch(self, tp: TopicPartition) -> None:
        if tp in self._positions and tp not in self._pending:
            self._pending.add(tp)
            self._loop.happen(self._net.way_from(tp), self._fetched, tp)

    def _fetched(self, tp: TopicPartition) -> None:
        self._pending.discard(tp)
        if tp not in self._positions or not self._answered(tp):
            return
        log = self._net.cluster.topics[tp.topic][tp.partition]
        position = self._positions[tp]
        if not log.start <= position <= log.end:
            self._error = OffsetOutOfRangeError({tp: position})
        self._ends[tp] = log.end, log.stable
        reach = self._end(log)
        pace = self._net.cluster.pace.get(f"{tp.topic}[{tp.partition}]")
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
                dice := self._net.faults.strikes(Fault.RECORDS_AGAIN, tp.topic, tp.partition, end)
            ) is not None:
                first = max(0, position - dice.randint(1, 6))
            log = self._net.cluster.topics[tp.topic][tp.partition]
            records = log.since(first, end, committed=self._committed)
            if batches := log.batches(first, end):
                self._batches[tp] = batches
            self._positions[tp] = end
            if records:
                found[tp] = records
        return found


class Batch:
    """Records for one partition; takes more until the producer comes to send it.

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
        """Take one more; None if it cannot."""
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
        """What it is called in the names of faults: its first record's item."""
        return self.records[0][0][-4:].decode()


class Producer:
    """Sends one batch of a partition after the other; some are written twice, as real ones are."""

    def __init__(self, net: Net, options: dict[str, Any]) -> None:
        self._net = net
        self._loop = net.loop
        self._request_timeout = options["request_timeout_ms"] / 1000
        self._size = options["max_batch_size"]
        self.client = _Client(net)
        self._sender = SimpleNamespace(sender_task=net.loop.create_future(), close=self._close)
        self._message_accumulator = SimpleNamespace(fail_all=self._fail_all)
        self._open: dict[asyncio.Future[Any], Batch] = {}
        self._waiting: dict[int, list[Batch]] = {}
        self._under_way: dict[int, Batch] = {}
        self._fates: dict[bytes, float] = {}

    async def start(self) -> None:
        await self._net.ask(lambda: self.client.cluster.update(self._net.cluster))

    async def partitions_for(self, topic: str) -> set[int]:
        return self.client.cluster.partitions_for_topic(topic) or set()

    async def stop(self) -> None:
        if self._open:
            await asyncio.wait(tuple(self._open))
        self.leave()

    async def _close(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Send nothing any more."""
        if self in self._net.producers:
            self._net.producers.remove(self)
        if not self._sender.sender_task.done():
            self._sender.sender_task.set_result(None)

    def unsettled(self) -> set[bytes]:
        """The requests that were handed over and of which the service was told nothing yet."""
        return {value for batch in self._open.values() for _, value, _ in batch.records}

    def die(self) -> None:
        """The background task ends with an error; what is under way is lost to us."""
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
            future.exception()  # whoever handed it over may not wait any more

    def _report(self, batch: Batch, error: Exception | None) -> None:
        """Have it noted when the service is told what became of its requests."""
        in_parts = isinstance(error, MessageSizeTooLargeError) and len(batch.records) > 1
        if self._net.settled is not None and not self._net.cut and not in_parts:
            self._net.settled([value for _, value, _ in batch.records], error)

    # ---------------------------------------------------------------------------- batches

    def create_batch(self) -> Batch:
        return Batch(self._size)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        if (dice := self._net.faults.strikes(Fault.SLOW_HAND_OVER, batch.name)) is not None:
            await asyncio.sleep(dice.uniform(0.05, 3.0))
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
        if not waiting or partition in self._under_way:
            return
        batch = self._under_way[partition] = waiting.pop(0)
        batch.closed = True
        self._loop.happen(self._net.cluster.delay(), self._arrive, batch)

    def _arrive(self, batch: Batch) -> None:
        cluster, name = self._net.cluster, batch.name
        assert batch.future is not None
        if batch.future.done() or self._net.cut:
            self._settle(batch, None)
            return
        if cluster.state is not Broker.UP or not cluster.topics[batch.topic][batch.partition].led:
            if self._loop.time() >= batch.expires:
                self._settle(batch, KafkaTimeoutError())
            else:
                self._loop.happen(_RETRY, self._arrive, batch)
            return
        strikes = self._net.faults.strikes
        if self._struck_one(batch):
            return
        if strikes(Fault.ACK_FAILED, name) is not None:
            self._net.journal.write(
                "Kafka", "publisher", f"! refuses {len(batch.records)} requests"
            )
            self._answer(0.0, batch, TopicAuthorizationFailedError())
            return
        if len(batch.records) > 1 and strikes(Fault.BATCH_TOO_LARGE, name) is not None:
            self._net.journal.write(
                "Kafka", "publisher", f"! takes no batch of {len(batch.records)} requests"
            )
            self._answer(0.0, batch, MessageSizeTooLargeError())
            return
        for key, value, headers in batch.records:
            cluster.append(batch.topic, batch.partition, key, value, headers)
        if (dice := strikes(Fault.ACK_FAILED_WRITTEN, name)) is not None:
            self._answer(dice.uniform(0.0, 2.0), batch, RequestTimedOutError())
        elif (dice := strikes(Fault.ACK_LOST, name)) is not None:
            # The client tries again: the records are there twice.
            self._loop.happen(dice.uniform(0.05, 0.5), self._arrive, batch)
        elif (dice := strikes(Fault.ACK_DELAYED, name)) is not None:
            self._answer(dice.uniform(0.3, 4.0), batch, None)
        elif (dice := strikes(Fault.ACK_AFTER_EVENT, name)) is not None:
            self._answer(dice.uniform(0.05, 0.3), batch, None)
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
                self._net.journal.write("Kafka", "publisher", f"! refuses one of {batch.name}")
                self._answer(0.0, batch, TopicAuthorizationFailedError())
                return True
            (key, value, headers), *_ = batch.records
            self._net.cluster.append(batch.topic, batch.partition, key, value, headers)
            self._answer(0.0 if self._net.faults.over else seconds, batch, None)
            return True
        if len(batch.records) < 2:
            return False
        dice = self._net.faults.strikes(Fault.ONE_REFUSED, batch.name)
        if dice is None and self._fates.keys().isdisjoint(values):
            return False
        if dice is not None:
            # One after the other, as a partition's batches are sent: together so long.
            seconds = dice.uniform(0.4, 4.0) / (len(values) - 1)
            self._fates |= dict.fromkeys(values, seconds)
            self._fates[values[0] if dice.random() < 0.6 else dice.choice(values)] = 0.0
        self._answer(0.0, batch, MessageSizeTooLargeError())
        return True

    def _answer(self, extra: float, batch: Batch, error: Exception | None) -> None:
        self._loop.happen(self._net.cluster.delay() + extra, self._settle, batch, error)

    def _settle(self, batch: Batch, error: Exception | None) -> None:
        assert batch.future is not None
        self._resolve(batch.future, error)
        self._under_way.pop(batch.partition, None)
        if self._waiting.get(batch.partition):
            self._loop.call_soon(self._send_next, batch.partition)


class Admin:
    """Lists topics, makes them, and describes their settings."""

    def __init__(self, net: Net) -> None:
        self._net = net

    async def start(self) -> None:
        await self._net.ask(lambda: None)

    async def list_topics(self) -> list[str]:
        topics: list[str] = await self._net.ask(lambda: list(self._net.cluster.topics))
        return topics

    async def create_topics(self, wanted: list[Any]) -> Any:
        def create() -> Any:
            for topic in wanted:
                if topic.name not in self._net.cluster.topics:
                    self._net.cluster.create(topic.name, topic.num_partitions)
            return SimpleNamespace(topic_errors=[(topic.name, 0, None) for topic in wanted])

        return await self._net.ask(create)

    async def describe_configs(
        self, resources: list[Any], include_synonyms: bool = False
    ) -> list[Any]:
        def describe(resource: Any) -> tuple[int, str | None, int, str, list[Any]]:
            settings = self._net.cluster.settings.get(resource.name)
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

        await asyncio.sleep(self._net.cluster.settings_delay)
        answers: list[Any] = await self._net.ask(answer)
        return answers

    async def close(self) -> None:
        pass
