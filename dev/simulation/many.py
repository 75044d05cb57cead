"""Many runs, over all cores, and what they came to."""

from __future__ import annotations

import gc
import heapq
import multiprocessing
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from dev.simulation.world import Result, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

_CHUNK = 25
_COLLECT = 5
_SLOWEST = 5


@dataclass
class Summary:
    """What many runs came to; they add up.

    Attributes:
        seeds: how many runs.
        takedowns: requests that got an answer.
        statuses: answers by status.
        faults: how often each kind struck.
        met: in how many runs each kind struck.
        failed: the runs that broke an invariant.
        slowest: the slowest answers: seconds, seed.
        simulated: seconds of the worlds' time.
        busy: seconds that a core was busy with them.
    """

    seeds: int = 0
    takedowns: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    failed: list[Result] = field(default_factory=list)
    slowest: list[tuple[float, int]] = field(default_factory=list)
    simulated: float = 0.0
    busy: float = 0.0

    def take(self, result: Result) -> None:
        """Add one run."""
        self.seeds += 1
        self.takedowns += result.takedowns
        self.statuses.update(result.statuses)
        self.faults.update(result.faults)
        self.met.update(result.faults.keys())
        if result.violations:
            self.failed.append(result)
        self.slowest.append((result.slowest, result.seed))
        self.simulated += result.simulated
        self._shorten()

    def add(self, other: Summary) -> None:
        """Add what other runs came to."""
        self.seeds += other.seeds
        self.takedowns += other.takedowns
        self.statuses.update(other.statuses)
        self.faults.update(other.faults)
        self.met.update(other.met)
        self.failed += other.failed
        self.slowest += other.slowest
        self.simulated += other.simulated
        self.busy += other.busy
        self._shorten()

    def _shorten(self) -> None:
        self.slowest = heapq.nlargest(_SLOWEST, self.slowest)

    def table(self) -> str:
        """For people to read."""
        rate = self.takedowns / self.busy if self.busy else 0.0
        answers = ", ".join(f"{n:,} x {status}" for status, n in sorted(self.statuses.items()))
        slowest = ", ".join(f"{seconds:.2f} s (seed {seed})" for seconds, seed in self.slowest)
        lines = [
            f"seeds        {self.seeds:,}",
            f"takedowns    {self.takedowns:,}",
            f"per second   {rate:,.0f} on one core",
            f"simulated    {self.simulated / 3600:,.1f} h",
            f"answers      {answers}",
            f"slowest      {slowest}",
            f"failed       {len(self.failed):,}",
            "",
            f"{'fault':<22}{'struck':>12}{'seeds':>10}",
        ]
        lines += [
            f"{kind:<22}{struck:>12,}{self.met[kind]:>10,}"
            for kind, struck in sorted(self.faults.items())
        ]
        return "\n".join(lines)


def run_seeds(first: int, number: int) -> Summary:
    """Run so many seeds, from the first one on, in this process."""
    summary = Summary()
    began = time.process_time()
    for seed in range(first, first + number):
        summary.take(World(seed).run())
        if seed % _COLLECT == 0:
            gc.collect()  # not while one runs: that takes longer, and at any time
    summary.busy = time.process_time() - began
    return summary


def run_many(
    *,
    first: int,
    seeds: int | None,
    seconds: float | None,
    jobs: int,
    progress: Callable[[Summary], None],
) -> Summary:
    """Run seeds over several processes.

    Args:
        first: the first seed.
        seeds: how many; None: as many as there is time for.
        seconds: how long, at most; None: as long as it takes.
        jobs: how many processes.
        progress: told now and then what they came to so far.
    """
    total = Summary()
    ends = None if seconds is None else time.monotonic() + seconds
    starts = count(first, _CHUNK) if seeds is None else iter(range(first, first + seeds, _CHUNK))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        running: set[Future[Summary]] = set()
        while True:
            while len(running) < 2 * jobs and (ends is None or time.monotonic() < ends):
                start = next(starts, None)
                if start is None:
                    break
                number = _CHUNK if seeds is None else min(_CHUNK, first + seeds - start)
                running.add(pool.submit(run_seeds, start, number))
            if not running:
                return total
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                total.add(future.result())
            progress(total)
