"""Publishes delete requests, within the takedown's own deadline.

Theory of operation
-------------------
A record that was handed over to aiokafka cannot be called back: it is in a batch that is sent
when the leader can be reached, for as long as the client's request timeout lasts. So the line is
drawn at the hand-over. Before it, we make sure that there is a live connection to the leader of
the item's partition, within a bound of our own; if not, nothing was handed over, and the caller
can be told so (503). After it, whatever fails is "unknown" (502 or 504).

The producer is looked after by `run`: it is made anew when its background task has died or when
it stays silent while a fresh client gets through, and `working` says whether Kafka answered its
last question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from bus.backoff import Backoff
from bus.codec import encode, headers_of_request, item_key, request_for
from bus.quirks import Cause, hearing, sender_of, stop_producer
from errors import KafkaUnavailable
from messages import PublishFailed, RequestsPublished

if TYPE_CHECKING:
    from bus.connection import Connection
    from messages import Container, Takedown

logger = logging.getLogger("takedown.kafka")

Tell = Callable[[Any], object]

_MARGIN = 0.25
"""Seconds before the deadline by which the hand-over is given up, so that 503 can be said."""


@dataclass(frozen=True, slots=True)
class PublisherStatistics:
    """What the publisher has done.

    Attributes:
        working: Kafka answered the producer's last question.
        in_flight: takedowns whose requests are not all acknowledged or lost.
        published: requests that Kafka acknowledged.
        failed: requests that it did not.
        producers: how many producers were made.
        last_error: the last thing that went wrong; empty if nothing.
    """

    working: bool
    in_flight: int
    published: int
    failed: int
    producers: int
    last_error: str


class KafkaPublisher:
    """Publishes to `item_reported`.

    Args:
        connection: how Kafka is reached.
        topic: where the requests go.
        prepare: makes sure that the topics exist; run whenever Kafka (again) answers.
        hand_over_timeout: seconds within which the records of a takedown must be handed over.
        watch_interval: seconds between two questions to Kafka.
        watch_timeout: seconds after which Kafka counts as away.
        utc_now: the wall clock, a label for `reportedAt`.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        topic: str,
        prepare: Callable[[], Awaitable[object]],
        hand_over_timeout: float = 2.0,
        watch_interval: float = 1.0,
        watch_timeout: float = 3.0,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._prepare = prepare
        self._hand_over_timeout = hand_over_timeout
        self._watch_interval = watch_interval
        self._watch_timeout = watch_timeout
        self._utc_now = utc_now
        self._partitioner = DefaultPartitioner()
        self._producer: AIOKafkaProducer | None = None
        self._working = False
        self._cause = Cause()
        self._tasks: set[asyncio.Task[None]] = set()
        self._published = 0
        self._failed = 0
        self._producers = 0
        self._last_error = ""

    @property
    def working(self) -> bool:
        """Whether Kafka answered the producer's last question."""
        return self._working

    @property
    def last_error(self) -> str:
        """The last thing that went wrong; empty if nothing."""
        return self._last_error

    def statistics(self) -> PublisherStatistics:
        """What it has done."""
        return PublisherStatistics(
            working=self._working,
            in_flight=len(self._tasks),
            published=self._published,
            failed=self._failed,
            producers=self._producers,
            last_error=self._last_error,
        )

    # ---------------------------------------------------------------------- publishing

    def publish(
        self, takedown: Takedown, containers: tuple[Container, ...], tell: Tell
    ) -> KafkaPublication:
        """Publish one request for each container; tells the result once all are settled."""
        publication = KafkaPublication(self, takedown, containers, tell)
        task = asyncio.get_running_loop().create_task(publication.run())
        publication.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return publication

    async def producer_for(self, takedown: Takedown) -> tuple[AIOKafkaProducer, int]:
        """A producer with a live connection to the item's leader, and the item's partition.

        Raises:
            KafkaUnavailable: there is none.
        """
        producer = self._producer
        if producer is None:
            raise KafkaUnavailable(self._last_error or "not connected to Kafka yet")
        # Known since it was started, unless the topic is gone: aiokafka would wait for it.
        partitions = sorted(producer.client.cluster.partitions_for_topic(self._topic) or ())
        if not partitions:
            raise KafkaUnavailable(self._topic_trouble(producer))
        partition = self._partitioner(item_key(takedown.item_id), partitions, partitions)
        where = TopicPartition(self._topic, partition)
        leader = producer.client.cluster.leader_for_partition(where)
        if leader is None or leader == -1:
            producer.client.force_metadata_update()
            raise KafkaUnavailable(f"{self._topic}[{partition}] has no leader")
        # Connects if there is no connection; costs nothing if there is one.
        if not await producer.client.ready(leader):
            raise KafkaUnavailable(self._cause.instead_of(f"broker {leader} refuses connections"))
        return producer, partition

    def time_to_hand_over(self, deadline: float, now: float) -> float:
        """The loop's time by which a takedown's records must be handed over."""
        left = deadline - now
        return now + min(self._hand_over_timeout, max(left - _MARGIN, left / 2))

    def settled(self, *, published: int, failed: int, cause: str) -> None:
        """Count what became of a takedown's requests."""
        self._published += published
        self._failed += failed
        if cause:
            self._last_error = cause

    def requests(
        self, takedown: Takedown, containers: tuple[Container, ...]
    ) -> list[tuple[Container, bytes]]:
        """The values of the records, in the order of the containers."""
        now = self._utc_now()
        return [(c, encode(request_for(takedown, c, now))) for c in containers]

    @property
    def topic(self) -> str:
        """Where the requests go."""
        return self._topic

    # ------------------------------------------------------------------ looking after

    async def run(self) -> None:
        """Keep a producer that works, until cancelled."""
        backoff = Backoff()
        while True:
            try:
                await self._prepare()
                await self._with_producer(backoff)
            except (KafkaError, KafkaUnavailable, OSError, TimeoutError) as error:
                self._note(str(error) or "Kafka does not answer")
            except Exception as error:
                self._note(f"defect: {error!r}")
                logger.exception("Defect while looking after the producer")
            await backoff.sleep()

    async def _with_producer(self, backoff: Backoff) -> None:
        options = self._connection.client_options("producer")
        producer = AIOKafkaProducer(**options, acks="all", linger_ms=0)
        try:
            with hearing() as self._cause:
                async with asyncio.timeout(self._connection.request_timeout):
                    await producer.start()
                    await producer.partitions_for(self._topic)
            self._producers += 1
            self._producer = producer
            self._working = True
            logger.info("The producer is connected")
            backoff.reset()
            await self._watch(producer)
        finally:
            self._working = False
            self._producer = None
            await stop_producer(producer, within=self._watch_timeout)

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Returns when the producer has to be replaced."""
        while True:
            await asyncio.sleep(self._watch_interval)
            sender = sender_of(producer)
            if sender.done():
                error = None if sender.cancelled() else sender.exception()
                self._note(f"the producer's background task has died: {error!r}")
                return
            if await self._answers(producer):
                trouble = self._topic_trouble(producer)
                if trouble:
                    self._note(trouble)
                    self._working = False
                    await self._prepare()
                elif not self._working:
                    # It may have come back empty.
                    await self._prepare()
                    self._working = True
                    logger.info("Kafka answers the producer again")
                continue
            self._note(self._cause.instead_of("Kafka does not answer the producer"))
            self._working = False
            if await self._fresh_client_gets_through() and not await self._answers(producer):
                self._note("the producer stays silent while Kafka is there: it is replaced")
                return

    async def _answers(self, producer: AIOKafkaProducer) -> bool:
        self._cause.text = ""  # what was wrong before says nothing about now
        try:
            async with asyncio.timeout(self._watch_timeout):
                # Twice: a connection that was reset is found out by the first, and made anew.
                return bool(
                    await producer.client.force_metadata_update()
                    or await producer.client.force_metadata_update()
                )
        except (KafkaError, OSError, TimeoutError):
            return False

    def _topic_trouble(self, producer: AIOKafkaProducer) -> str:
        """What is wrong with the topic by what Kafka last said of it; empty if nothing."""
        cluster = producer.client.cluster
        if self._topic in cluster.unauthorized_topics:
            return f"we are not allowed to see the topic {self._topic}"
        if not cluster.partitions_for_topic(self._topic):
            return f"the topic {self._topic} does not exist"
        return ""

    async def _fresh_client_gets_through(self) -> bool:
        try:
            await self._prepare()
        except KafkaUnavailable:
            return False
        return True

    def _note(self, error: str) -> None:
        if error != self._last_error or self._working:
            logger.warning("Publishing is interrupted: %s", error)
        self._last_error = error

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is in flight, at most `timeout` seconds; whether that was so."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout)
        return not self._tasks


class KafkaPublication:
    """The requests of one takedown on their way."""

    __slots__ = ("_containers", "_handed_over", "_publisher", "_stopped", "_takedown", "_tell",
                 "task")  # fmt: skip

    def __init__(
        self,
        publisher: KafkaPublisher,
        takedown: Takedown,
        containers: tuple[Container, ...],
        tell: Tell,
    ) -> None:
        self._publisher = publisher
        self._takedown = takedown
        self._containers = containers
        self._tell = tell
        self._stopped = False
        self._handed_over: list[tuple[Container, asyncio.Future[Any]]] = []
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Hand nothing more over, and tell nothing."""
        self._stopped = True
        everything = len(self._handed_over) == len(self._containers)
        if self.task is not None and not everything:
            self.task.cancel()

    async def run(self) -> None:
        """Hand over, wait for the acknowledgements, tell."""
        cause = ""
        try:
            await self._hand_over()
        except TimeoutError:
            cause = "Kafka did not take the requests in time"
        except (KafkaError, KafkaUnavailable, OSError) as error:
            cause = str(error) or type(error).__name__
        except Exception as error:
            logger.exception("Defect while publishing")
            cause = f"defect: {error!r}"
        finally:
            if self._stopped:
                for _, future in self._handed_over:
                    future.add_done_callback(_retrieve)
        results = await asyncio.gather(
            *(future for _, future in self._handed_over), return_exceptions=True
        )
        published = []
        for (container, _), result in zip(self._handed_over, results, strict=True):
            if isinstance(result, BaseException):
                cause = cause or str(result) or type(result).__name__
            else:
                published.append(container)
        self._report(tuple(published), cause)

    async def _hand_over(self) -> None:
        publisher, takedown = self._publisher, self._takedown
        now = asyncio.get_running_loop().time()
        key = item_key(takedown.item_id)
        headers = headers_of_request(takedown.takedown_id, takedown.traceparent)
        async with asyncio.timeout_at(publisher.time_to_hand_over(takedown.deadline, now)):
            producer, partition = await publisher.producer_for(takedown)
            for container, value in publisher.requests(takedown, self._containers):
                future = await producer.send(
                    publisher.topic, value, key=key, partition=partition, headers=headers
                )
                self._handed_over.append((container, future))

    def _report(self, published: tuple[Container, ...], cause: str) -> None:
        unpublished = tuple(c for c in self._containers if c not in published)
        self._publisher.settled(published=len(published), failed=len(unpublished), cause=cause)
        if self._stopped:
            return
        takedown_id = self._takedown.takedown_id
        if not unpublished:
            self._tell(RequestsPublished(takedown_id))
        else:
            self._tell(
                PublishFailed(
                    takedown_id=takedown_id,
                    cause=cause,
                    handed_over=bool(self._handed_over),
                    published=published,
                    unpublished=unpublished,
                )
            )


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Look at a result that nobody waits for, so that asyncio does not complain."""
    if not future.cancelled():
        future.exception()
