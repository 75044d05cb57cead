"""Kafka's side: topics, their logs, and a broker that may be away.

One broker is enough: whatever a larger cluster does to a client (a leader that is not there, one
that takes no writes, partitions that come) can be done to a partition here.
"""

from __future__ import annotations

import base64
import math
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiokafka.errors import KafkaConnectionError

from simulation.faults import Fault
from simulation.loop import EPOCH, START

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from simulation.faults import Faults
    from simulation.journal import Journal
    from simulation.loop import SimulatedLoop


_EPOCH = round(EPOCH.timestamp() * 1000)

_QUICK = 0.98
"""The share of what travels over the network that does so without a hitch."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, as aiokafka's ConsumerRecord shows it; `at` is the loop's time of its writing.

    Its `timestamp` is the wall clock's, in milliseconds.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    at: float
    timestamp: int


@dataclass(slots=True)
class Log:
    """One partition. Offsets between records are markers; `led`: it has a leader."""

    start: int = 0
    end: int = 0
    records: list[Record] = field(default_factory=list)
    led: bool = True

    def since(self, offset: int, before: int) -> list[Record]:
        """Records from one offset until before another."""
        found = []
        for record in reversed(self.records):
            if record.offset < offset:
                break
            if record.offset < before:
                found.append(record)
        found.reverse()
        return found


class _Held(NamedTuple):
    """A record that its producer holds until the broker can be reached."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    made_at: float


class Reader(Protocol):
    """A consumer's side of the network."""

    def appended(self, topic: str, partition: int) -> None:
        """A log has grown."""

    def back(self) -> None:
        """The broker answers again."""

    def hurry(self) -> None:
        """What was to be read late is read now."""


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
    """

    def __init__(self, loop: SimulatedLoop, faults: Faults, journal: Journal, seed: int) -> None:
        self._loop = loop
        self._faults = faults
        self._journal = journal
        self._dice = random.Random(f"{seed} network")
        self.topics: dict[str, list[Log]] = {}
        self.ids: dict[str, bytes] = {}
        self.cluster_id = "simulated"
        self.state = Broker.UP
        self.lag: dict[str, float] = {}
        self.readers: list[Reader] = []
        self.followers: dict[str, list[Callable[[Record], None]]] = {}
        self._parked: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []
        self._held: list[_Held] = []

    def delay(self) -> float:
        """Seconds that something takes over the network, one way."""
        chance = self._dice.random()
        # Most are quick, and now and then one is not.
        return 0.0005 + (0.004 * chance if chance < _QUICK else (chance - _QUICK) * 3.0)

    # ---------------------------------------------------------------------------- topics

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""
        self.topics[topic] = [Log() for _ in range(partitions)]
        self.ids[topic] = self._dice.randbytes(16)

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
    ) -> Record:
        """Write one record, whoever asks, whatever the broker's state.

        `made_at` is the loop's time at which its producer was given it, if that was earlier.
        """
        log = self.topics[topic][partition]
        if (dice := self._faults.strikes(Fault.OFFSETS_JUMP, topic, _name(key))) is not None:
            log.end += dice.randint(1, 5)
        at = self._loop.time()
        # As producers' clocks have it: whole milliseconds, cut off.
        stamp = _EPOCH + math.floor(((at if made_at is None else made_at) - START) * 1000)
        record = Record(topic, partition, log.end, key, value, headers, at, stamp)
        log.records.append(record)
        log.end += 1
        for reader in self.readers:
            reader.appended(topic, partition)
        for follow in self.followers.get(topic, ()):
            follow(record)
        return record

    def publish(self, topic: str, key: bytes | None, value: bytes | None, place: int) -> None:
        """Have another program's record written, now or when the broker can be reached."""
        partition = place % len(self.topics[topic])
        self._publish(_Held(topic, partition, key, value, self._loop.time()))

    def _publish(self, held: _Held) -> None:
        if self.state is Broker.UP and self.topics[held.topic][held.partition].led:
            self.append(held.topic, held.partition, held.key, held.value, made_at=held.made_at)
        else:
            self._held.append(held)

    # ---------------------------------------------------------------------------- faults

    def away(self, state: Broker, seconds: float) -> None:
        """Be away for so long."""
        if self.state is not Broker.UP:
            return
        self.state = state
        self._journal.write("Kafka", "Kafka", f"! the broker {state.value}")
        if state is Broker.REFUSES:
            self._break_questions()
        self._loop.happen(seconds, self.come_back)

    def come_back(self) -> None:
        """The broker answers again, and what was sent to it while it hung is answered first."""
        if self.state is Broker.UP:
            return
        self.state = Broker.UP
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
        log.led = True
        self._go_on()

    def heal(self) -> None:
        """Everything works again."""
        self.lag.clear()
        for logs in self.topics.values():
            for log in logs:
                log.led = True
        for reader in self.readers:
            reader.hurry()
        self.come_back()
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
