"""Publishes delete requests, within the takedown's own deadline.

Theory of operation
-------------------
A record that was handed over to aiokafka cannot be called back: it is in a batch that is sent
when the leader can be reached, for as long as the client's request timeout lasts. So the line is
drawn at the hand-over. Before it, we make sure that there is a live connection to the leader of
the item's partition, within a bound of our own; if not, nothing was handed over, and the caller
can be told so (503). After it, whatever fails is "unknown" (502 or 504). While Kafka is away for a
moment, requests wait before the hand-over (`wait_for_kafka`).

The requests for many containers are encoded and handed over in slices, between which others on
the loop have their turn.

The producer is looked after by `run`: it is made anew when its background task has died or when
it stays silent while a fresh client gets through, and `working` says whether Kafka answered its
last question.

A topic that was deleted is noticed by a look, once a second, or by the first takedown that Kafka
refuses for it. It is made again at once then, and aiokafka, which tries again for as long as the
request timeout lasts, sends that takedown's records to the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from bus.kafka.aiokafka_fixes import Cause, hear_refusals, hearing, sender_of, stop_producer
from bus.kafka.batch_size import BATCH_BYTES, BatchSize
from bus.kafka.codec import encode, request_for
from bus.kafka.outbox import HELD_UP, Outbox, Request, check_size, is_held_up, topic_trouble
from bus.kafka.publication import KafkaPublication, Tell, trouble_of
from bus.kafka.throttle import Throttle
from domain.backoff import A_MOMENT, Backoff
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiokafka import AIOKafkaProducer, TopicPartition

    from bus.kafka.connection import Connection
    from bus.kafka.topic_settings import TopicSettings
    from domain.messages import Container, Takedown

logger = logging.getLogger("takedown.kafka")

_MARGIN = 0.25
"""Seconds before the deadline by which the hand-over is given up, so that 503 can be said."""

_SOON = 0.1
"""Seconds after a topic was made again, or Kafka was found to be away, at which we look again."""

_OVERLOADED = 5
"""Questions without an answer, while our own loop is overloaded, until Kafka counts as away."""

_LOG_EVERY = 1.0
"""Seconds between two lines in the log about requests that were not acknowledged, at least."""

_SLICE = 500
"""Requests that are encoded or handed over at once: about 5 ms of the loop."""


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
        wait_for_kafka: seconds for which they wait if Kafka refuses connections or is not
            connected yet; the deadline and `hand_over_timeout` end that earlier.
        read_settings: has the settings of the topics read; `topic_settings` receives them.
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
        self._watch_interval = watch_interval
        self._watch_timeout = watch_timeout
        self._utc_now = utc_now
        self._producer: AIOKafkaProducer | None = None
        self._outbox: Outbox | None = None
        self._working = False
        self._look_now = asyncio.Event()
        self._connected = asyncio.Event()
        self._turn = asyncio.Lock()
        self._throttle = Throttle(f"Publishing to {topic}")
        self._cause = Cause()
        self._batches: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._published = 0
        self._failed = 0
        self._producers = 0
        self._last_error = ""
        self._logged_at = -math.inf

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
            in_flight=self._in_flight,
            published=self._published,
            failed=self._failed,
            producers=self._producers,
            last_error=self._last_error,
        )

    # ---------------------------------------------------------------------- publishing

    def publish(
        self, takedown: Takedown, containers: tuple[Container, ...], tell: Tell
    ) -> KafkaPublication:
        """Publish one request for each container; tells the result (`KafkaPublication`)."""
        publication = KafkaPublication(takedown, containers, tell, self._settled)
        self._in_flight += 1
        if len(containers) > _SLICE or (self._outbox is None and self._wait_for_kafka):
            task = asyncio.get_running_loop().create_task(self._publish(publication, containers))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            return publication
        try:
            requests = self._requests(takedown, containers, self._utc_now())
            self._hand_over(publication, requests)
        except Exception as error:  # noqa: BLE001 - told to the takedown
            self._not_handed_over(publication, containers, error)
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
            # All of them before the first is handed over: one that is too large holds all back.
            for first in range(0, len(containers), _SLICE):
                async with self._turn_of(publication):
                    part = self._requests(takedown, containers[first : first + _SLICE], now)
                    check_size(part)
                    requests += part
            for first in range(0, len(containers), _SLICE):
                left = containers[first:]
                async with self._turn_of(publication):
                    self._hand_over(publication, requests[first : first + _SLICE])
            left = ()
        except Exception as error:  # noqa: BLE001 - told to the takedown
            self._not_handed_over(publication, left, error)

    @contextlib.asynccontextmanager
    async def _turn_of(self, publication: KafkaPublication) -> AsyncIterator[None]:
        """One slice in each turn of the loop, of all takedowns together."""
        async with self._turn:
            if publication.stopped:
                raise KafkaUnavailable("nobody waits for it any more")
            yield
            await asyncio.sleep(0)

    def _not_handed_over(
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

    def _hand_over(self, publication: KafkaPublication, requests: list[Request]) -> None:
        if self._outbox is None:
            raise KafkaUnavailable(self._last_error or "not connected to Kafka yet")
        takedown = publication.takedown
        by = self._time_to_hand_over(takedown.deadline)
        self._outbox.add(publication, requests, by, self._wait_until(takedown))

    def _time_to_hand_over(self, deadline: float) -> float:
        now = asyncio.get_running_loop().time()
        left = deadline - now
        return now + min(self._hand_over_timeout, max(left - _MARGIN, left / 2))

    def _wait_until(self, takedown: Takedown) -> float:
        """The loop's time until which its requests wait for a Kafka that is away."""
        now = asyncio.get_running_loop().time()
        until = takedown.accepted_at + self._wait_for_kafka
        if until <= now:  # containers that a newer list has added: the takedown is older than that
            until = now + self._wait_for_kafka
        return min(until, self._time_to_hand_over(takedown.deadline))

    def _settled(self, published: int, failed: int, cause: str) -> None:
        self._in_flight -= 1
        self._published += published
        self._failed += failed
        if cause and self._working:  # otherwise it is known better why not
            now = asyncio.get_running_loop().time()
            if cause != self._last_error and now - self._logged_at >= _LOG_EVERY:
                self._logged_at = now
                logger.warning("Delete requests were not acknowledged: %s", cause)
            self._last_error = cause

    def topic_settings(self, settings: TopicSettings) -> None:
        """The topic's settings were read."""
        self._size.limit_is(settings.max_message_bytes)

    # ------------------------------------------------------------------ looking after

    async def run(self) -> None:
        """Keep a producer that works, until cancelled."""
        backoff = Backoff(quick_for=A_MOMENT)
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
        producer = self._connection.clients.producer(
            **options, acks="all", max_batch_size=BATCH_BYTES
        )
        try:
            with hearing() as self._cause:
                async with asyncio.timeout(self._connection.request_timeout):
                    await producer.start()
                    await producer.partitions_for(self._topic)
            self._throttle.attach(producer.client)
            hear_refusals(producer.client, self._on_refusal)
            self._producers += 1
            self._producer = producer
            self._outbox = Outbox(
                producer,
                self._topic,
                cause=self._cause,
                topic_is_gone=self._interrupted,
                tasks=self._batches,
                patience=self._hand_over_timeout,
                size=self._size,
            )
            self._connected.set()
            self._working = True
            logger.info("The producer is connected")
            backoff.reset()
            await self._watch(producer)
        finally:
            self._working = False
            self._connected.clear()
            if self._outbox is not None:
                self._outbox.close()
            self._producer = self._outbox = None
            await stop_producer(producer, within=self._watch_timeout)

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Returns when the producer has to be replaced."""
        wait, before = self._watch_interval, ""
        while True:
            self._look_now.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._look_now.wait()
            sender = sender_of(producer)
            if sender.done():
                error = None if sender.cancelled() else sender.exception()
                self._note(f"the producer's background task has died: {error!r}")
                return
            if await self._answers(producer) or self._is_acknowledged():
                trouble = topic_trouble(producer, self._topic)
                # Once: what `prepare` does not mend is looked at no more often than ever.
                wait = _SOON if trouble and not before else self._watch_interval
                before = trouble
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
            if (throttled := self._throttle.why()) is not None:
                self._note(throttled)  # a fresh client would be throttled, too
                self._working = False
                continue
            self._note(self._cause.instead_of("Kafka does not answer the producer"))
            self._working = False
            # Soon at first: whoever waits for Kafka waits for this look.
            wait = min(self._watch_interval, _SOON if wait == self._watch_interval else 1.3 * wait)
            if await self._fresh_client_gets_through() and not await self._answers(producer):
                self._note("the producer stays silent while Kafka is there: it is replaced")
                return

    async def _answers(self, producer: AIOKafkaProducer) -> bool:
        self._cause.text = ""  # what was wrong before says nothing about now
        loop = asyncio.get_running_loop()
        for _ in range(_OVERLOADED):
            timeout = asyncio.timeout(self._watch_timeout)
            try:
                async with timeout:
                    # Twice: a reset connection is found out by the first, and made anew.
                    return bool(
                        await producer.client.force_metadata_update()
                        or await producer.client.force_metadata_update()
                    )
            except (KafkaError, OSError):
                return False
            except TimeoutError:
                due = timeout.when()
                late = due is not None and loop.time() - due > HELD_UP
                if not late and not await is_held_up():
                    return False
                # We did not come to read the answer, which may be here.
        return False

    def _is_acknowledged(self) -> bool:
        """Whether Kafka acknowledged requests lately: then it is there, however slow we are."""
        now = asyncio.get_running_loop().time()
        return self._outbox is not None and now - self._outbox.moved_at < self._watch_timeout

    async def _fresh_client_gets_through(self) -> bool:
        try:
            await self._prepare()
        except KafkaUnavailable:
            return False
        return True

    def _on_refusal(self, tp: TopicPartition, error: type[KafkaError]) -> None:
        if error is UnknownTopicOrPartitionError:
            self._interrupted(f"{tp.topic}[{tp.partition}] is not known to its broker any more")

    def _interrupted(self, error: str) -> None:
        """It is known at once, and looked into at once."""
        self._note(error)
        self._working = False
        self._look_now.set()

    def _note(self, error: str) -> None:
        if error != self._last_error or self._working:
            logger.warning("Publishing is interrupted: %s", error)
        self._last_error = error

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is in flight, at most `timeout` seconds; whether that was so."""
        if self._batches:
            await asyncio.wait(tuple(self._batches), timeout=timeout)
        return not self._batches
