"""Publishes delete requests, within the takedown's own deadline.

Theory of operation
-------------------
A record that aiokafka has cannot be called back: it is in a batch that is sent when the leader can
be reached, for as long as the client's request timeout lasts. So what matters is when a record is
enqueued there. Before that, the outbox makes sure, within a bound of its own, that there is a live
connection to the leader of the item's partition; if not, nothing was sent, and the answer can say
so (503). Afterwards every failure is "unknown" (502 or 504). While Kafka is away for a moment,
requests wait before they are enqueued (`wait_for_kafka`).

The requests for many containers are encoded and enqueued in slices, between which other tasks of
the event loop run.

`run` maintains the producer: `bus.kafka.producer_watcher` finds out when it must be replaced, and
`working` reports whether Kafka answered its last request for metadata.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from bus.kafka.aiokafka_fixes import hear_refusals, hearing, stop_producer
from bus.kafka.batch_size import BATCH_BYTES, BatchSize
from bus.kafka.codec import encode, request_for
from bus.kafka.outbox import Outbox
from bus.kafka.producer_watcher import ProducerWatcher
from bus.kafka.publication import KafkaPublication, Tell, trouble_of
from bus.kafka.request_batch import Request, check_size
from bus.kafka.throttle import Throttle
from domain.backoff import A_MOMENT, Backoff
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bus.kafka.connection import Connection
    from bus.kafka.topic_settings import TopicSettings
    from domain.messages import Container, Takedown

logger = logging.getLogger("takedown.kafka")

_MARGIN = 0.25
"""Seconds before the deadline at which enqueueing is given up, so that 503 can be answered."""

_LOG_EVERY = 1.0
"""Seconds between two log lines about requests that were not acknowledged, at least."""

SLICE = 500
"""Requests that are encoded or enqueued at once: about 5 ms of the loop."""


@dataclass(frozen=True, slots=True)
class PublisherStatistics:
    """What the publisher has done.

    Attributes:
        working: Kafka answered the producer's last request for metadata.
        in_flight: takedowns whose requests are not all acknowledged or failed.
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
        prepare: makes sure that the topics exist; called whenever Kafka answers (again).
        hand_over_timeout: seconds within which the records of a takedown must be enqueued.
        wait_for_kafka: seconds for which they wait if Kafka refuses connections or is not
            connected yet; the deadline and `hand_over_timeout` end that earlier.
        read_settings: causes the topics' settings to be read; `topic_settings` receives them.
        watch_interval: seconds between two requests for metadata.
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
        wait_for_kafka: float = 0.0,
        read_settings: Callable[[], object] = lambda: None,
        watch_interval: float = 1.0,
        watch_timeout: float = 3.0,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._prepare = prepare
        self._hand_over_timeout = max(hand_over_timeout, wait_for_kafka)
        self._wait_for_kafka = wait_for_kafka
        self._size = BatchSize(topic, read_settings=read_settings)
        self._watch_timeout = watch_timeout
        self._utc_now = utc_now
        self._outbox: Outbox | None = None
        self._connected = asyncio.Event()
        self._turn = asyncio.Lock()
        self._throttle = Throttle(f"Publishing to {topic}")
        self._watcher = ProducerWatcher(
            topic, prepare, self._throttle, interval=watch_interval, timeout=watch_timeout
        )
        self._batches: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._published = 0
        self._failed = 0
        self._producers = 0
        self._logged_at = -math.inf

    @property
    def working(self) -> bool:
        """Whether Kafka answered the producer's last request for metadata."""
        return self._watcher.working

    @property
    def last_error(self) -> str:
        """The last thing that went wrong; empty if nothing."""
        return self._watcher.last_error

    def statistics(self) -> PublisherStatistics:
        """What it has done."""
        return PublisherStatistics(
            working=self._watcher.working,
            in_flight=self._in_flight,
            published=self._published,
            failed=self._failed,
            producers=self._producers,
            last_error=self._watcher.last_error,
        )

    # ---------------------------------------------------------------------- publishing

    def publish(
        self, takedown: Takedown, containers: tuple[Container, ...], tell: Tell
    ) -> KafkaPublication:
        """Publish one request for each container and tell the result (see `KafkaPublication`)."""
        publication = KafkaPublication(takedown, containers, tell, self._settled)
        self._in_flight += 1
        if len(containers) > SLICE or (self._outbox is None and self._wait_for_kafka):
            task = asyncio.get_running_loop().create_task(self._publish(publication, containers))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            return publication
        try:
            requests = self._requests(takedown, containers, self._utc_now())
            self._enqueue(publication, requests)
        except Exception as error:  # noqa: BLE001 - told to the takedown
            self._not_enqueued(publication, containers, error)
        return publication

    async def _publish(
        self, publication: KafkaPublication, containers: tuple[Container, ...]
    ) -> None:
        """The same in slices, and once there is a connection."""
        takedown, now = publication.takedown, self._utc_now()
        left = containers
        try:
            if self._outbox is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._wait_until(takedown)):
                        await self._connected.wait()
            requests: list[Request] = []
            # All of them before the first is enqueued: one that is too large holds all back.
            for first in range(0, len(containers), SLICE):
                async with self._turn_of(publication):
                    part = self._requests(takedown, containers[first : first + SLICE], now)
                    check_size(part)
                    requests += part
            for first in range(0, len(containers), SLICE):
                left = containers[first:]
                async with self._turn_of(publication):
                    self._enqueue(publication, requests[first : first + SLICE])
            left = ()
        except Exception as error:  # noqa: BLE001 - told to the takedown
            self._not_enqueued(publication, left, error)

    @contextlib.asynccontextmanager
    async def _turn_of(self, publication: KafkaPublication) -> AsyncIterator[None]:
        """One slice in each iteration of the event loop, of all takedowns together."""
        async with self._turn:
            if publication.stopped:
                raise KafkaUnavailable("no caller waits for it")
            yield
            await asyncio.sleep(0)

    def _not_enqueued(
        self, publication: KafkaPublication, containers: tuple[Container, ...], error: Exception
    ) -> None:
        if not isinstance(error, KafkaUnavailable):
            logger.error("Defect while publishing", exc_info=error)
        if containers:
            publication.failed(containers, trouble_of(error), handed_over=False)

    def _requests(
        self, takedown: Takedown, containers: tuple[Container, ...], now: datetime
    ) -> list[Request]:
        return [(c, encode(request_for(takedown, c, now))) for c in containers]

    def _enqueue(self, publication: KafkaPublication, requests: list[Request]) -> None:
        if self._outbox is None:
            raise KafkaUnavailable(self._watcher.last_error or "not connected to Kafka yet")
        takedown = publication.takedown
        by = self._time_to_enqueue(takedown.deadline)
        self._outbox.add(publication, requests, by, self._wait_until(takedown))

    def _time_to_enqueue(self, deadline: float) -> float:
        now = asyncio.get_running_loop().time()
        left = deadline - now
        return now + min(self._hand_over_timeout, max(left - _MARGIN, left / 2))

    def _wait_until(self, takedown: Takedown) -> float:
        """The loop's time until which its requests wait for a Kafka that is away."""
        now = asyncio.get_running_loop().time()
        until = takedown.accepted_at + self._wait_for_kafka
        if until <= now:  # containers that a newer list has added: the takedown is older than that
            until = now + self._wait_for_kafka
        return min(until, self._time_to_enqueue(takedown.deadline))

    def _settled(self, published: int, failed: int, cause: str) -> None:
        self._in_flight -= 1
        self._published += published
        self._failed += failed
        if cause and self._watcher.working:  # otherwise it is known better why not
            now = asyncio.get_running_loop().time()
            if cause != self._watcher.last_error and now - self._logged_at >= _LOG_EVERY:
                self._logged_at = now
                logger.warning("Delete requests were not acknowledged: %s", cause)
            self._watcher.last_error = cause

    def topic_settings(self, settings: TopicSettings) -> None:
        """The topic's settings were read."""
        self._size.limit_is(settings.max_message_bytes)

    # ---------------------------------------------------------------------- producers

    async def run(self) -> None:
        """Maintain a producer that works, until cancelled."""
        backoff = Backoff(quick_for=A_MOMENT)
        while True:
            try:
                await self._prepare()
                await self._with_producer(backoff)
            except (KafkaError, KafkaUnavailable, OSError, TimeoutError) as error:
                self._watcher.note(str(error) or "Kafka does not answer")
            except Exception as error:
                self._watcher.note(f"defect: {error!r}")
                logger.exception("Defect while watching the producer")
            await backoff.sleep()

    async def _with_producer(self, backoff: Backoff) -> None:
        options = self._connection.client_options("producer")
        producer = self._connection.clients.producer(
            **options, acks="all", max_batch_size=BATCH_BYTES
        )
        try:
            with hearing() as cause:
                async with asyncio.timeout(self._connection.request_timeout):
                    await producer.start()
                    await producer.partitions_for(self._topic)
            self._throttle.attach(producer.client)
            hear_refusals(producer.client, self._watcher.refused)
            self._producers += 1
            self._outbox = Outbox(
                producer,
                self._topic,
                cause=cause,
                topic_is_gone=self._watcher.interrupted,
                tasks=self._batches,
                patience=self._hand_over_timeout,
                size=self._size,
            )
            self._connected.set()
            self._watcher.working = True
            logger.info("The producer is connected")
            backoff.reset()
            await self._watcher.run(producer, self._outbox, cause)
        finally:
            self._watcher.working = False
            self._connected.clear()
            if self._outbox is not None:
                self._outbox.close()
            self._outbox = None
            await stop_producer(producer, within=self._watch_timeout)

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is in flight, at most `timeout` seconds; whether that was so."""
        if self._batches:
            await asyncio.wait(tuple(self._batches), timeout=timeout)
        return not self._batches
