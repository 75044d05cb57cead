"""Kafka's side: topics, their logs, and a broker that may be away.

One broker is enough: whatever a larger cluster does to a client (a leader that is not there, one
that takes no writes, partitions that come) can be done to a partition here.
"""

from __future__ import annotations

import base64
import math
import random
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiokafka.errors import KafkaConnectionError

from dev.simulation.faults import Fault
from dev.simulation.log import Log, Record
from dev.simulation.loop import EPOCH, START

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Mapping

    from dev.simulation.event_log import Journal
    from dev.simulation.faults import Faults
    from dev.simulation.loop import SimulatedLoop


TOPICS = ("item_reported", "item_deleted", "item_published")
PARTITIONS = 3
"""Of each topic, when it is created."""

_EPOCH = round(EPOCH.timestamp() * 1000)

_RETRY = 0.1

_QUICK = 0.98
"""The share of what travels over the network that does so without a hitch."""


class _Held(NamedTuple):
    """A record that its producer holds until the broker can be reached."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    made_at: float


class _Open(NamedTuple):
    """An open transaction: what was written in it, and whether it will be committed."""

    records: list[Record]
    commits: bool


class Reader(Protocol):
    """A consumer's side of the network."""

    def appended(self, topic: str, partition: int) -> None:
        """A log has grown."""

    def back(self) -> None:
        """The broker answers again."""

    def hurry(self) -> None:
        """What was to be read late is read now."""

    def cut(self, topic: str, partition: int) -> None:
        """A log has lost its end: nothing that is fetched from now on was in it before."""


class Broker(Enum):
    """How the broker is."""

    UP = "up"
    REFUSES = "refuses"
    HANGS = "hangs"


class Cluster:
    """The broker and its topics.

    Args:
        loop: the world's time.
        faults: what goes wrong.
        journal: where it is written down.
        seed: of the run.

    Attributes:
        lag: seconds by which a topic, or a partition such as `item_published[0]`, is read late.
        pace: records in one fetch of a partition, and the seconds that the next one takes.
        followers: are told each record of a topic once it counts: when it is written, or when its
            transaction is committed.
        on_cut: are told of each log that has lost its end: topic, partition, and from which offset.
        cuts: the topics of which a log has lost its end.
        settings: of the topics, as DescribeConfigs tells them.
        settings_delay: seconds that its answer takes longer than others.
        away_until: when the broker was last away, or infinity while it is.
    """

    def __init__(self, loop: SimulatedLoop, faults: Faults, journal: Journal, seed: int) -> None:
        self._loop = loop
        self._faults = faults
        self._journal = journal
        self._rng = random.Random(f"{seed} network")
        self.topics: dict[str, list[Log]] = {}
        self.ids: dict[str, bytes] = {}
        self.cluster_id = "simulated"
        self.state = Broker.UP
        self.away_until = 0.0
        self.lag: dict[str, float] = {}
        self.pace: dict[str, tuple[int, float]] = {}
        self.readers: list[Reader] = []
        self.followers: dict[str, list[Callable[[Record], None]]] = {}
        self.on_cut: list[Callable[[str, int, int], None]] = []
        self.cuts: set[str] = set()
        self.settings: dict[str, dict[str, str]] = {}
        self.settings_delay = 0.0
        self._open: dict[int, _Open] = {}
        self._transactions = 0
        self._parked: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []
        self._held: list[_Held] = []

    def delay(self) -> float:
        """Seconds that something takes over the network, one way."""
        chance = self._rng.random()
        # Most are quick, and now and then one is not.
        return 0.0005 + (0.004 * chance if chance < _QUICK else (chance - _QUICK) * 3.0)

    # ---------------------------------------------------------------------------- topics

    def create(
        self, topic: str, partitions: int, settings: Mapping[str, str] | None = None
    ) -> None:
        """Make a topic; `settings` are what DescribeConfigs answers."""
        self.topics[topic] = [Log() for _ in range(partitions)]
        self.settings[topic] = dict(settings or {})
        self.ids[topic] = self._rng.randbytes(16)

    def id_of(self, topic: str) -> str:
        """A topic's id, as Kafka's tools write it."""
        return base64.urlsafe_b64encode(self.ids[topic]).rstrip(b"=").decode()

    def add_partition(self, topic: str) -> None:
        """One more."""
        self.topics[topic].append(Log())
        self._journal.write("Kafka", "Kafka", f"! {topic} has a new partition")

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
        *,
        made_at: float | None = None,
        transaction: int = 0,
        stamp: int | None = None,
    ) -> Record:
        """Write one record, whoever asks, whatever the broker's state.

        `made_at` is the loop's time at which its producer was given it, if that was earlier;
        `transaction` is the open one that it belongs to, and `stamp` its timestamp, if that is not
        its producer's time.
        """
        log = self.topics[topic][partition]
        if (rng := self._faults.strikes(Fault.OFFSETS_JUMP, topic, _name(key))) is not None:
            log.end += rng.randint(1, 5)
        at = self._loop.time()
        # As producers' clocks have it: whole milliseconds, cut off.
        if stamp is None:
            stamp = _EPOCH + math.floor(((at if made_at is None else made_at) - START) * 1000)
        record = Record(
            topic, partition, log.end, key, value, headers, at, stamp, log.epoch, transaction
        )
        log.records.append(record)
        log.end += 1
        if transaction:
            log.open.setdefault(transaction, record.offset)
            log.fixed = log.end
            self._open[transaction].records.append(record)
        for reader in self.readers:
            reader.appended(topic, partition)
        if not transaction:
            self._tell(record)
        return record

    def _tell(self, record: Record) -> None:
        for follow in self.followers.get(record.topic, ()):
            follow(record)

    def can_write(self, topic: str, partition: int) -> bool:
        """Whether a producer would be acknowledged now."""
        return self.state is Broker.UP and self.topics[topic][partition].led

    # ---------------------------------------------------------------------- transactions

    def begin(self, *, commits: bool) -> int:
        """Open a transaction; returns its number. `commits`: what becomes of it at the latest."""
        self._transactions += 1
        self._open[self._transactions] = _Open([], commits)
        return self._transactions

    def end(self, transaction: int) -> None:
        """Commit or abort a transaction, as soon as its partitions can be written to."""
        opened = self._open.get(transaction)
        if opened is None:
            return
        places = {(record.topic, record.partition): None for record in opened.records}
        if not all(self.can_write(*place) for place in places):
            self._loop.happen(_RETRY, self.end, transaction)
            return
        del self._open[transaction]
        how = "committed" if opened.commits else "aborted"
        self._journal.write("Kafka", "Kafka", f"! transaction {transaction} is {how}")
        for topic, partition in places:
            self.topics[topic][partition].end_transaction(transaction)
        for record in opened.records:
            if not opened.commits:
                self.topics[record.topic][record.partition].aborted.add(record.offset)
        for topic, partition in places:
            for reader in self.readers:
                reader.appended(topic, partition)
        if opened.commits:
            for record in opened.records:
                self._tell(record)

    def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        place: int,
        *,
        rng: random.Random | None = None,
        again: Callable[[], object] | None = None,
    ) -> None:
        """Have another program's record written, now or when the broker can be reached.

        With rng it is written in a transaction, which is committed or aborted later; after one
        that was aborted, `again` is called, or the writer leaves it at that.
        """
        partition = place % len(self.topics[topic])
        if rng is not None and self.can_write(topic, partition):
            transaction = self.begin(commits=rng.random() < 0.7)
            self.append(topic, partition, key, value, transaction=transaction)
            seconds = rng.choice((0.01, 0.1, 0.5)) * rng.uniform(0.2, 2.0)
            self._loop.happen(seconds, self.end, transaction)
            aborted = not self._open[transaction].commits
            if aborted and again is not None and rng.random() < 0.7:
                self._loop.happen(seconds + rng.uniform(0.005, 0.3), again)
            return
        self._publish(_Held(topic, partition, key, value, self._loop.time()))

    def _publish(self, held: _Held) -> None:
        if self.can_write(held.topic, held.partition):
            self.append(held.topic, held.partition, held.key, held.value, made_at=held.made_at)
        else:
            self._held.append(held)

    # ---------------------------------------------------------------------------- faults

    def away(self, state: Broker, seconds: float) -> None:
        """Be away for so long."""
        if self.state is not Broker.UP:
            return
        self.state = state
        self.away_until = math.inf
        self._journal.write("Kafka", "Kafka", f"! the broker {state.value}")
        if state is Broker.REFUSES:
            self._break_questions()
        self._loop.happen(seconds, self.come_back)

    def come_back(self) -> None:
        """The broker answers again, and what was sent to it while it hung is answered first."""
        if self.state is Broker.UP:
            return
        self.state = Broker.UP
        self.away_until = self._loop.time()
        self._journal.write("Kafka", "Kafka", "! the broker is back")
        parked, self._parked = self._parked, []
        for future, read in parked:
            self._arrive(future, read)
        self._go_on()

    def lose_leader(self, topic: str, partition: int, seconds: float) -> None:
        """A partition is without a leader for so long."""
        log = self.topics[topic][partition]
        log.led = False
        self._journal.write("Kafka", "Kafka", f"! {topic}[{partition}] has no leader")
        self._loop.happen(seconds, self._lead, log)

    def _lead(self, log: Log) -> None:
        if not log.led:
            log.led = True
            log.elect()
        self._go_on()

    def cut(self, topic: str, partition: int, offset: int, *, epochs: int) -> tuple[Record, ...]:
        """A leader without what was written from this offset on is elected, so many epochs later.

        Returns:
            The records that are lost.
        """
        log = self.topics[topic][partition]
        lost = log.cut(offset, epochs)
        self.cuts.add(topic)
        text = f"! {topic}[{partition}] loses {len(lost)} records from {offset} on"
        self._journal.write("Kafka", "Kafka", f"{text}, epoch {log.epoch}")
        for reader in self.readers:
            reader.cut(topic, partition)
        for follow in self.on_cut:
            follow(topic, partition, offset)
        return tuple(lost)

    def remove(self, topic: str, partition: int, offsets: Collection[int]) -> None:
        """Have these records compacted away."""
        log = self.topics[topic][partition]
        log.records = [record for record in log.records if record.offset not in offsets]

    def heal(self) -> None:
        """Everything works again."""
        self.lag.clear()
        self.pace.clear()
        for logs in self.topics.values():
            for log in logs:
                if not log.led:
                    log.led = True
                    log.elect()
        for reader in self.readers:
            reader.hurry()
        self.come_back()
        for transaction in tuple(self._open):
            self.end(transaction)
        self._go_on()

    def _go_on(self) -> None:
        for reader in tuple(self.readers):
            reader.back()
        held, self._held = self._held, []
        for one in held:
            self._publish(one)

    # ------------------------------------------------------------------------- questions

    def ask(self, future: asyncio.Future[Any], read: Callable[[], Any]) -> None:
        """Have a client's question answered with what `read` says when it arrives."""
        self._loop.happen(self.delay(), self._arrive, future, read)

    def _arrive(self, future: asyncio.Future[Any], read: Callable[[], Any]) -> None:
        if future.done():
            return
        if self.state is Broker.HANGS:
            self._parked.append((future, read))
        elif self.state is Broker.REFUSES:
            self._loop.happen(self.delay(), _fail, future, KafkaConnectionError("refused"))
        else:
            self._loop.happen(self.delay(), _answer, future, read())

    def _break_questions(self) -> None:
        parked, self._parked = self._parked, []
        for future, _ in parked:
            _fail(future, KafkaConnectionError("reset"))


def _answer(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may not wait any more


def _name(key: bytes | None) -> str:
    return (key or b"")[-4:].decode("ascii", "replace")
