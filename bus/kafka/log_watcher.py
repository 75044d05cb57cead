"""Watches one reader's log, once a second: how far it reaches, and that all fetches are answered.

An answer is the proof that the path to Kafka works. It costs almost nothing while nothing changes
(`bus.kafka.log_end`). A refused fetch causes the next check at once. The session ends if the broker
does not answer, if the log ends before a position, or if a partition's fetches stay unanswered: a
fetcher that is stuck does not report it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiokafka.errors import UnknownTopicOrPartitionError

from bus.kafka.consumers import beyond_the_log, numbers_of
from bus.kafka.fetch_monitor import Pulse
from bus.kafka.session_end import FetcherStuck, SessionFailed
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.errors import KafkaError

    from bus.kafka.availability import Availability
    from bus.kafka.consumers import TimeLimits
    from bus.kafka.known_log import KnownLog
    from bus.kafka.read_progress import ReadProgress
    from bus.kafka.record_fetcher import RecordFetcher
    from bus.kafka.throttle import Throttle

_BETWEEN_CHECKS = 0.05
"""Seconds between two checks at least, however often fetches are refused."""


class LogWatcher:
    """Watches the log of one reader.

    Args:
        known: the positions.
        progress: requests where the log ends, and learns it.
        fetcher: fetches from the log.
        throttle: what brokers have announced.
        availability: learns at once that the session has to end.
        on_missing: called when a broker does not know a partition any more.
        interval: seconds between two checks.
        limits: how long to wait for brokers.
    """

    def __init__(
        self,
        known: KnownLog,
        *,
        progress: ReadProgress,
        fetcher: RecordFetcher,
        throttle: Throttle,
        availability: Availability,
        on_missing: Callable[[], object],
        interval: float,
        limits: TimeLimits,
    ) -> None:
        self._known = known
        self._progress = progress
        self._fetcher = fetcher
        self._throttle = throttle
        self._availability = availability
        self._on_missing = on_missing
        self._interval = interval
        self._limits = limits
        self._check_now = asyncio.Event()
        self._end: Exception | None = None

    def begin(self) -> None:
        """A session begins."""
        self._end = None

    def end(self, error: Exception) -> None:
        """End the session with this error, at once."""
        self._end = error
        self._availability.interrupted(error)
        self._check_now.set()

    def refused(self, tp: TopicPartition, error: type[KafkaError]) -> None:
        """A broker has refused a fetch; aiokafka fetches again without reporting it."""
        # Before it is positioned nothing can be missed: brokers learn of a new topic one by one.
        if tp.topic != self._known.topic or not self._availability.positioned:
            return
        if error is UnknownTopicOrPartitionError:
            gone = f"{tp.topic}[{tp.partition}] is not known to its broker any more"
            self.end(SessionFailed(gone))
            self._on_missing()
        else:
            self._check_now.set()

    async def run(self, fetching: AIOKafkaConsumer) -> None:
        """Watch until cancelled, or until the session has to end.

        Raises:
            SessionFailed: the log cannot be read any more, or not to its end.
            LogChanged: it is not the log that was read.
        """
        known, progress = self._known, self._progress
        pulse = self._new_pulse()
        while True:
            await self._until_next_check()
            try:
                # In the quick way if nothing has changed, otherwise in the long one.
                async with asyncio.timeout(self._limits.answer):
                    progress.seen(await progress.rounds.look())
            except KafkaUnavailable:
                raise self._end or SessionFailed(self._availability.why_not()) from None
            progress.settle()
            if beyond := beyond_the_log(fetching, known.positions):
                # The next session finds out which it is.
                raise SessionFailed(
                    f"{known.topic}[{numbers_of(beyond)}] ends before our position, "
                    "or has a new leader"
                )
            if self._fetcher.is_held or self._fetcher.is_decoding or self._throttle.is_active:
                # Nothing is fetched, an answer is being decoded, or the broker has announced that
                # it does not answer for a while.
                pulse = self._new_pulse()
                continue
            silent = pulse.silent({tp: fetching.last_poll_timestamp(tp) for tp in known.positions})
            if silent:
                raise FetcherStuck(
                    f"no fetch of {known.topic}[{numbers_of(silent)}] is answered any more"
                )

    def _new_pulse(self) -> Pulse:
        return Pulse(
            asyncio.get_running_loop().time, patience=self._limits.fetch, step=1.5 * self._interval
        )

    async def _until_next_check(self) -> None:
        await asyncio.sleep(_BETWEEN_CHECKS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._interval - _BETWEEN_CHECKS):
                await self._check_now.wait()
        self._check_now.clear()
        if self._end is not None:
            raise self._end
