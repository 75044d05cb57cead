"""What goes wrong in one run: drawn from its seed, by kind, and each by a name of its own.

A run draws which kinds there are at all, so that each is met alone and in company. A fault's name
says what it struck, such as `event-lost:0004-c1`, or that it is the first of those that come at a
time of their own, such as `paused#0`. Whether and how one strikes depends on the seed and its name
only, and on no other fault, so that a failing run can be repeated with some of its faults and
without the others.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Fault(StrEnum):
    """Every kind; its value is its name in summaries and on the command line."""

    # Requests on their way to Kafka.
    ACK_DELAYED = "ack-delayed"
    ACK_AFTER_EVENT = "ack-after-event"
    ACK_LOST = "ack-lost"
    ACK_FAILED = "ack-failed"
    ACK_FAILED_WRITTEN = "ack-failed-written"
    SLOW_HAND_OVER = "slow-hand-over"
    PRODUCER_DIED = "producer-died"
    # Deletions on their way back.
    EVENT_LOST = "event-lost"
    EVENT_DELAYED = "event-delayed"
    EVENT_LATE = "event-late"
    EVENT_DUPLICATED = "event-duplicated"
    EVENT_REORDERED = "event-reordered"
    EVENT_FOREIGN = "event-foreign"
    EVENT_NOT_ASKED = "event-not-asked"
    POISON = "poison"
    # Readers.
    READER_STALLED = "reader-stalled"
    READER_LAGS = "reader-lags"
    READER_LOST = "reader-lost"
    PARTITION_LAGS = "partition-lags"
    OFFSETS_JUMP = "offsets-jump"
    RECORDS_AGAIN = "records-again"
    # The catalogue.
    CATALOGUE_BEHIND = "catalogue-behind"
    LIST_CHANGED = "list-changed"
    ITEM_REPUBLISHED = "item-republished"
    ITEM_GONE = "item-gone"
    PUBLISHED_LATE = "published-late"
    LISTED_ELSEWHERE = "listed-elsewhere"
    # Brokers.
    BROKER_REFUSES = "broker-refuses"
    BROKER_HANGS = "broker-hangs"
    NO_LEADER = "no-leader"
    PARTITIONS_ADDED = "partitions-added"
    # Our own process.
    CENSOR_CRASHED = "censor-crashed"
    COORDINATOR_CRASHED = "coordinator-crashed"
    PAUSED = "paused"
    DRAINED = "drained"
    KILLED = "killed"
    OBSERVER_RAISES = "observer-raises"
    OBSERVER_STALLS = "observer-stalls"
    # Callers.
    CALLER_HANGS_UP = "caller-hangs-up"
    CALLER_REPEATS = "caller-repeats"
    SAME_ITEM = "same-item-together"
    RUSH = "rush"
    OVERLOAD = "overload"
    SHORT_WAIT = "short-wait"
    # Moments at which our own process is stopped.
    PAUSED_AT_ANSWER = "paused-at-answer"
    PAUSED_MIDWAY = "paused-midway"
    SLOWED = "slowed"
    # What others write is right, and not as we would write it.
    OTHER_SPELLING = "other-spelling"
    LISTED_TWICE = "listed-twice"
    CLOCK_WRONG = "clock-wrong"
    # What is fine by itself and refused in company.
    BATCH_TOO_LARGE = "batch-too-large"
    # What happens to topics without a client being told.
    LIST_BEHIND = "list-behind"
    TRANSACTION = "transaction"
    TRANSACTION_HANGS = "transaction-hangs"
    LOG_CUT = "log-cut"
    UNDECODABLE = "undecodable"
    DELETION_REPLAYED = "deletion-replayed"
    LONG_STOP = "long-stop"
    # One request of a takedown is refused while the others are not answered.
    ONE_REFUSED = "one-refused"


_PER_OPERATION: dict[Fault, float] = {
    Fault.ACK_DELAYED: 0.1,
    Fault.ACK_AFTER_EVENT: 0.2,
    Fault.ACK_LOST: 0.06,
    Fault.ACK_FAILED: 0.05,
    Fault.ACK_FAILED_WRITTEN: 0.05,
    Fault.SLOW_HAND_OVER: 0.05,
    Fault.EVENT_LOST: 0.06,
    Fault.EVENT_DELAYED: 0.1,
    Fault.EVENT_LATE: 0.08,
    Fault.EVENT_DUPLICATED: 0.2,
    Fault.EVENT_REORDERED: 0.3,
    Fault.EVENT_FOREIGN: 0.2,
    Fault.EVENT_NOT_ASKED: 0.15,
    Fault.POISON: 0.08,
    Fault.OFFSETS_JUMP: 0.05,
    Fault.RECORDS_AGAIN: 0.1,
    Fault.LIST_CHANGED: 0.15,
    Fault.ITEM_REPUBLISHED: 0.1,
    Fault.ITEM_GONE: 0.05,
    Fault.PUBLISHED_LATE: 0.3,
    Fault.LISTED_ELSEWHERE: 0.2,
    Fault.CENSOR_CRASHED: 0.01,
    Fault.COORDINATOR_CRASHED: 0.004,
    Fault.OBSERVER_RAISES: 0.05,
    Fault.OBSERVER_STALLS: 0.01,
    Fault.CALLER_HANGS_UP: 0.1,
    Fault.CALLER_REPEATS: 0.15,
    Fault.SAME_ITEM: 0.1,
    Fault.RUSH: 0.05,
    Fault.SHORT_WAIT: 0.2,
    Fault.PAUSED_AT_ANSWER: 0.02,
    Fault.OTHER_SPELLING: 0.15,
    Fault.LISTED_TWICE: 0.15,
    Fault.CLOCK_WRONG: 0.15,
    Fault.BATCH_TOO_LARGE: 0.15,
    Fault.TRANSACTION: 0.1,
    Fault.UNDECODABLE: 0.1,
    Fault.DELETION_REPLAYED: 0.15,
    Fault.ONE_REFUSED: 0.2,
}
"""How often those strike that are met by the way, for each operation that they can strike."""

_PLANNED: dict[Fault, int] = {
    Fault.PRODUCER_DIED: 1,
    Fault.READER_STALLED: 2,
    Fault.READER_LAGS: 3,
    Fault.READER_LOST: 2,
    Fault.PARTITION_LAGS: 3,
    Fault.CATALOGUE_BEHIND: 3,
    Fault.BROKER_REFUSES: 2,
    Fault.BROKER_HANGS: 2,
    Fault.NO_LEADER: 2,
    Fault.PARTITIONS_ADDED: 2,
    Fault.PAUSED: 3,
    Fault.PAUSED_MIDWAY: 3,
    Fault.SLOWED: 2,
    Fault.DRAINED: 2,
    Fault.KILLED: 1,
    Fault.OVERLOAD: 1,
    Fault.LIST_BEHIND: 3,
    Fault.TRANSACTION_HANGS: 2,
    Fault.LOG_CUT: 2,
    Fault.LONG_STOP: 1,
}
"""How many there may be, at most, of those that come at a time of their own."""

_COMPANY = (0.03, 0.1, 0.25, 0.5)
"""In how much company faults come: the share of all kinds that a run has."""

_ALL_WELL = 0.05
"""The share of runs in which nothing goes wrong."""

_HOW_OFTEN = (0.25, 1.0, 1.0, 5.0)
_AT_MOST = 0.5
"""How often a kind strikes in one run: so many times the usual rate, and no more than this."""

_WHOLE = 2**32

assert set(_PER_OPERATION) | set(_PLANNED) == set(Fault)


class Faults:
    """The faults of one run.

    Args:
        seed: of the run.
        keep: only these may strike, by name; None: all that the seed says.
        only: only these kinds may strike at all, and do; None: those that the seed says.
    """

    def __init__(
        self,
        seed: int,
        *,
        keep: Collection[str] | None = None,
        only: Collection[Fault] | None = None,
    ) -> None:
        self._seed = seed
        self._keep = None if keep is None else frozenset(keep)
        self.kinds = _draw(seed) if only is None else tuple(only)
        self.struck: Counter[Fault] = Counter()
        self.names: list[str] = []
        self.over = False
        rng = random.Random(f"{seed} how often")
        self._rates = {
            kind: round(min(_PER_OPERATION[kind] * rng.choice(_HOW_OFTEN), _AT_MOST) * _WHOLE)
            for kind in self.kinds
            if kind in _PER_OPERATION
        }
        self._met: Counter[str] = Counter()

    def strikes(self, kind: Fault, *what: object) -> random.Random | None:
        """Whether this kind strikes the operation that is about to be done.

        Args:
            kind: which.
            what: the operation; the same words for the same one, whatever else happens.

        Returns:
            An rng for how it strikes, or None.
        """
        rate = self._rates.get(kind)
        if rate is None or self.over:
            return None
        name = f"{kind.value}:{'-'.join(map(str, what))}"
        number = self._met[name]
        self._met[name] = number + 1
        if number:
            name = f"{name}#{number}"
        if zlib.crc32(f"{self._seed} {name}".encode()) >= rate:
            return None
        return self._take(kind, name)

    def _take(self, kind: Fault, name: str) -> random.Random | None:
        if self._keep is not None and name not in self._keep:
            return None
        self.struck[kind] += 1
        self.names.append(name)
        return random.Random(f"{self._seed} {name}")

    def planned(self) -> Iterator[tuple[Fault, random.Random]]:
        """Those that come at a time of their own, each with an rng for its time and strength."""
        for kind in self.kinds:
            most = _PLANNED.get(kind)
            if most is None:
                continue
            count = random.Random(f"{self._seed} {kind.value}").randint(1, most)
            for number in range(count):
                rng = self._take(kind, f"{kind.value}#{number}")
                if rng is not None:
                    yield kind, rng

    def kept(self, name: str) -> bool:
        """Whether something that is no fault, such as a caller's request, is to be kept."""
        return self._keep is None or name in self._keep


def _draw(seed: int) -> tuple[Fault, ...]:
    """Which kinds of fault a run has."""
    rng = random.Random(f"{seed} which faults")
    share = rng.choice(_COMPANY) if rng.random() >= _ALL_WELL else 0.0
    drawn = tuple(kind for kind in Fault if rng.random() < share)
    if share and not drawn:
        return (rng.choice(tuple(Fault)),)
    return drawn
