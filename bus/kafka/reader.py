"""Reads every partition of one topic, without a consumer group.

Theory of operation
-------------------
Without a group nothing rebalances: no other instance can make this reader miss a record or wait for
one. In return the reader does itself what a group would do:

- It assigns the partitions by hand and sets every position explicitly (`bus.kafka.positioning`).
  It counts as *positioned* only when that is done; before that a reply could be missed, so the
  service is not ready.
- Positions outlive the client. Every failure ends the *session* (a pair of aiokafka consumers,
  `bus.kafka.consumers`). The next session resumes from the same positions if the log below them
  still is what was read (`bus.kafka.resume_positions`, `bus.kafka.known_log`). A second `assign` in
  aiokafka drops all positions, so each is followed by setting every one again, without an await in
  between.
- Four tasks run in a session: one fetches (`bus.kafka.record_fetcher`), one watches the log's ends
  and whether fetches are answered (`bus.kafka.log_watcher`), and two find out where the log ends
  when the watcher or a caller needs it (`bus.kafka.log_inspection`).
- The end of a log is its high water mark. Only committed records are fetched, so while a
  transaction is open, nothing after its start is read or proven, and `why_behind` names the
  partition.
- A broker that no longer has a partition refuses its fetches, before anything else shows it: the
  reader is not positioned from then on, and its session ends. Other refusals, for instance after
  the leader moved, cause the next check of the log's ends at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bus.kafka.aiokafka_fixes import client_of, hear_refusals
from bus.kafka.availability import Availability
from bus.kafka.consumers import SessionConsumers, TimeLimits
from bus.kafka.fetch_filter import FetchFilter
from bus.kafka.known_log import KnownLog, LogChanged
from bus.kafka.lag import describe
from bus.kafka.log_end import LogEnd
from bus.kafka.log_inspection import LogInspection
from bus.kafka.log_marks import NO_MARK, LogMark
from bus.kafka.log_watcher import LogWatcher
from bus.kafka.positioning import Positioning
from bus.kafka.read_progress import ReaderStatistics, ReadProgress
from bus.kafka.record_fetcher import RecordFetcher
from bus.kafka.record_handler import RecordHandler
from bus.kafka.resume_positions import ResumePositions
from bus.kafka.session_end import SessionFailed, first_of, until_one_fails
from bus.kafka.throttle import Throttle
from domain.backoff import A_MOMENT, Backoff
from domain.errors import KafkaUnavailable

if TYPE_CHECKING:
    from bus.kafka.connection import Connection
    from bus.kafka.consumers import ConsumerFactory
    from bus.kafka.log_rounds import LogRounds
    from bus.kafka.positioning import Start
    from bus.kafka.read_barrier import Waiter
    from bus.kafka.record_fetcher import Advance
    from bus.kafka.record_handler import OnSkip, OnUnreadable, Record
    from bus.kafka.resume_positions import Distrust
    from bus.kafka.safeguards import Safeguards
    from bus.kafka.topic_identity import TopicIdentity

logger = logging.getLogger("takedown.kafka")

Prepare: TypeAlias = Callable[[], Awaitable[object]]

Resume: TypeAlias = Callable[
    [], "tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None"
]


class TopicReader:
    """Reads a topic for as long as `run` runs, whatever happens to the broker.

    Args:
        connection: how Kafka is reached.
        topic: what to read.
        start: where new readers begin. Partitions that appear later are read from their start.
        handle: called for each record, in the order of its partition. A record for which it raises
            is counted, logged and skipped; any exception but `UnreadableRecord` is a defect.
        prepare: called before each session; makes sure that the topic exists.
        rewind: called when the log was replaced or cut and everything is read again from the
            beginning: forget what was read. Without it, reading resumes with what is left.
        resume: called once, when `run` begins: gives the next offset of each partition, the log
            that these are of, and the mark of each partition, or None. They are judged like the
            reader's own positions.
        advance: called after each round of records, or if a position moved without records: the
            next offset of each partition, which log these are of, and the mark of each partition.
            Nothing is fetched before it returns.
        distrust: called in each session once the broker has answered, if there is `rewind`: gives a
            reason why what was read before must not be trusted any more, or None. With a reason
            everything is read again from the beginning.
        safeguards: notes which safeguards the brokers do not provide.
        on_skip: called for each record that is skipped: topic, partition, offset, and why.
        on_unreadable: receives the placeholder of records that cannot be decoded, and why (see
            `bus.kafka.fetch_filter`), in the order of their partition. They are skipped in any
            case.
        watch_interval: seconds between two checks of the log's ends.
        watch_timeout: seconds after which a broker that does not answer counts as away.
        consumer_factory: makes the aiokafka consumers.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        topic: str,
        start: Start,
        handle: Callable[[Record], None],
        prepare: Prepare,
        rewind: Callable[[], None] | None = None,
        resume: Resume | None = None,
        advance: Advance | None = None,
        on_skip: OnSkip | None = None,
        on_unreadable: OnUnreadable | None = None,
        distrust: Distrust | None = None,
        safeguards: Safeguards | None = None,
        watch_interval: float = 1.0,
        watch_timeout: float = 3.0,
        consumer_factory: ConsumerFactory = AIOKafkaConsumer,
    ) -> None:
        self._topic = topic
        self._connection = connection
        self._prepare = prepare
        self._stored = resume
        self._watch_timeout = watch_timeout
        limits = TimeLimits.of(answer=watch_timeout, hold=connection.fetch_max_wait)
        self._consumers = SessionConsumers(
            consumer_factory, connection, topic, stop_within=watch_timeout
        )
        self._known = known = KnownLog(topic, timeout=watch_timeout, safeguards=safeguards)
        self._throttle = Throttle(f"Reading {topic}")
        self._progress = progress = ReadProgress(known.positions)
        self._availability = Availability(topic, self._throttle, progress)
        self._filter = FetchFilter(lambda tp: known.positions.get(tp, 0))
        self._handler = RecordHandler(
            topic, handle, self._filter, on_skip=on_skip, on_unreadable=on_unreadable
        )
        self._fetcher = RecordFetcher(known, self._filter, self._handler, progress, advance)
        self._resume = ResumePositions(known, rewind=rewind, distrust=distrust)
        missing = self._resume.topic_is_missing
        self._inspection = LogInspection(known, progress, on_missing=missing, timeout=watch_timeout)
        self._positioning = Positioning(
            known,
            resume=self._resume,
            inspection=self._inspection,
            fetcher=self._fetcher,
            start=start,
            limits=limits,
        )
        self._watcher = LogWatcher(
            known,
            progress=progress,
            fetcher=self._fetcher,
            throttle=self._throttle,
            availability=self._availability,
            on_missing=missing,
            interval=watch_interval,
            limits=limits,
        )
        self._fetching: AIOKafkaConsumer | None = None
        self._sessions = 0

    # ------------------------------------------------------------------------- status

    @property
    def positioned(self) -> bool:
        """Every position is set, and the path to Kafka was seen to work lately."""
        return self._availability.positioned

    @property
    def caught_up(self) -> bool:
        """It is positioned, has read to where the log ended when it connected, and does not lag.

        It lags when it has not read what was in the log some seconds ago (`bus.kafka.lag.MOST`).
        """
        return (
            self._availability.positioned
            and self._progress.caught_up
            and not self._progress.lag.is_late(asyncio.get_running_loop().time())
        )

    @property
    def never_written(self) -> bool:
        """No partition had ever had a record when the log's ends were last seen."""
        return self._progress.never_written

    def why_behind(self) -> str | None:
        """Which partitions are not read to their ends as last seen, and why; None if all are.

        Names each partition with its topic, the offset it is read to, and how many records wait;
        an open transaction is named as the cause. None, too, while it is not positioned.
        """
        if not self._availability.positioned or self._fetching is None:
            return None
        behind = describe(self._progress.ends, self._known.positions, self._fetching)
        throttled = self._throttle.why() if behind is not None else None
        return behind if throttled is None else f"{throttled}; {behind}"

    def why_late(self) -> str | None:
        """Why what is in the log for seconds is not read, where that is the broker's doing.

        None if it is read, or the broker has announced no silence.
        """
        if not self._progress.lag.is_late(asyncio.get_running_loop().time()):
            return None
        return self._throttle.why()

    @property
    def identity(self) -> TopicIdentity | None:
        """Which log the positions are of; None before the first session."""
        return self._known.identity

    @property
    def proofs(self) -> LogRounds:
        """The requests for the log's end on behalf of those that wait."""
        return self._progress.rounds

    @property
    def last_error(self) -> str:
        """Why it last had to connect again; empty if never."""
        return self._availability.last_error

    def statistics(self) -> ReaderStatistics:
        """What it has done and where it is."""
        return ReaderStatistics(
            topic=self._topic,
            positioned=self._availability.positioned,
            caught_up=self.caught_up,
            partitions=len(self._known.positions),
            positions={tp.partition: at for tp, at in sorted(self._known.positions.items())},
            behind=self._progress.behind,
            read=self._handler.read,
            skipped=self._handler.skipped,
            sessions=self._sessions,
            last_error=self._availability.last_error,
        )

    async def catch_up(self) -> None:
        """Wait until everything is read that was in the topic when this was called.

        Callers that wait at the same time share one question to the broker, which is always
        asked after the last of them called. Bound it with a timeout of your own; after a timeout,
        `why_behind` names the cause.

        Raises:
            KafkaUnavailable: the broker could not be asked.
        """
        await self.prove()

    def prove(self) -> asyncio.Future[None]:
        """As `catch_up`, for callers that need no task to wait: done, or failed, later.

        Failed already, with `KafkaUnavailable`, if it is not positioned. May be cancelled.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.prove_to(waiter)
        return waiter

    def prove_to(self, waiter: Waiter) -> None:
        """As `prove`, for what costs less than a future; it may fail before this returns."""
        if self._availability.positioned:
            self._progress.rounds.ask(waiter)
        else:
            waiter.set_exception(self._availability.error())

    def read_again(self, reason: str) -> None:
        """Read everything again from the beginning: what was made of it is invalid.

        Not positioned and not caught up from now on; `rewind` is called when it begins.
        """
        self._resume.again = reason
        self._watcher.end(LogChanged(reason))

    # ------------------------------------------------------------------------ sessions

    async def run(self) -> None:
        """Read until cancelled."""
        if self._stored is not None and (stored := self._stored()) is not None:
            positions, self._known.identity, marks = stored
            for number, at in positions.items():
                tp = TopicPartition(self._topic, number)
                self._known.positions[tp] = at
                self._known.marks.place(tp, at, marks.get(number, NO_MARK))
        try:
            await self._sessions_forever()
        finally:
            self._handler.close()

    async def _sessions_forever(self) -> None:
        backoff = Backoff(quick_for=A_MOMENT)
        while True:
            sessions = self._sessions
            try:
                await self._session()
            except* (
                KafkaError,
                KafkaUnavailable,
                SessionFailed,
                LogChanged,
                OSError,
                TimeoutError,
            ) as group:
                self._availability.interrupted(first_of(group))
            except* Exception as group:
                self._availability.interrupted(first_of(group))
                logger.exception("Defect while reading %s", self._topic)
            finally:
                self._availability.session_is_over()
            if self._sessions != sessions:
                backoff.reset()
            await backoff.sleep()

    async def _session(self) -> None:
        await self._prepare()
        async with self._consumers.open() as (asking, fetching):
            for client in (client_of(asking), client_of(fetching)):
                self._throttle.attach(client)
            self._filter.attach(client_of(fetching))
            hear_refusals(client_of(fetching), self._watcher.refused, self._known.fetched)
            self._fetching = fetching
            log_end = LogEnd(
                client_of(asking),
                self._topic,
                client_id=f"{self._connection.client_id}-{self._topic}-log-end",
                timeout=self._watch_timeout / 3,  # the long way needs time, too
            )
            self._known.begin(asking, client_of(asking), log_end.forget)
            ends = await self._positioning.position(asking, fetching)
            if self._resume.again:  # requested while we connected
                raise LogChanged(self._resume.again)
            self._watcher.begin()
            self._progress.begin(ends, log_end.ask)
            self._availability.positioned = True
            self._sessions += 1
            logger.info(
                "Reading %s: %d partitions, %d records to catch up with",
                self._topic,
                len(self._known.positions),
                self._progress.behind,
            )
            self._progress.settle()
            await self._run_tasks(asking, fetching, log_end)

    async def _run_tasks(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer, log_end: LogEnd
    ) -> None:
        topic, inspection = self._topic, self._inspection
        create_task = asyncio.create_task
        try:
            await until_one_fails(
                create_task(self._fetcher.run(fetching), name=f"fetch {topic}"),
                create_task(self._watcher.run(fetching), name=f"watch {topic}"),
                create_task(inspection.answer(asking, fetching), name=f"answer {topic}"),
                create_task(inspection.open_quick_way(log_end), name=f"open quick way {topic}"),
            )
        except Exception as error:
            # At once: to stop the consumers of a broker that hangs takes seconds.
            self._availability.interrupted(error)
            raise
        finally:
            log_end.close()
