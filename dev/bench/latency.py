"""Latency against load: both servers in turns, each round beside one of the other's.

Where there are two cores, the servers have one for themselves, and load, responder and broker the
other: for both servers alike, in the closed loop that finds the saturating load, too. The generator
goes before everybody else on its core, if it may.
"""

from __future__ import annotations

import os
import statistics
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from dev.bench.__main__ import Plan, one_round
from dev.bench.load import LAST_ANSWERS
from dev.bench.open_loop import OpenMeasured
from dev.bench.pinning import can_pin, pinned
from dev.bench.processes import BenchError, output_of, python
from dev.bench.report import MINIMAL, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dev.bench.__main__ import Server

NICE = -10
SPARE = 15.0
HALF = 0.5
CLOSED_ROUNDS = 3

LOADS: Mapping[float, int] = {0.1: 3, 0.25: 3, HALF: 5, 0.75: 3, 0.9: 3}
"""Shares of the load at which the slower of the two servers is saturated, and rounds at each."""


@dataclass(frozen=True, slots=True)
class OpenRound:
    """One server's round at a share of the saturating load."""

    server: str
    load: float
    measured: OpenMeasured


@dataclass(frozen=True, slots=True)
class Latencies:
    """All rounds.

    Attributes:
        saturated: requests a second that the slower of the two carries.
        pinned: whether the servers had a core for themselves.
        rounds: in the order of time, so that each server's n-th at a load are neighbours.
    """

    saturated: float
    pinned: bool
    rounds: Sequence[OpenRound]

    @property
    def loads(self) -> list[float]:
        return sorted({one.load for one in self.rounds})

    def each(self, server: str, load: float, figure: str) -> list[float]:
        """A figure of every round of a server at a load."""
        return [
            float(getattr(one.measured, figure))
            for one in self.rounds
            if (one.server, one.load) == (server, load)
        ]

    def median(self, server: str, load: float, figure: str) -> float:
        return statistics.median(self.each(server, load, figure))

    def added_ms(self, load: float, figure: str) -> list[float]:
        """Milliseconds by which the service is slower, round by round."""
        pairs = zip(self.each(SERVICE, load, figure), self.each(MINIMAL, load, figure), strict=True)
        return [(service - minimal) * 1e3 for service, minimal in pairs]


async def measure(
    service: Server,
    minimal: Server,
    others: Sequence[int],
    *,
    plan: Plan,
    containers: int,
    seconds: float,
    loads: Mapping[float, int] = LOADS,
    may_pin: bool = True,
) -> Latencies:
    """Find the saturating load, and the latencies at shares of it.

    Args:
        others: the processes beside the servers (responder, broker).
        plan: of the closed loop; its warm-up is the open one's, too.
        seconds: of one round of the open one.
        loads: shares of the saturating load, and rounds at each.
        may_pin: have the servers apart from the rest, if possible.

    Raises:
        BenchError: one gave another answer than a right 200, or did not answer.
    """
    pair = (service, minimal)
    with apart([server.child.pid for server in pair], others, may_pin=may_pin) as pinned_:
        closed: dict[str, list[float]] = {server.name: [] for server in pair}
        for number in range(CLOSED_ROUNDS):
            for server in pair if number % 2 == 0 else reversed(pair):
                measured = await one_round(server, plan, containers, plan.warm_up, "")
                closed[server.name].append(measured.per_second)
        saturated = min(map(statistics.median, closed.values()))
        say(f"{saturated:.0f} requests a second saturate the slower one")
        found: list[OpenRound] = []
        for load, rounds in loads.items():
            for number in range(rounds):
                for server in pair if number % 2 == 0 else reversed(pair):
                    one = await open_round(
                        server,
                        saturated * load,
                        seed=10 * number + 1,
                        plan=plan,
                        containers=containers,
                        seconds=seconds,
                    )
                    found.append(OpenRound(server.name, load, one))
                    say(
                        f"{load:.0%} load, round {number + 1}, {server.name:8}: p50 "
                        f"{one.p50 * 1e3:.2f} ms, p99 {one.p99 * 1e3:.2f} ms, sent late "
                        f"{one.late_p50 * 1e3:.2f} and {one.late_p99 * 1e3:.2f} ms"
                    )
    return Latencies(saturated, pinned_, found)


async def open_round(
    server: Server, rate: float, *, seed: int, plan: Plan, containers: int, seconds: float
) -> OpenMeasured:
    """One round of the open loop; the same seed sends at the same times."""
    output = await output_of(
        python(
            "dev.bench.open_loop",
            port=server.port,
            pid=server.child.pid,
            containers=containers,
            items=plan.items,
            rate=rate,
            warm_up=plan.warm_up,
            seconds=seconds,
            seed=seed,
            nice=NICE,
        ),
        within=plan.warm_up + seconds + LAST_ANSWERS + SPARE,
    )
    measured = msgspec.json.decode(output, type=OpenMeasured)
    if measured.errors or not measured.answered:
        raise BenchError(
            f"{server.name} at {rate:.0f} requests a second gave {measured.answered} good answers "
            f"and these others: {measured.errors}\n{server.child.tail()}"
        )
    return measured


@contextmanager
def apart(servers: Sequence[int], others: Sequence[int], *, may_pin: bool) -> Iterator[bool]:
    """The servers on the second core, these others and what we start on the first, if possible.

    Yields whether it is.
    """
    if not (may_pin and can_pin()):
        yield False
        return
    with pinned({**dict.fromkeys(servers, 1), **dict.fromkeys([os.getpid(), *others], 0)}):
        yield True


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
