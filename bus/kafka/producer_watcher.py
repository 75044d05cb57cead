"""Watches one producer after the other: whether Kafka answers it, and whether it must be replaced.

Once a second the producer requests metadata. It must be replaced when its background task has died,
or when it gets no answer while a fresh client does. A refused request causes the next check at
once.

The same answer shows whether the topic still exists. A topic that was deleted is created again at
once; aiokafka, which sends again for as long as its request timeout lasts, then sends the records
that wait to the new topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from bus.kafka.aiokafka_fixes import sender_of
from bus.kafka.outbox import topic_trouble
from bus.kafka.overload import HELD_UP, is_held_up
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiokafka import AIOKafkaProducer, TopicPartition

    from bus.kafka.aiokafka_fixes import Cause
    from bus.kafka.outbox import Outbox
    from bus.kafka.throttle import Throttle

logger = logging.getLogger("takedown.kafka")

_SOON = 0.1
"""Seconds until the next check after a topic was created again, or Kafka was found to be away."""

_OVERLOADED = 5
"""Requests without an answer, while our own loop is overloaded, until Kafka counts as away."""


class ProducerWatcher:
    """Watches the producers of one publisher.

    Args:
        topic: where they send requests.
        prepare: makes sure that the topics exist, with a client of its own.
        throttle: what brokers have announced.
        interval: seconds between two checks.
        timeout: seconds after which Kafka counts as away.

    Attributes:
        working: Kafka answered the producer's last request for metadata.
        last_error: the last thing that went wrong; empty if nothing.
    """

    def __init__(
        self,
        topic: str,
        prepare: Callable[[], Awaitable[object]],
        throttle: Throttle,
        *,
        interval: float,
        timeout: float,
    ) -> None:
        self.working = False
        self.last_error = ""
        self._topic = topic
        self._prepare = prepare
        self._throttle = throttle
        self._interval = interval
        self._timeout = timeout
        self._check_now = asyncio.Event()

    def note(self, error: str) -> None:
        """This went wrong; it is logged once, until something else goes wrong."""
        if error != self.last_error or self.working:
            logger.warning("Publishing is interrupted: %s", error)
        self.last_error = error

    def interrupted(self, error: str) -> None:
        """This went wrong: the producer does not work, and is checked at once."""
        self.note(error)
        self.working = False
        self._check_now.set()

    def refused(self, tp: TopicPartition, error: type[KafkaError]) -> None:
        """A broker has refused a request of the producer."""
        if error is UnknownTopicOrPartitionError:
            self.interrupted(f"{tp.topic}[{tp.partition}] is not known to its broker any more")

    async def run(self, producer: AIOKafkaProducer, outbox: Outbox, cause: Cause) -> None:
        """Watch this producer; returns when it must be replaced.

        Args:
            producer: started.
            outbox: its batches.
            cause: why a broker cannot be used, where that is known.

        Raises:
            KafkaUnavailable: the topic does not exist and cannot be created.
        """
        wait, before = self._interval, ""
        while True:
            self._check_now.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._check_now.wait()
            sender = sender_of(producer)
            if sender.done():
                error = None if sender.cancelled() else sender.exception()
                self.note(f"the producer's background task has died: {error!r}")
                return
            if await self._answers(producer, cause) or self._is_acknowledged(outbox):
                trouble = topic_trouble(producer, self._topic)
                # Once: what `prepare` does not fix is checked no more often than ever.
                wait = _SOON if trouble and not before else self._interval
                before = trouble
                await self._answered(trouble)
                continue
            if (throttled := self._throttle.why()) is not None:
                self.note(throttled)  # a fresh client would be throttled, too
                self.working = False
                continue
            self.note(cause.instead_of("Kafka does not answer the producer"))
            self.working = False
            # Soon at first: takedowns that wait for Kafka wait for this check.
            wait = min(self._interval, _SOON if wait == self._interval else 1.3 * wait)
            if await self._fresh_client_gets_through() and not await self._answers(producer, cause):
                self.note("the producer stays silent while Kafka is there: it is replaced")
                return

    async def _answered(self, trouble: str) -> None:
        """Kafka is there; `trouble` is what is wrong with the topic."""
        if trouble:
            self.note(trouble)
            self.working = False
            await self._prepare()
        elif not self.working:
            await self._prepare()  # Kafka may have come back empty
            self.working = True
            logger.info("Kafka answers the producer again")

    async def _answers(self, producer: AIOKafkaProducer, cause: Cause) -> bool:
        cause.text = ""  # what was wrong before says nothing about now
        loop = asyncio.get_running_loop()
        for _ in range(_OVERLOADED):
            timeout = asyncio.timeout(self._timeout)
            try:
                async with timeout:
                    # Twice: the first request finds a connection that was reset, and opens a new
                    # one.
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
                # This process did not get to read the answer, which may be here.
        return False

    def _is_acknowledged(self, outbox: Outbox) -> bool:
        """Whether Kafka acknowledged requests lately: then it is there, however slow we are."""
        return asyncio.get_running_loop().time() - outbox.moved_at < self._timeout

    async def _fresh_client_gets_through(self) -> bool:
        try:
            await self._prepare()
        except KafkaUnavailable:
            return False
        return True
