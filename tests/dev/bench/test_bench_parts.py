import json
import sys
from pathlib import Path

import msgspec
import pytest

from bus.kafka.codec import parse_item_id
from dev.bench.__main__ import Plan, arguments, plan_of
from dev.bench.items import Topics, containers_of, item_ids
from dev.bench.load import BROKEN, WRONG, Caller, Load
from dev.bench.processes import BenchError, Child, flags, output_of
from dev.bench.profiling import CALLS, SAMPLES, START, package_of, report

HANGS = "import time; print('ready', flush=True); time.sleep(60)"
ANSWER = {
    "takedownId": "t",
    "itemId": "item",
    "outcome": "deleted",
    "containers": [{"containerId": "a"}, {"containerId": "b"}],
}


def plan(*words: str) -> Plan:
    return plan_of(arguments().parse_args(words))


class Wire:
    """What a caller sends, instead of a socket."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True


def caller() -> tuple[Caller, Load, Wire]:
    load = Load(2, iter(["item", "next"]))
    load.measuring = True
    caller = Caller(load)
    wire = Wire()
    caller.connection_made(wire)  # type: ignore[arg-type]
    return caller, load, wire


def response(status: int, body: object) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content)


def test_item_ids_are_the_same_in_every_process_and_valid() -> None:
    ids = item_ids(3, 100)
    item_ids.cache_clear()
    assert item_ids(3, 100) == ids
    assert len(set(ids)) == 100
    assert all(parse_item_id(item_id) == item_id for item_id in ids)
    assert not set(ids) & set(item_ids(1, 100))


def test_an_item_is_in_as_many_different_containers_as_asked_for() -> None:
    assert len({container["containerId"] for container in containers_of(20)}) == 20


def test_servers_share_the_items_and_nothing_else() -> None:
    names = [topic.name for topic in Topics("x").to_create(["a", "b"])]
    assert len(set(names)) == 5


def test_flags_are_spelt_as_on_a_command_line() -> None:
    assert flags(fetch_max_wait_ms=10) == ["--fetch-max-wait-ms", "10"]


def test_a_quick_plan_is_shorter_and_options_come_first() -> None:
    assert plan("--quick").seconds < plan().seconds
    assert plan("--quick", "--seconds", "9", "--containers", "1,7").seconds == 9
    assert plan("--containers", "1,7").containers == (1, 7)
    assert plan("--profile").containers == (3,)


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1,,2"])
def test_sizes_are_positive_numbers(text: str) -> None:
    with pytest.raises(SystemExit):
        arguments().parse_args(["--containers", text])


# ------------------------------------------------------------------------ load generator


async def test_an_answer_in_pieces_counts_once_and_is_followed_by_the_next_question() -> None:
    caller_, load, wire = caller()
    answer = response(200, ANSWER)
    for at in range(len(answer)):
        caller_.data_received(answer[at : at + 1])
    assert load.answered == len(load.latencies) == 1
    assert not load.errors
    assert [sent.split()[1] for sent in wire.sent] == [b"/items/item", b"/items/next"]


async def test_another_status_is_counted_as_an_error_by_its_number() -> None:
    caller_, load, _ = caller()
    caller_.data_received(response(504, {}))
    assert (load.answered, dict(load.errors)) == (0, {"504": 1})


@pytest.mark.parametrize(
    "change",
    [{"itemId": "other"}, {"outcome": "?"}, {"containers": [{"containerId": "a"}] * 2}, {}],
)
async def test_a_200_whose_body_is_not_right_is_an_error(change: dict[str, object]) -> None:
    caller_, load, _ = caller()
    caller_.data_received(response(200, (ANSWER | change) if change else "no object"))
    assert dict(load.errors) == {WRONG: 1}


async def test_a_connection_lost_with_a_question_open_is_an_error() -> None:
    caller_, load, _ = caller()
    caller_.connection_lost(None)
    assert dict(load.errors) == {BROKEN: 1}
    assert caller_.finished.done()


async def test_when_the_time_is_over_a_caller_hangs_up_after_its_answer() -> None:
    caller_, load, wire = caller()
    load.asking = False
    caller_.data_received(response(200, ANSWER))
    assert wire.closed
    caller_.connection_lost(None)
    assert not load.errors


# ----------------------------------------------------------------------- child processes


async def test_a_child_that_ends_before_it_is_ready_is_told_with_its_output(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", "print('what went wrong'); raise SystemExit(3)"]
    async with Child("the child", command, tmp_path / "log") as child:
        with pytest.raises(BenchError, match=r"status 3:\nwhat went wrong"):
            await child.until_said("ready")


async def test_a_child_is_stopped_on_the_way_out_of_an_error(tmp_path: Path) -> None:
    child = Child("the child", [sys.executable, "-c", HANGS], tmp_path / "log")

    async def fail() -> None:
        async with child:
            await child.until_said("ready")
            raise BenchError("on purpose")

    with pytest.raises(BenchError, match="on purpose"):
        await fail()
    with pytest.raises(BenchError, match="ended with status -15"):
        child.check()


async def test_a_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {HANGS}"
    async with Child("the child", [sys.executable, "-c", stubborn], tmp_path / "log") as child:
        await child.until_said("ready")
        assert await child.stop(within=0.05) == -9


async def test_what_a_program_complains_about_is_an_error() -> None:
    complains = "import sys; print('oh', file=sys.stderr)"
    with pytest.raises(BenchError, match="oh"):
        await output_of([sys.executable, "-c", complains], within=30.0)


# ------------------------------------------------------------------------------ profiles


def test_a_profile_is_grouped_by_whose_code_it_is() -> None:
    site = "/x/.venv/lib/python3.11/site-packages"
    assert package_of(f"{site}/aiokafka/producer/producer.py", "send") == "aiokafka"
    assert package_of(f"{site}/typing_extensions.py", "f") == "typing_extensions"
    assert package_of(json.__file__, "loads") == "standard library: json"
    assert package_of(containers_of.__code__.co_filename, "containers_of") == "ours: dev/bench"
    assert package_of("~", "<method 'run' of 'uvloop.loop.Loop' objects>") == "C: uvloop"


async def test_a_profile_that_was_never_started_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("")
    output = tmp_path / "profile"
    launcher = ["env", f"PYTHONPATH={tmp_path}", sys.executable, "-m", "dev.bench.profiling"]
    await output_of([*launcher, SAMPLES, str(output), "-m", "idle"], within=60.0)
    with pytest.raises(BenchError, match="empty"):
        report(SAMPLES, output, cpu_us=100.0)


@pytest.mark.parametrize("kind", [SAMPLES, CALLS])
async def test_the_launcher_writes_a_profile_that_can_be_reported(
    kind: str, tmp_path: Path
) -> None:
    (tmp_path / "busy.py").write_text(
        "import os, signal\n"
        "def spin():\n"
        "    for _ in range(3_000_000): pass\n"
        f"os.kill(os.getpid(), {int(START)})\n"
        "spin()\n"
    )
    output = tmp_path / "profile"
    launcher = ["env", f"PYTHONPATH={tmp_path}", sys.executable, "-m", "dev.bench.profiling"]
    await output_of([*launcher, kind, str(output), "-m", "busy"], within=60.0)
    text = report(kind, output, cpu_us=100.0)
    assert "spin (" in text
    if kind == SAMPLES:
        assert msgspec.json.decode(output.read_bytes())["own"]
