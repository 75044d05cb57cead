"""How much more two workers carry than one: the service with `--workers 1, 2, ...`, alternately.

On a small machine the workers have no cores of their own: broker, responder and load take theirs
from the same ones. So throughput as it is says little, and two other figures are given.

- *Accounted*: what the workers' CPU pays for. A worker that has a core for itself answers
  `answers / its CPU seconds` each second; so many times as many as there are workers, and divided
  by what it is for one worker. It holds as long as the workers wait for nothing that they share,
  and the supervisor's CPU is shown beside it. `busiest` takes the worker with the most CPU for all:
  the kernel deals out connections by chance.
- *Throttled* (`--throttle 0.3`, Linux control groups, needs root): each process of the service may
  use so much of a core and no more, which leaves enough for everything else. Then throughput as it
  is, is the figure.

    python -m bench.workers --workers 1,2 --containers 3 --throttle 0.3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import urllib.request
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.items import Topics
from bench.load import LAST_ANSWERS, SERVER, Measured
from bench.processes import HOST, BenchError, Child, free_port, output_of, python
from bench.report import machine
from bus.embedded import FETCH_MAX_WAIT, EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

APACHE_FETCH_MAX_WAIT = 0.5
SPARE = 15.0
PERIOD_US = 10_000
GROUPS = Path("/sys/fs/cgroup")
SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs.

    Attributes:
        workers: how many.
        port: the callers' door.
        pids: its processes, workers first, by name.
    """

    workers: int
    port: int
    pids: dict[str, int]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one service.

    Attributes:
        answered: good answers.
        seconds: length of the window.
        cpu: CPU seconds of each worker.
        supervisor: the supervisor's.
    """

    answered: int
    seconds: float
    cpu: tuple[float, ...]
    supervisor: float

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds

    @property
    def accounted(self) -> float:
        """Answers a second if each worker had a core, and callers came evenly."""
        return len(self.cpu) * self.answered / sum(self.cpu)

    @property
    def busiest(self) -> float:
        """Answers a second until the busiest worker's core is full."""
        return self.answered / max(self.cpu)


class Throttle:
    """Control groups that bound the CPU of processes, one for each.

    Args:
        share: of a core.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._made: list[Path] = []

    def bound(self, pid: int) -> None:
        """Bound a process, with all its threads.

        Raises:
            BenchError: there are no control groups that we may change.
        """
        quota = round(self._share * PERIOD_US)
        first = (GROUPS / "cpu").is_dir()
        group = (GROUPS / "cpu" if first else GROUPS) / f"takedown-bench-{pid}"
        try:
            group.mkdir()
            self._made.append(group)
            if first:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise BenchError(
                f"--throttle needs control groups that we may change: {error}"
            ) from error

    def remove(self) -> None:
        """Remove the groups, whose processes must have ended."""
        while self._made:
            self._made.pop().rmdir()


@contextmanager
def throttled(share: float | None) -> Iterator[Throttle | None]:
    """Groups that are gone after the block."""
    if share is None:
        yield None
        return
    throttle = Throttle(share)
    try:
        yield throttle
    finally:
        throttle.remove()


def name_of(workers: int) -> str:
    return f"workers-{workers}"


async def start(
    stack: AsyncExitStack,
    workers: int,
    topics: Topics,
    logs: Path,
    *,
    bootstrap: str,
    fetch_max_wait: float,
) -> Service:
    """Start a service and wait until it is ready."""
    name, port, admin_port = name_of(workers), free_port(), free_port()
    environment = {
        "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "TAKEDOWN_KAFKA_FETCH_MAX_WAIT": f"{fetch_max_wait:g}",
        "TAKEDOWN_HTTP_PORT": str(port),
        "TAKEDOWN_ADMIN_PORT": str(admin_port),
        "TAKEDOWN_TOPIC_ITEM_PUBLISHED": topics.item_published,
        "TAKEDOWN_TOPIC_ITEM_REPORTED": topics.item_reported(name),
        "TAKEDOWN_TOPIC_ITEM_DELETED": topics.item_deleted(name),
        "TAKEDOWN_CATALOGUE_FOLDER": str(logs / name),
        "TAKEDOWN_LOG_FORMAT": "json",
        "TAKEDOWN_WORKERS": str(workers),
    }
    command = [sys.executable, "-m", "service", "serve"]
    child = await stack.enter_async_context(Child(name, command, logs / f"{name}.log", environment))
    await child.until_ready(admin_port)
    if workers == 1:
        return Service(workers, port, {"worker-0": child.pid})
    listed = await asyncio.to_thread(_listed, admin_port)
    return Service(workers, port, listed | {SUPERVISOR: child.pid})


def _listed(admin_port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{HOST}:{admin_port}/workers", timeout=5) as answer:
        return {f"worker-{each['worker']}": each["pid"] for each in json.load(answer)["workers"]}


async def one_round(service: Service, options: argparse.Namespace, warm_up: float) -> Round:
    """Load a service once.

    Raises:
        BenchError: it gave another answer than a right 200.
    """
    output = await output_of(
        python(
            "bench.load",
            port=service.port,
            pid=service.pids["worker-0"],
            containers=options.containers,
            concurrency=options.concurrency,
            warm_up=warm_up,
            seconds=options.seconds,
            watch=",".join(f"{name}={pid}" for name, pid in service.pids.items()),
        ),
        within=warm_up + options.seconds + LAST_ANSWERS + SPARE,
    )
    measured = msgspec.json.decode(output, type=Measured)
    if measured.errors or not measured.answered:
        raise BenchError(f"{name_of(service.workers)}: {measured.errors}")
    cpu = {SERVER: measured.cpu} | measured.others
    workers = tuple(cpu[f"worker-{number}"] for number in range(service.workers))
    return Round(measured.answered, measured.seconds, workers, cpu.get(SUPERVISOR, 0.0))


def table(results: dict[int, list[Round]]) -> str:
    """A row for each number of workers, medians; ratios are to the first."""
    lines = [
        "| workers | CPU us/request | supervisor's | accounted req/s | busiest | as measured |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    first: tuple[float, ...] | None = None
    for workers, rounds in results.items():
        figures = tuple(
            statistics.median(getattr(each, name) for each in rounds)
            for name in ("accounted", "busiest", "per_second")
        )
        first = first or figures
        cpu = statistics.median((sum(r.cpu) + r.supervisor) / r.answered for r in rounds)
        supervisor = statistics.median(r.supervisor / r.answered for r in rounds)
        shown = " | ".join(
            f"{figure:.0f} ({figure / base:.2f})"
            for figure, base in zip(figures, first, strict=True)
        )
        lines.append(f"| {workers} | {cpu * 1e6:.0f} | {supervisor * 1e6:.1f} | {shown} |")
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> None:
    topics = Topics(f"bench-{secrets.token_hex(4)}")
    with throttled(options.throttle) as throttle:
        async with AsyncExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="takedown-bench-")))
            bootstrap, wait = options.bootstrap, APACHE_FETCH_MAX_WAIT
            if bootstrap is None:
                broker = await stack.enter_async_context(EmbeddedBroker())
                bootstrap, wait = broker.address, FETCH_MAX_WAIT
            responder = Child(
                "the responder",
                python(
                    "bench.responder",
                    bootstrap=bootstrap,
                    prefix=topics.prefix,
                    servers=",".join(map(name_of, options.workers)),
                    containers=options.containers,
                    fetch_max_wait_ms=round(wait * 1000),
                ),
                logs / "responder.log",
            )
            await stack.enter_async_context(responder)
            await responder.until_said("ready")
            services = [
                await start(stack, workers, topics, logs, bootstrap=bootstrap, fetch_max_wait=wait)
                for workers in options.workers
            ]
            if throttle is not None:
                for service in services:
                    for pid in service.pids.values():
                        throttle.bound(pid)
            results: dict[int, list[Round]] = {service.workers: [] for service in services}
            for number in range(options.rounds):
                for service in services if number % 2 == 0 else reversed(services):
                    result = await one_round(service, options, 3.0 if number == 0 else 1.0)
                    results[service.workers].append(result)
                    shares = ", ".join(f"{cpu / result.seconds:.0%}" for cpu in result.cpu)
                    print(
                        f"{service.workers} workers, round {number + 1}: "
                        f"{result.per_second:.0f} /s, CPU {shares}",
                        file=sys.stderr,
                    )
    bound = f", each process at most {options.throttle:g} of a core" if throttle else ""
    print(f"{machine(options.bootstrap or 'embedded (Tansu, in memory)')}\n")
    print(
        f"{options.containers} containers, {options.concurrency} callers, medians of "
        f"{options.rounds} rounds of {options.seconds:g} s{bound}\n"
    )
    print(table(results))


def numbers(text: str) -> tuple[int, ...]:
    """`1,2` as numbers; what argparse calls to convert an option."""
    counts = tuple(int(part) for part in text.split(","))
    if min(counts) < 1:
        raise ValueError(text)
    return counts


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.workers")
    parser.add_argument("--workers", type=numbers, default=(1, 2), help="comma list (1,2)")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="another broker, e.g. Kafka's")
    parser.add_argument("--containers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--throttle", type=float, help="of a core for each process, e.g. 0.3")
    return parser


def main() -> int:
    try:
        asyncio.run(run(arguments().parse_args()))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
