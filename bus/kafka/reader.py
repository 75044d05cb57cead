"""Reads every partition of one topic, without a consumer group.

Theory of operation
-------------------
No group means no rebalance: nothing that another instance does can make us miss a record or
wait for one. The price is that we do ourselves what a group would do for us:

- The partitions are assigned by hand and every position is set explicitly. The reader counts as
  *positioned* only when that is done; before that, a reply could be missed, so the service is
  not ready.
- Our positions outlive the client. Whatever goes wrong ends the *session* (a pair of aiokafka
  consumers); the next one carries the positions on. A second `assign` in aiokafka forgets all
  positions, so each is followed by setting every one again, without an await in between.
- A watcher looks once a second how far the log reaches (as cheaply as a proof, if nothing has
  changed: `bus.kafka.log_end`), and whether every partition's fetches
  are answered (a fetcher that is stuck stays silent). It is the proof that the path works, and
  it finds new partitions, which are read from their start.
- Whether a position that we carry still exists is judged by what a fetch says of it, never by a
  question about the log's end: Apache Kafka refuses a fetch that is out of range, the embedded
  broker gives a high water mark below it, and for a batch of several records the latter says
  that the log ends after the first of them. A high water mark below our position is a suspicion
  only: a partition's new leader gives one, too, until its followers have asked it once.
- A topic that was deleted and made again is another log, whatever its length. Its id says so; it is
  looked at when a session begins and at every look, always after what else the look asks, so that
  a log's ends are never taken for another's. Who tells no id is judged by the rule above.
- A log can be cut and grow past our position again, under the same id (an unclean election, a
  replaced disk). So each position has a mark: the leader epoch and the fingerprints of what was
  read below it (see `bus.kafka.log_marks`). It is verified when a session begins and whenever a
  partition's leader epoch changes, before anything of the new leader is handled or proves anything.
- The end of a log is its high water mark. Fetching is of committed records only, so behind an open
  transaction nothing is read, nothing is proven, and `why_behind` names the partition.
- A broker that no longer has a partition says so when it is fetched, at once and before anything
  else does: the reader is blind from then on, and its session ends. For other refusals, as when
  the leader moved, it takes its look early.
- A record is handled once, in its order, whatever makes aiokafka fetch it again: what lies below
  our own position is skipped.

A second, idle consumer asks the questions: on the fetching one's connection they would wait
behind a fetch that the broker holds back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)

from bus.kafka.aiokafka_fixes import client_of, hear_refusals, hold_fetches, stop_consumer
from bus.kafka.fetch_filter import FetchFilter
from bus.kafka.fetch_monitor import Pulse
from bus.kafka.known_log import KnownLog, LogChanged
from bus.kafka.lag import Lag, describe
from bus.kafka.log_end import LogEnd
from bus.kafka.log_marks import NO_MARK, TAIL, LogMark
from bus.kafka.log_rounds import LogRounds
from bus.kafka.read_barrier import CatchingUp
from bus.kafka.reader_parts import (
    Lost,
    ReaderStatistics,
    Start,
    Stuck,
    first_of,
    numbers_of,
    until_one_fails,
)
from bus.kafka.safeguards import Safeguards
from bus.kafka.skip_log import SkipLog
from bus.kafka.throttle import Throttle
from domain.backoff import A_MOMENT, Backoff
from domain.errors import KafkaUnavailable, UnreadableRecord

if TYPE_CHECKING:
    from bus.kafka.batches import Unreadable
    from bus.kafka.connection import Connection
    from bus.kafka.read_barrier import Ends, Waiter
    from bus.kafka.topic_identity import TopicDescription, TopicIdentity

__all__ = ["ReaderStatistics", "Record", "Start", "TopicReader"]

logger = logging.getLogger("takedown.kafka")

Record: TypeAlias = Any
"""aiokafka's ConsumerRecord: topic, partition, offset, key, value, headers."""

Prepare: TypeAlias = Callable[[], Awaitable[object]]

Resume: TypeAlias = Callable[
    [], "tuple[Mapping[int, int], TopicIdentity, Mapping[int, LogMark]] | None"
]
Advance: TypeAlias = Callable[
    [Mapping[int, int], "TopicIdentity | None", Mapping[int, LogMark]], Awaitable[object]
]
Distrust: TypeAlias = Callable[[], "str | None"]

OnSkip: TypeAlias = Callable[[str, int, int, str], object]
OnUnreadable: TypeAlias = "Callable[[Record, Unreadable], object]"

ConsumerFactory: TypeAlias = Callable[..., Any]
"""Makes a consumer of options, as the class `AIOKafkaConsumer` does."""

_ASKING = "asking"

_TURN = 500
"""Records that are handled before others on the loop have their turn."""

_BYTES = 2048
"""Bytes of a value that take as long as one more record."""

_IDLE_POLL = 0.2

_FIRST_HOLD = 0.01
"""Seconds for which a broker may hold the fetches back that confirm our positions."""

_NEW_LEADER = 1.0
"""Seconds in which a new leader learns where its log ends: its followers ask twice a second."""

_BETWEEN_LOOKS = 0.05
"""Seconds between two looks at least, however often fetches are refused."""


class TopicReader:
    """Reads a topic for as long as `run` runs, whatever happens to the broker.

    Args:
        connection: how Kafka is reached.
        topic: what to read.
        start: where new readers begin. Partitions that appear later are read from their start.
        handle: called for each record, in the order of its partition. `UnreadableRecord` has it
            counted, logged and skipped; any other exception too, as a defect.
        prepare: run before each session; makes sure that the topic exists.
        rewind: called when the log was replaced or cut and everything is read again from the
            beginning: forget what was read. Without it, only what is left is read on.
        resume: asked once, when `run` begins: the next offset of each partition, the log that
            these are of, and the mark of each partition, or None. They are judged like positions
            of our own.
        advance: told after each round of records up to where all was handled, also when it moved
            without records, which log that is, and the mark of each partition. Nothing is fetched
            before it returns.
        distrust: asked in each session once the broker has answered, if there is `rewind`: a reason
            why what was read before must not be trusted any more, or None. With a reason everything
            is read again from the beginning.
        safeguards: notes which safeguards the brokers do not provide.
        on_skip: told of each record that is skipped: topic, partition, offset, and why.
        on_unreadable: receives what stands in the place of records that cannot be decoded, and why
            (see `bus.kafka.fetch_filter`), in the order of their partition. They are skipped in any
            case.
        watch_interval: seconds between two looks at the log's ends.
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
        self._connection = connection
        self._consumer_factory = consumer_factory
        self._topic = topic
        self._start = start
        self._handle = handle
        self._prepare = prepare
        self._rewind = rewind
        self._resume = resume
        self._advance = advance
        self._on_skip = on_skip
        self._on_unreadable = on_unreadable
        self._skips = SkipLog(topic)
        self._throttle = Throttle(f"Reading {topic}")
        self._distrust = distrust
        self._watch_interval = watch_interval
        self._watch_timeout = watch_timeout
        self._patience = max(watch_timeout, 2 * connection.fetch_max_wait + 1)
        self._positions: dict[TopicPartition, int] = {}
        self._filter = FetchFilter(lambda tp: self._positions.get(tp, 0))
        self._replaced: set[TopicPartition] = set()
        self._known = KnownLog(topic, timeout=watch_timeout, safeguards=safeguards or Safeguards())
        self._refused = asyncio.Event()
        self._gone: Lost | LogChanged | None = None
        self._again = ""
        self._held = False
        self._catching_up = CatchingUp(self._distance)
        self._rounds = LogRounds(self._catching_up)
        self._described: asyncio.Queue[TopicDescription] = asyncio.Queue(maxsize=1)
        self._fetching: AIOKafkaConsumer | None = None
        self._lag = Lag()
        self._ends: Ends = {}
        self._never_written = False
        self._positioned = False
        self._caught_up = False
        self._behind = 0
        self._placeholders: set[int] = set()
        self._read = 0
        self._skipped = 0
        self._sessions = 0
        self._last_error = ""

    # ------------------------------------------------------------------------- asking

    @property
    def positioned(self) -> bool:
        """Every position is set, and the path to Kafka was seen to work lately."""
        return self._positioned

    @property
    def caught_up(self) -> bool:
        """It is positioned, has read to where the log ended when it connected, and does not lag.

        It lags when it has not read what was in the log some seconds ago (`bus.kafka.lag.MOST`).
        """
        return (
            self._positioned
            and self._caught_up
            and not self._lag.is_late(asyncio.get_running_loop().time())
        )

    @property
    def never_written(self) -> bool:
        """No partition had ever had a record when the log's ends were last seen."""
        return self._never_written

    def why_behind(self) -> str | None:
        """Which partitions are not read to their ends as last seen, and why; None if all are.

        Names each partition with its topic, the offset it is read to, and how many records wait;
        an open transaction is named as the cause. None, too, while it is not positioned.
        """
        if not self._positioned or self._fetching is None:
            return None
        behind = describe(self._ends, self._positions, self._fetching)
        throttled = self._throttle.why() if behind is not None else None
        return behind if throttled is None else f"{throttled}; {behind}"

    def why_late(self) -> str | None:
        """Why what is in the log for seconds is not read, where that is the broker's doing.

        None if it is read, or the broker has announced no silence.
        """
        if not self._lag.is_late(asyncio.get_running_loop().time()):
            return None
        return self._throttle.why()

    @property
    def identity(self) -> TopicIdentity | None:
        """Which log the positions are of; None before the first session."""
        return self._known.identity

    @property
    def proofs(self) -> LogRounds:
        """The questions about the log's end that were asked for those who wait."""
        return self._rounds

    @property
    def last_error(self) -> str:
        """Why it last had to connect again; empty if never."""
        return self._last_error

    def statistics(self) -> ReaderStatistics:
        """What it has done and where it is."""
        return ReaderStatistics(
            topic=self._topic,
            positioned=self._positioned,
            caught_up=self.caught_up,
            partitions=len(self._positions),
            positions={tp.partition: at for tp, at in sorted(self._positions.items())},
            behind=self._behind,
            read=self._read,
            skipped=self._skipped,
            sessions=self._sessions,
            last_error=self._last_error,
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
        if self._positioned:
            self._rounds.ask(waiter)
        else:
            why = f"{self._topic} cannot be read: {self._why_not()}"
            waiter.set_exception(KafkaUnavailable(why))

    def read_again(self, reason: str) -> None:
        """Read everything again from the beginning: what was made of it is lost.

        Not positioned and not caught up from now on; `rewind` is called when it begins.
        """
        self._again = reason
        self._gone = LogChanged(reason)
        self._interrupted(self._gone)
        self._refused.set()

    def _why_not(self) -> str:
        return self._throttle.why() or self._last_error or "not connected yet"

    # ------------------------------------------------------------------------ sessions

    async def run(self) -> None:
        """Read until cancelled."""
        if self._resume is not None and (kept := self._resume()) is not None:
            positions, self._known.identity, marks = kept
            self._positions = {TopicPartition(self._topic, n): at for n, at in positions.items()}
            for tp, at in self._positions.items():
                self._known.marks.place(tp, at, marks.get(tp.partition, NO_MARK))
        try:
            await self._sessions_forever()
        finally:
            self._skips.close()

    async def _sessions_forever(self) -> None:
        backoff = Backoff(quick_for=A_MOMENT)
        while True:
            sessions = self._sessions
            try:
                await self._session()
            except* (
                KafkaError,
                KafkaUnavailable,
                Lost,
                LogChanged,
                OSError,
                TimeoutError,
            ) as group:
                self._interrupted(first_of(group))
            except* Exception as group:
                self._interrupted(first_of(group))
                logger.exception("Defect while reading %s", self._topic)
            finally:
                self._positioned = False
                self._fail_waiters()
            if self._sessions != sessions:
                backoff.reset()
            await backoff.sleep()

    def _interrupted(self, error: BaseException) -> None:
        """From now on it is known that we are blind, and why."""
        text = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            text = self._throttle.why() or "Kafka does not answer in time"
        if text != self._last_error or self._positioned:
            logger.warning("Reading %s is interrupted: %s", self._topic, text)
        self._last_error = text
        self._positioned = False
        self._fail_waiters()

    def _fail_waiters(self) -> None:
        self._rounds.reset()
        self._catching_up.fail(KafkaUnavailable(f"{self._topic} cannot be read: {self._why_not()}"))

    async def _session(self) -> None:
        await self._prepare()
        async with self._consumer(_ASKING) as asking, self._consumer("fetching") as fetching:
            for client in (client_of(asking), client_of(fetching)):
                self._throttle.attach(client)
            self._filter.attach(client_of(fetching))
            hear_refusals(client_of(fetching), self._on_refusal, self._known.fetched)
            self._fetching = fetching
            log_end = LogEnd(
                client_of(asking),
                self._topic,
                client_id=f"{self._connection.client_id}-{self._topic}-log-end",
                timeout=self._watch_timeout / 3,  # the long way needs time, too
            )
            self._known.begin(asking, client_of(asking), log_end.forget)
            ends = await self._position(asking, fetching)
            if self._again:  # it was asked for while we connected
                raise LogChanged(self._again)
            self._caught_up = False
            self._gone = None
            self._lag.clear()
            self._saw(ends)
            self._rounds.use(log_end.ask)
            self._catching_up.expect(ends).add_done_callback(self._on_caught_up)
            self._positioned = True
            self._sessions += 1
            logger.info(
                "Reading %s: %d partitions, %d records to catch up with",
                self._topic,
                len(self._positions),
                self._distance(ends),
            )
            self._settle()
            try:
                await until_one_fails(
                    asyncio.create_task(self._fetch(fetching), name=f"fetch {self._topic}"),
                    asyncio.create_task(self._watch(fetching), name=f"watch {self._topic}"),
                    asyncio.create_task(
                        self._answer(asking, fetching), name=f"answer {self._topic}"
                    ),
                    asyncio.create_task(
                        self._open_quick_way(log_end), name=f"open quick way {self._topic}"
                    ),
                )
            except Exception as error:
                # At once: to stop the consumers of a broker that hangs takes seconds.
                self._interrupted(error)
                raise
            finally:
                log_end.close()

    def _on_refusal(self, tp: TopicPartition, error: type[KafkaError]) -> None:
        """A fetch was refused; aiokafka tries again, and tells nobody."""
        # Before it is positioned there is nothing to lose: brokers learn of a new topic one by one.
        if tp.topic != self._topic or not self._positioned:
            return
        if error is UnknownTopicOrPartitionError:
            self._gone = Lost(f"{tp.topic}[{tp.partition}] is not known to its broker any more")
            self._interrupted(self._gone)
            self._unknown()
        self._refused.set()

    def _unknown(self) -> None:
        """The topic is not there, or was not for a moment.

        Whatever comes back under its name may be another log, and may be longer than ours when we
        see it. The id will tell; where there is none, the worst is assumed by who can rewind.
        Who cannot would read the same log twice for certain.
        """
        if self._rewind is not None and not (
            self._known.identity and self._known.identity.topic_id
        ):
            self._replaced.update(self._positions)

    def _saw(self, ends: Ends) -> None:
        """The log ends there now."""
        self._ends = ends
        self._never_written = not any(ends.values())
        self._behind = self._distance(ends)
        self._lag.seen(ends, asyncio.get_running_loop().time())
        self._catching_up.renew(ends)

    def _settle(self) -> None:
        """Something was read, or an end is known: tell those who waited for that."""
        self._lag.read(self._positions)
        self._catching_up.settle()

    def _on_caught_up(self, future: asyncio.Future[None]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._caught_up = True

    @contextlib.asynccontextmanager
    async def _consumer(self, role: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._consumer_factory(
            **self._connection.client_options(f"{self._topic}-{role}"),
            fetch_max_wait_ms=round(_FIRST_HOLD * 1000),
            max_poll_records=_TURN,  # a batch can hold millions
            check_crcs=False,  # the filter has compared them, and changes batches
            # A position that the log does not have is ours to look into.
            auto_offset_reset="none",
            enable_auto_commit=False,
            # A deletion inside a transaction that was aborted did not happen. But where a log
            # ends is asked without regard to transactions: what is committed behind an open one
            # is there, though it cannot be read yet.
            isolation_level="read_uncommitted" if role == _ASKING else "read_committed",
        )
        try:
            async with asyncio.timeout(self._connection.request_timeout):
                await consumer.start()
            yield consumer
        finally:
            await stop_consumer(consumer, within=self._watch_timeout)

    # ----------------------------------------------------------------------- positions

    async def _partitions(self, asking: AIOKafkaConsumer) -> set[TopicPartition]:
        client = client_of(asking)
        client.add_topic(self._topic)
        async with asyncio.timeout(self._watch_timeout):
            # Twice: a connection that was reset is found out by the first, and made anew.
            updated = await client.force_metadata_update() or await client.force_metadata_update()
        if not updated:
            raise KafkaUnavailable("no broker answers questions about the topic's partitions")
        numbers = asking.partitions_for_topic(self._topic)
        if not numbers:
            self._unknown()
            raise KafkaUnavailable("the topic's partitions are not known to the broker")
        return {TopicPartition(self._topic, number) for number in numbers}

    async def _position(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer
    ) -> dict[TopicPartition, int]:
        """Decide where each partition is read from, and go there; returns the log's ends."""
        partitions = await self._partitions(asking)
        async with asyncio.timeout(self._watch_timeout):
            # Before the rest: if the topic is made again meanwhile, the next look tells.
            description = await self._known.compare(partitions)
            ends: dict[TopicPartition, int] = await asking.end_offsets(partitions)
            beginnings: dict[TopicPartition, int] = await asking.beginning_offsets(partitions)
        first_time = not self._positions
        carried = self._still_valid(description.identity, beginnings)
        stable: Mapping[TopicPartition, int] = {}
        if first_time and self._start is Start.END:
            # Not at the end itself: what is in an open transaction now may be committed later.
            stable = await self._stable_ends(fetching, partitions)
        self._known.identity = description.identity
        self._positions = {
            tp: stable[tp] if tp in stable else carried.get(tp, beginnings[tp]) for tp in partitions
        }
        self._known.marks.keep_only(self._positions)
        await self._known.mark(description, beginnings)
        self._assign(fetching)
        await self._confirm(fetching)
        self._known.assume_epochs(await self._same_log())
        return ends

    async def _stable_ends(
        self, fetching: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        client = client_of(fetching)
        client.add_topic(self._topic)
        async with asyncio.timeout(self._watch_timeout):
            await client.force_metadata_update()
            ends: dict[TopicPartition, int] = await fetching.end_offsets(partitions)
        return ends

    async def _same_log(self) -> TopicDescription:
        async with asyncio.timeout(self._watch_timeout):
            return await self._known.require_same()

    def _still_valid(
        self, identity: TopicIdentity, beginnings: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """The positions that can be carried on; all or none if the reader can rewind."""
        if self._again:
            self._again = ""
            self._begin_again()
            return {}
        was = self._known.identity
        if was is not None and identity.differs_from(was):
            logger.error(
                "%s is not the log that we have read: it was made again",
                self._topic,
                extra={"was": str(was), "now": str(identity)},
            )
            self._begin_again()
            return {}
        if self._rewind is not None and self._distrust is not None and self._positions:
            reason = self._distrust()
            if reason is not None:
                logger.warning("What was read of %s is not trusted: %s", self._topic, reason)
                self._begin_again()
                return {}
        differing, read_on = self._known.judged(beginnings)
        problems = {}
        for tp, position in self._positions.items():
            where = f"{tp.topic}[{tp.partition}]"
            if tp in beginnings and position < beginnings[tp]:
                lost = beginnings[tp] - position
                problems[tp] = f"{where} has lost {lost} records that were never read"
            elif tp in self._replaced or tp not in beginnings:
                problems[tp] = f"{where} is not the one we read to {position}: it was made again"
        self._replaced.clear()
        read_on = {tp: at for tp, at in read_on.items() if tp not in problems}
        problems |= differing
        for problem in problems.values():
            logger.error(problem)
        if problems and self._rewind is not None:
            self._begin_again()
            return {}
        return {tp: at for tp, at in self._positions.items() if tp not in problems} | read_on

    def _begin_again(self) -> None:
        self._replaced.clear()
        self._known.forget()
        logger.warning("%s is read again from its beginning", self._topic)
        if self._rewind is not None:
            self._rewind()

    async def _confirm(self, fetching: AIOKafkaConsumer) -> None:
        """Fetch once from every position, to see that it exists and that we may.

        Without this a reader that may ask but not read would be ready for a moment, again and
        again. Only from then on fetches are held back for `fetch_max_wait`.
        """
        now = asyncio.get_running_loop().time
        given_up = now() + _NEW_LEADER
        async with asyncio.timeout(self._patience) as bound:
            while True:
                await self._fetch_once(fetching, within=_FIRST_HOLD)
                if self._filter.is_working:  # an answer is there, and takes long to decode
                    bound.reschedule(now() + self._patience)
                unheard = {tp for tp in self._positions if fetching.highwater(tp) is None}
                beyond = self._beyond_the_log(fetching)
                if unheard or (beyond and now() < given_up):
                    continue
                self._replaced |= beyond
                break
        if self._replaced:
            raise LogChanged(f"{self._topic} is shorter than what we have read of it")
        hold_fetches(fetching, self._connection.fetch_max_wait)

    def _beyond_the_log(self, fetching: AIOKafkaConsumer) -> set[TopicPartition]:
        """Where the last fetch said that the log ends before our position."""
        return {
            tp
            for tp, position in self._positions.items()
            if (highwater := fetching.highwater(tp)) is not None and highwater < position
        }

    def _assign(self, fetching: AIOKafkaConsumer) -> None:
        # No await in here: the fetcher must not see a partition without a position.
        fetching.assign(list(self._positions))
        for tp, position in self._positions.items():
            fetching.seek(tp, position)

    # ------------------------------------------------------------- what a session runs

    async def _fetch(self, fetching: AIOKafkaConsumer) -> None:
        while True:
            await self._fetch_once(fetching)

    async def _fetch_once(self, fetching: AIOKafkaConsumer, *, within: float = _IDLE_POLL) -> None:
        try:
            batches = await fetching.getmany(timeout_ms=round(within * 1000))
        except RecordTooLargeError as error:
            self._skip_unfetched(error)
            return
        except OffsetOutOfRangeError as error:
            self._replaced.update(error.args[0])
            raise LogChanged(f"{self._topic} does not have our position any more") from error
        await self._known.verify_fetched()  # before anything of it is handled
        handled = weight = 0
        for tp, records in batches.items():
            first = position = self._positions[tp]
            for record in records:
                if record.offset < position:
                    continue  # fetched again, since the partitions were assigned again meanwhile
                self._handle_one(tp, record)
                position = record.offset + 1
                handled += 1
                weight += 1 + len(record.value or b"") // _BYTES
                if weight >= _TURN:
                    weight = 0
                    self._positions[tp] = position
                    await asyncio.sleep(0)
            self._positions[tp] = position
            self._mark(tp, records, first)
        for tp in tuple(self._positions):
            # Further than the last record: markers of transactions and records that compaction
            # removed have offsets too. It does not wait, the position is known.
            self._positions[tp] = max(self._positions[tp], await fetching.position(tp))
            self._known.marks.read(tp, (), self._positions[tp])
        self._filter.passed(self._positions)
        self._settle()
        if self._advance is not None:
            at = {tp.partition: position for tp, position in self._positions.items()}
            self._held = True
            try:
                await self._advance(at, self._known.identity, self._known.marks.marks())
            finally:
                self._held = False
        if handled:
            await asyncio.sleep(0)  # aiokafka does not wait as long as it has records at hand

    def _mark(self, tp: TopicPartition, records: list[Record], first: int) -> None:
        """Remember what was read last: those of these records from this offset on are new."""
        tail = [record for record in records[-TAIL:] if record.offset >= first]
        if self._placeholders:
            tail = [record for record in tail if record.offset not in self._placeholders]
            self._placeholders.clear()
        self._known.marks.read(tp, tail, self._positions[tp])

    def _skip_unfetched(self, error: RecordTooLargeError) -> None:
        self._skipped += 1
        self._known.marks.forget_tails()
        logger.warning("Skipped a record of %s that is too large: %s", self._topic, error)

    def _handle_one(self, tp: TopicPartition, record: Record) -> None:
        self._read += 1
        if (unreadable := self._filter.unreadable(tp, record.offset)) is not None:
            self._placeholders.add(record.offset)
            self._pass_unreadable(record, unreadable)
            return
        try:
            self._handle(record)
        except UnreadableRecord as error:
            self._skip(record, str(error))
        except Exception as error:
            self._skip(record, f"defect: {error!r}")
            logger.exception("Defect while handling a record")

    def _pass_unreadable(self, record: Record, unreadable: Unreadable) -> None:
        """Records that cannot be decoded; `record` is what stands in their place."""
        try:
            if self._on_unreadable is not None:
                self._on_unreadable(record, unreadable)
        except Exception:
            logger.exception("Defect while handling an unreadable record")
        many = unreadable.last > unreadable.first
        behind = f" (offsets {unreadable.first} to {unreadable.last})" if many else ""
        self._skip(record, unreadable.reason + behind, named=unreadable.named)

    def _skip(self, record: Record, reason: str, *, named: bool = True) -> None:
        self._skipped += 1
        if self._on_skip is not None:
            self._on_skip(record.topic, record.partition, record.offset, reason)
        self._skips.note(record, reason, named=named)

    async def _watch(self, fetching: AIOKafkaConsumer) -> None:
        pulse = self._pulse()
        while True:
            await self._until_next_look()
            try:
                # In the quick way if nothing has changed; otherwise `_answer` takes the long one.
                async with asyncio.timeout(self._watch_timeout):
                    self._saw(await self._rounds.look())
            except KafkaUnavailable:
                raise self._gone or Lost(self._why_not()) from None
            self._settle()
            if beyond := self._beyond_the_log(fetching):
                # The next session finds out which it is.
                raise Lost(
                    f"{self._topic}[{numbers_of(beyond)}] ends before our position, "
                    "or has a new leader"
                )
            if self._held or self._filter.is_working or self._throttle.is_active:
                # Nobody fetches, an answer is being decoded, or the broker has announced that it
                # does not answer for a while.
                pulse = self._pulse()
                continue
            silent = pulse.silent({tp: fetching.last_poll_timestamp(tp) for tp in self._positions})
            if silent:
                raise Stuck(f"no fetch of {self._topic}[{numbers_of(silent)}] is answered any more")

    def _pulse(self) -> Pulse:
        return Pulse(
            asyncio.get_running_loop().time,
            patience=self._patience,
            step=1.5 * self._watch_interval,
        )

    async def _until_next_look(self) -> None:
        await asyncio.sleep(_BETWEEN_LOOKS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._watch_interval - _BETWEEN_LOOKS):
                await self._refused.wait()
        self._refused.clear()
        if self._gone is not None:
            raise self._gone

    async def _look(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer
    ) -> tuple[dict[TopicPartition, int], TopicDescription]:
        """The log's ends now, of all partitions that exist now."""
        async with asyncio.timeout(self._watch_timeout):
            while True:
                ends, description = await self._look_once(asking, fetching)
                if len(description.leaders) <= len(ends):
                    break
                # Of a partition that was added meanwhile the end is not known, nor what is in it.
                await asyncio.sleep(_BETWEEN_LOOKS)
        self._saw(ends)
        self._settle()
        return ends, description

    async def _look_once(
        self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer
    ) -> tuple[dict[TopicPartition, int], TopicDescription]:
        partitions = await self._partitions(asking)
        gone = self._positions.keys() - partitions
        if gone:
            raise LogChanged(f"{self._topic} has lost partitions: {numbers_of(gone)}")
        new = partitions - self._positions.keys()
        async with asyncio.timeout(self._watch_timeout):
            if new:
                beginnings: dict[TopicPartition, int] = await asking.beginning_offsets(new)
                self._positions.update(
                    {tp: at for tp, at in beginnings.items() if tp not in self._positions}
                )
                self._known.marks.keep_only(self._positions)
                self._assign(fetching)
                logger.info("New partitions of %s: %s", self._topic, numbers_of(new))
            ends: dict[TopicPartition, int] = await asking.end_offsets(partitions)
        # After the rest: what it said is of this log, or of no use.
        return ends, await self._same_log()

    async def _answer(self, asking: AIOKafkaConsumer, fetching: AIOKafkaConsumer) -> None:
        while True:
            await self._rounds.long_way()
            ends, description = await self._look(asking, fetching)
            self._rounds.answered(ends)
            # From now on in the quick way, as long as nothing changes.
            if self._described.full():
                self._described.get_nowait()  # only the newest one is worth a connection
            self._described.put_nowait(description)

    async def _open_quick_way(self, log_end: LogEnd) -> None:
        """Open the connections for it. Nobody waits for that: it may take long."""
        while True:
            description = await self._described.get()
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(self._watch_timeout):
                    await log_end.connect(description)

    def _distance(self, ends: Ends) -> int:
        return sum(max(0, end - self._positions.get(tp, 0)) for tp, end in ends.items())
