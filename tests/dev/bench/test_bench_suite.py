"""All of `make bench` with small numbers: what is measured, and what a part that fails costs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil
import pytest

from dev.bench import figures, latency, parts, suite, targets, throttle, workers
from dev.bench.__main__ import Plan, Server
from dev.bench.figures import BEGIN, END
from dev.bench.latency import HALF
from dev.bench.parts import Bench
from dev.bench.processes import BenchError
from dev.bench.report import MINIMAL, SERVICE
from dev.bench.results import Results
from dev.bench.scaling import Shape
from dev.bench.soak import Soaked, Window
from dev.bench.soak import arguments as soak_arguments
from dev.bench.suite import (
    CLOSED,
    MEMORY,
    MESSAGES,
    PARTS,
    SOAK,
    STARTS,
    TIMEOUTS,
    WITH_SERVERS,
    Run,
    Sizes,
    arguments,
    everything,
    sizes,
    soak_alone,
    status_of,
    windows_of,
)
from dev.bench.targets import Target

TINY = Plan((3,), 1, 1.0, 0.3, 0.3, 8, 20)
"""Long enough for pykka's threads to answer on a machine that is busy with other tests."""


def tiny(**_: bool) -> Sizes:
    return Sizes(
        plan=TINY,
        short=TINY,
        latency_seconds=1.0,
        loads={HALF: 1},
        workers=Shape((1, 2), 3, 1, 1.0, 8),
        throttle=0.3,
        takedowns=(100,),
        together=(100,),
        rounds=1,
        foreign=600,
        starts=1,
        soak=1_200,
        may_pin=True,
    )


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Another page than the repository's, and small numbers."""
    path = tmp_path / "performance.md"
    path.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    monkeypatch.setattr(suite, "sizes", tiny)
    write = figures.write
    monkeypatch.setattr(figures, "write", lambda results: write(results, path, tmp_path / "plots"))
    return path


def generated(page: Path) -> str:
    return page.read_text("utf-8")


def options(*words: str) -> argparse.Namespace:
    return arguments().parse_args(["--embedded", *words])


def new_run(*asked: str) -> Run:
    return Run(Results(facts="", plan=""), frozenset(asked))


# ------------------------------------------------------------------------ a part alone


async def fails_with(error: Exception) -> str:
    raise error


async def finds(what: str) -> str:
    return what


@pytest.mark.parametrize(
    "error",
    [
        BenchError("the service ended\nand its log"),
        ConnectionResetError("gone"),
        psutil.NoSuchProcess(1),
        msgspec.DecodeError("no JSON"),
    ],
)
async def test_a_part_that_fails_is_noted_with_one_line_and_the_next_one_comes(
    error: Exception,
) -> None:
    run = new_run(SOAK, STARTS)
    assert await run.part(SOAK, fails_with(error)) is None
    assert await run.part(STARTS, finds("it")) == "it"
    assert run.results.failures == {SOAK: str(error).splitlines()[0]}


async def test_a_bug_of_the_bench_is_no_failed_part() -> None:
    with pytest.raises(ZeroDivisionError):
        await new_run(SOAK).part(SOAK, fails_with(ZeroDivisionError()))


async def test_a_part_that_nobody_asked_for_is_not_begun() -> None:
    assert await new_run(SOAK).part(STARTS, fails_with(BenchError("begun"))) is None


@pytest.mark.parametrize("words", [["--only", "speed"], ["--only", ""], ["--soak", "x"]])
def test_unknown_parts_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args(words)


def test_quick_is_shorter_in_everything() -> None:
    quick, whole = sizes(quick=True), sizes()
    assert quick.plan.seconds < whole.plan.seconds
    for name in ("foreign", "starts", "soak", "rounds", "latency_seconds"):
        assert getattr(quick, name) < getattr(whole, name)
    assert HALF in quick.loads
    assert whole.loads[HALF] == whole.plan.rounds == whole.workers.rounds == 5
    assert (whole.soak, max(whole.takedowns), max(whole.together)) == (108_000, 100_000, 100_000)


# -------------------------------------------------------------------------- all of them


@pytest.mark.timeout(600)  # many processes, on a machine that others use, too
async def test_every_part_is_measured_and_stands_in_the_page(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def core(what: str, **_: object) -> Mapping[str, Any]:
        found: dict[str, dict[str, Any]] = {  # the core has tests of its own
            MESSAGES: {shape: {"ours": 2, "pykka": 1, "ratio": 2} for shape in targets.SHAPES},
            MEMORY: {"takedowns": 100, "bytes": 4000.0},
            TIMEOUTS: {"takedowns": 100, "too_late": 0, "latest_ms": 1.0},
        }
        return found[what]

    monkeypatch.setattr(suite, "core", core)
    monkeypatch.setattr(latency, "CLOSED_ROUNDS", 1)
    monkeypatch.setattr(workers, "FIRST_WARM_UP", 0.2)
    monkeypatch.setattr(throttle, "GROUPS", page.parent / "none")
    assert await everything(options()) == 0
    text = generated(page)
    assert "not measured" not in text.lower()
    for name in ("cpu", "latency", "memory", "workers"):
        assert f"performance/{name}.svg" in text
        assert (page.parent / "plots" / f"{name}.svg").exists()
    assert "load average before: " in text
    assert " of all cores meanwhile" in text
    assert "pykka " in text
    assert "hello " in text
    assert "1,200 takedowns in" in text
    assert capsys.readouterr().out.splitlines()[-1].startswith("CPU per request, service / minimal")


async def test_what_cannot_be_measured_is_in_the_page_and_in_the_exit_status(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            pass

        async def start(self, _plan: Plan) -> None:
            raise BenchError("the responder ended with status 1")

    async def nothing(what: str, *_: object, **__: object) -> None:
        raise BenchError(f"no {what}")

    monkeypatch.setattr(suite, "Bench", Broken)
    monkeypatch.setattr(suite, "core", nothing)
    monkeypatch.setattr(workers, "compare", lambda *_: nothing("workers"))
    assert await everything(options()) == 1
    text, printed = generated(page), capsys.readouterr().out
    for part in PARTS:
        assert f"Not measured: *{part}*: " in text
        assert f"not measured: {part}: " in printed
    for part in WITH_SERVERS:
        assert f"*{part}*: the responder ended with status 1" in text
    assert text.count("| **not measured** | - |") == len(
        figures.target_table(Results(facts="", plan="")).splitlines()[2:]
    )
    assert "svg" not in text


async def test_one_server_that_answers_badly_costs_its_part_alone(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def wrong(*_: object, **__: object) -> None:
        raise BenchError("service with 3 containers gave 0 good answers")

    monkeypatch.setattr(suite, "compare", wrong)
    assert await everything(options("--only", f"{CLOSED},{SOAK}", "--no-docs")) == 1
    printed = capsys.readouterr().out
    assert "not measured: closed: service with 3 containers gave 0 good answers" in printed
    assert "1,200 takedowns in" in printed
    assert generated(page) == f"before\n{BEGIN}\n{END}\nafter\n"


@pytest.mark.parametrize(
    ("cpu", "memory", "cpu_may_drift", "status"),
    [
        (True, True, False, 0),
        (False, True, False, 1),
        (False, True, True, 0),
        (True, False, False, 1),
        (True, False, True, 1),
    ],
)
def test_a_soaks_status_says_whether_there_is_a_drift(
    cpu: bool, memory: bool, cpu_may_drift: bool, status: int
) -> None:
    rows = [Target("drift", "none", "+9.0%", reached=reached) for reached in (cpu, memory)]
    assert status_of(*rows, cpu_may_drift=cpu_may_drift) == status


async def test_a_soak_alone_is_as_many_hours_worth_as_told_and_tells_what_drifted(
    page: Path,  # noqa: ARG001 - small numbers
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [Target("drift of it", "none", "+9.0%", reached=reached) for reached in (True, False)]
    monkeypatch.setattr(targets, "soak", lambda _: rows)
    assert await soak_alone(options("--soak-hours", f"{1 / 30}")) == 1
    printed = capsys.readouterr().out
    assert "1,200 takedowns in" in printed
    assert printed.count("drift of it: +9.0%, to be reached: none") == 1


async def test_a_soak_by_the_clock_takes_as_long_as_told(
    page: Path,  # noqa: ARG001 - small numbers
    capsys: pytest.CaptureFixture[str],
) -> None:
    await soak_alone(options("--soak", "0.05", "--soak-rate", "300"))
    told = re.search(r"900 takedowns in (\d+) s", capsys.readouterr().out)
    assert told is not None
    assert int(told[1]) >= 2  # three, of which the warm-up may have been late


class Program:
    """A server's process, as far as a soak looks at it."""

    def __init__(self, pid: int, said: str) -> None:
        self.pid = pid
        self.said = said

    def tail(self) -> str:
        return self.said


def two_servers() -> Bench:
    """A bench whose servers are nothing but numbers and last words."""
    bench = Bench.__new__(Bench)
    bench.service = Server(SERVICE, Program(11, "its log"), 1001)  # type: ignore[arg-type]
    bench.minimal = Server(MINIMAL, Program(12, "the bridge's log"), 1002)  # type: ignore[arg-type]
    return bench


@pytest.mark.parametrize("rate", [0.0, 100.0])
async def test_a_soak_is_of_the_service_against_the_minimal_bridge(
    monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    given: list[str] = []

    async def output_of(command: Sequence[str], **_: float) -> bytes:
        given.extend(command)
        windows = [Window(0.5, 300.0, 200.0, 50.0)] * 8
        return msgspec.json.encode(Soaked(80, 100, windows, {}))

    monkeypatch.setattr(parts, "output_of", output_of)
    found = await two_servers().soak(TINY, 800, windows=8, rate=rate)
    assert [window.ratio for window in found.windows] == [1.5] * 8
    soak = vars(soak_arguments().parse_args(given[given.index("dev.bench.soak") + 1 :]))
    assert (soak["port"], soak["pid"]) == (1001, 11)
    assert (soak["yardstick_port"], soak["yardstick_pid"]) == (1002, 12)
    assert (soak["takedowns"], soak["windows"], soak["rate"]) == (800, 8, rate)


async def test_a_soak_that_went_wrong_is_told_with_the_last_words_of_whose_fault_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def output_of(*_: object, **__: object) -> bytes:
        return msgspec.json.encode(Soaked(80, 100, [], {MINIMAL: {"503": 1}}))

    monkeypatch.setattr(parts, "output_of", output_of)
    with pytest.raises(BenchError, match="0 of 8 windows") as failure:
        await two_servers().soak(TINY, 800, windows=8)
    assert "'minimal': {'503': 1}" in str(failure.value)
    assert "minimal: the bridge's log" in str(failure.value)
    assert "its log" not in str(failure.value)


def test_a_soak_that_is_too_short_to_tell_is_refused() -> None:
    assert (windows_of(800), windows_of(36_000)) == (8, 60)
    with pytest.raises(BenchError, match="too short"):
        windows_of(799)


def test_what_a_service_has_read_is_in_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Page:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self) -> bytes:
            return text

    server = Server("service", None, 1, 2)  # type: ignore[arg-type]
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Page())
    text = b"# HELP takedown_bus_published_total x\ntakedown_bus_published_total 12.0\n"
    assert parts.read_so_far(server) == 12
    text = b"other 1\n"
    with pytest.raises(BenchError, match="does not count"):
        parts.read_so_far(server)
