"""Rates and the last minutes: counters are looked at once a second, and subtracted.

Nothing is added to what a takedown costs: every counter is there anyway.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from msgspec import Struct

from operations.observation.histogram import Histogram, difference, quantile
from operations.observation.schemas.history import (
    History,
    HistoryBucket,
    Latency,
    PerSecond,
    Phases,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from operations.observation.clock import Clock
    from operations.observation.history import Key

RATE_SECONDS = 10
MINUTE_SECONDS = 60
BUCKET_SECONDS = 5
BUCKETS = 180


class Counters(Struct, frozen=True):
    """Every counter at one moment of the loop's clock.

    Attributes:
        at: when.
        outcomes: takedowns ended, by outcome.
        durations: their histogram, all outcomes together.
        located: how long the catalogue took.
        acknowledged: how long Kafka's acknowledgements took.
        deleted: how long the last deletion took.
        arrows: transitions by arrow.
        read: records read, by topic.
        accepted: takedowns begun.
        rejected: takedowns not begun.
        published: delete requests acknowledged.
        events: deletions read.
        matched: deletions that somebody waited for.
        in_flight: takedowns in flight; no counter, but of the same moment.
    """

    at: float
    outcomes: dict[str, int]
    durations: list[int]
    located: list[int]
    acknowledged: list[int]
    deleted: list[int]
    arrows: dict[Key, int]
    read: dict[str, int]
    accepted: int
    rejected: int
    published: int
    events: int
    matched: int
    in_flight: int


class Sampling:
    """Keeps the counters of the last minute, and buckets of the last quarter of an hour.

    Args:
        take: looks at every counter.
        clock: labels.
    """

    def __init__(self, take: Callable[[], Counters], clock: Clock) -> None:
        self._take = take
        self._clock = clock
        self._samples: deque[Counters] = deque([take()], maxlen=MINUTE_SECONDS + 1)
        self._bucket_from = self._samples[0]
        self._buckets: deque[tuple[float, HistoryBucket]] = deque(maxlen=BUCKETS)
        self._lags: deque[tuple[float, float]] = deque(maxlen=MINUTE_SECONDS)
        self._worst = 0.0
        self.lags = Histogram()

    def tick(self, lag: float) -> None:
        """Once a second; `lag` seconds too late."""
        sample = self._take()
        self._samples.append(sample)
        self._lags.append((sample.at, lag))
        self.lags.observe(lag)
        self._worst = max(self._worst, lag)
        if sample.at - self._bucket_from.at >= BUCKET_SECONDS - 0.5:
            self._buckets.append((sample.at, self._bucket(self._bucket_from, sample)))
            self._bucket_from = sample
            self._worst = 0.0

    def _bucket(self, before: Counters, now: Counters) -> HistoryBucket:
        return HistoryBucket(
            at=self._clock.label(now.at),
            seconds=now.at - before.at,
            outcomes=_less(now.outcomes, before.outcomes),
            rejected=now.rejected - before.rejected,
            in_flight=now.in_flight,
            events_read=now.events - before.events,
            events_matched=now.matched - before.matched,
            latency=latency(difference(now.durations, before.durations)),
            lag_max_seconds=self._worst,
        )

    # ------------------------------------------------------------------------- looking

    @property
    def lag(self) -> float:
        """How late the last tick came."""
        return self._lags[-1][1] if self._lags else 0.0

    @property
    def worst_lag(self) -> float:
        """How late the latest tick of the last minute came."""
        since = self._clock.now() - MINUTE_SECONDS
        return max((lag for at, lag in self._lags if at >= since), default=0.0)

    def _since(self, seconds: float) -> Counters:
        """The oldest sample of the last `seconds`, or the newest that there is."""
        first = self._clock.now() - seconds - 0.5
        return next((s for s in self._samples if s.at >= first), self._samples[-1])

    def per_second(self) -> PerSecond:
        """Rates over the last ten seconds."""
        before, now = self._since(RATE_SECONDS), self._samples[-1]

        def rate(later: int, earlier: int) -> float:
            return _rate(later - earlier, now.at - before.at)

        return PerSecond(
            accepted=rate(now.accepted, before.accepted),
            rejected=rate(now.rejected, before.rejected),
            answered=rate(sum(now.outcomes.values()), sum(before.outcomes.values())),
            published=rate(now.published, before.published),
            events_read=rate(now.events, before.events),
            events_matched=rate(now.matched, before.matched),
            transitions=rate(sum(now.arrows.values()), sum(before.arrows.values())),
        )

    def arrows_per_second(self) -> dict[Key, float]:
        """Rates of each arrow over the last ten seconds."""
        before, now = self._since(RATE_SECONDS), self._samples[-1]
        return {
            key: _rate(count - before.arrows.get(key, 0), now.at - before.at)
            for key, count in now.arrows.items()
        }

    def read_per_second(self) -> dict[str, float]:
        """Records read of each topic over the last ten seconds."""
        before, now = self._since(RATE_SECONDS), self._samples[-1]
        return {
            topic: _rate(count - before.read.get(topic, 0), now.at - before.at)
            for topic, count in now.read.items()
        }

    def last_minute(self) -> tuple[dict[str, int], Latency, Phases]:
        """Outcomes, latency and phases of the last minute."""
        before, now = self._since(MINUTE_SECONDS), self._take()
        return (
            _less(now.outcomes, before.outcomes),
            latency(difference(now.durations, before.durations)),
            Phases(
                located=latency(difference(now.located, before.located)),
                acknowledged=latency(difference(now.acknowledged, before.acknowledged)),
                deleted=latency(difference(now.deleted, before.deleted)),
            ),
        )

    def history(self, minutes: int) -> History:
        """The buckets of so many minutes, oldest first."""
        since = self._clock.now() - minutes * 60
        return History(buckets=tuple(bucket for at, bucket in self._buckets if at > since))


def latency(counts: Sequence[int]) -> Latency:
    """What a histogram's counts say."""
    return Latency(
        count=sum(counts),
        p50_seconds=quantile(counts, 0.5),
        p90_seconds=quantile(counts, 0.9),
        p99_seconds=quantile(counts, 0.99),
    )


def _rate(count: int, seconds: float) -> float:
    return max(0.0, count / seconds) if seconds > 0 else 0.0


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(now) - Counter(before))
