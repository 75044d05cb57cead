"""What a server spends its CPU on: a launcher that profiles a module, and the report.

    python -m dev.bench.profiling samples OUT -m service serve    # then SIGTERM
    python -m dev.bench.profiling calls OUT -m service serve

A SIGPROF (`START`) starts it, so that a server's start can be left out.

`samples` looks at the stack every millisecond of CPU time, or as often as the kernel can: that
hardly slows anything down, and time in C code (sockets, parsers) counts for the Python function
that called it. `calls` is cProfile: exact counts, C functions by name, but every call costs
extra and waiting counts as time.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import runpy
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dev.bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

SAMPLES = "samples"
CALLS = "calls"
START = signal.SIGPROF
"""Starts the profile. The service has handlers of its own for those signals that operators send."""
INTERVAL = 0.001
TOP = 40

ROOT = Path(__file__).resolve().parents[2]
_STANDARD_LIBRARY = Path(runpy.__file__).parent
Place = tuple[str, int, str]
"""File, line and name of a function."""

_EXTENSIONS = ("uvloop", "aiohttp", "aiokafka", "msgspec", "multidict", "yarl", "cramjam")


class Samples(msgspec.Struct):
    """How often the main thread was found in a function, by function.

    Attributes:
        own: in the function itself.
        ours: in the function or in what it called that is not this project's; that is, what the
            function costs with the libraries' work done for it.
    """

    own: list[tuple[Place, float]]
    ours: list[tuple[Place, float]]


class Sampler:
    """Looks where the main thread is, once in each `INTERVAL` of the process's CPU time."""

    def __init__(self) -> None:
        self._own: defaultdict[Place, float] = defaultdict(float)
        self._ours: defaultdict[Place, float] = defaultdict(float)

    def start(self, _signum: int = 0, _frame: FrameType | None = None) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def samples(self) -> Samples:
        return Samples(list(self._own.items()), list(self._ours.items()))

    def _sample(self, _signum: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self._own[_place(frame)] += 1
        ours: FrameType | None = frame
        while ours is not None and not _is_ours(ours.f_code.co_filename):
            # Who started the loop did not call what runs in it.
            ours = None if ours.f_code.co_filename == _RUNNER else ours.f_back
        self._ours[_NOBODY if ours is None else _place(ours)] += 1


_NOBODY = ("", 0, "(libraries on their own: their tasks, protocols, the loop)")
_RUNNER = asyncio.runners.__file__
_VENV = str(ROOT / ".venv")
_LAUNCHER = str(ROOT / "bench" / "profiling.py")


def _is_ours(filename: str) -> bool:
    return (
        filename.startswith(str(ROOT)) and not filename.startswith(_VENV) and filename != _LAUNCHER
    )


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    return code.co_filename, code.co_firstlineno, code.co_qualname


def main() -> None:
    kind, output, flag, module, *rest = sys.argv[1:]
    if flag != "-m":
        sys.exit("usage: python -m dev.bench.profiling samples|calls OUT -m MODULE [ARGUMENT ...]")
    sys.argv = [module, *rest]
    if kind == CALLS:
        profiler = cProfile.Profile()
        signal.signal(START, lambda _signum, _frame: profiler.enable())
        try:
            _run(module)
        finally:
            profiler.disable()
            profiler.dump_stats(output)
        return
    sampler = Sampler()
    signal.signal(START, sampler.start)
    try:
        _run(module)
    finally:
        sampler.stop()
        Path(output).write_bytes(msgspec.json.encode(sampler.samples()))


def _run(module: str) -> None:
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def package_of(filename: str, name: str) -> str:
    """Whose code a function is: `ours: PACKAGE`, `C: WHAT` or a library's name."""
    path = Path(filename)
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1].removesuffix(".py")
    if path.is_relative_to(ROOT):
        ours = path.relative_to(ROOT)
        return "ours: " + (ours.stem if len(ours.parts) == 1 else ours.parent.as_posix())
    if path.is_relative_to(_STANDARD_LIBRARY):
        part = path.relative_to(_STANDARD_LIBRARY).parts[0]
        return "standard library: " + part.removesuffix(".py")
    # What was compiled: cProfile says "~" and names the function.
    where = filename + name
    return "C: " + next((known for known in _EXTENSIONS if known in where), "others")


def report(kind: str, output: Path, cpu_us: float) -> str:
    """The profile in `output` as text: by package, then the top functions.

    Shares are told in microseconds for each request, too, if one costs `cpu_us` of CPU.

    Raises:
        BenchError: the profile is empty: it was not started.
    """
    ours: dict[Place, float] = {}
    own: dict[Place, float]
    if kind == CALLS:
        stats: Any = pstats.Stats(str(output))  # its `stats` is documented, and not in the stubs
        own = {place: row[2] for place, row in stats.stats.items()}
    else:
        samples = msgspec.json.decode(output.read_bytes(), type=Samples)
        own, ours = dict(samples.own), dict(samples.ours)
    total = sum(own.values())
    if not total:
        raise BenchError("the profile is empty: nothing has started it")
    packages: defaultdict[str, float] = defaultdict(float)
    for (filename, _, name), amount in own.items():
        packages[package_of(filename, name)] += amount
    what = "seconds, waiting included" if kind == CALLS else "samples of CPU time"
    lines = [f"\nown time by package, of {total:.5g} {what}"]
    lines += _shares(packages.items(), total, cpu_us)
    lines.append("\nfunctions with the most own time")
    lines += _shares(((_describe(*entry), own[entry]) for entry in own), total, cpu_us)
    if ours:
        lines.append("\nour functions, with the time of the libraries' that they call")
        lines += _shares(((_describe(*entry), ours[entry]) for entry in ours), total, cpu_us)
    return "\n".join(lines)


def _shares(amounts: Iterable[tuple[str, float]], total: float, cpu_us: float) -> list[str]:
    ranked = sorted(amounts, key=lambda entry: entry[1], reverse=True)[:TOP]
    return [
        f"{amount / total:7.1%} {amount / total * cpu_us:7.1f} us  {name}"
        for name, amount in ranked
    ]


def _describe(filename: str, line: int, name: str) -> str:
    if not filename:
        return name
    return f"{name} ({package_of(filename, name)}, {Path(filename).name}:{line})"


if __name__ == "__main__":
    main()
