"""Starting several workers: one port, one voice, and one line about what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.brokers import Broker
from support.platform import Names
from support.processes import ROOT, running

from .workers_crew import crew


def ends(*arguments: str, **settings: object) -> tuple[int, str]:
    """Run it to its end; its status and everything that it said."""
    with running(*arguments, **settings) as process:
        return process.wait(), process.text()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on, and would even share."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("setting", ["http_port", "admin_port"])
def test_a_server_that_is_taken_is_said_once_and_ends_with_status_2(
    setting: str, taken: int
) -> None:
    settings = {"http_port": 0, "admin_port": 0, "workers": 2, "kafka_bootstrap_servers": "a:1"}
    status, text = ends("serve", **settings | {setting: taken})
    assert status == 2
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith(f"takedown: TAKEDOWN_{setting.upper()}: 127.0.0.1:{taken} cannot be")


async def test_a_service_cannot_join_in_at_a_port_that_another_one_shares(
    broker: Broker, names: Names
) -> None:
    async with crew(broker, names) as service:
        port = int(service.api.rpartition(":")[2])
        for workers in (1, 2):
            status, text = await asyncio.to_thread(
                ends,
                "serve",
                http_port=port,
                admin_port=0,
                workers=workers,
                kafka_bootstrap_servers=broker.address,
            )
            assert status == 2
            assert f"TAKEDOWN_HTTP_PORT: 127.0.0.1:{port} cannot be listened on" in text


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"workers": 0}, "TAKEDOWN_WORKERS"),
        ({"workers": "two"}, "TAKEDOWN_WORKERS"),
        ({"workers": 3, "pool_max": 2}, "TAKEDOWN_POOL_MAX"),
        ({"workers": 2, "timeout": "soon"}, "TAKEDOWN_TIMEOUT"),
        (
            {"workers": 2, "kafka_security_protocol": "SSL", "kafka_ssl_ca": "/does/not/exist"},
            "TAKEDOWN_KAFKA_SSL_CA",
        ),
        ({"workers": 2}, "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS"),
        (
            {"workers": 2, "embedded_broker": "true", "kafka_security_protocol": "SSL"},
            "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS",
        ),
    ],
)
def test_bad_settings_end_with_status_2_and_one_line(
    settings: dict[str, object], named: str
) -> None:
    servers = {"kafka_bootstrap_servers": "a:1"} if "BOOTSTRAP" not in named else {}
    status, text = ends("serve", http_port=0, admin_port=0, **servers, **settings)
    assert status == 2
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, text
    assert lines[0].startswith(f"takedown: {named}")


async def test_what_only_a_worker_can_find_out_about_a_setting_is_said_once_too(
    broker: Broker, names: Names, tmp_path: Path
) -> None:
    async with crew(broker, names, catalogue_folder=tmp_path):
        status, text = await asyncio.to_thread(
            ends,
            "serve",
            http_port=0,
            admin_port=0,
            workers=3,
            catalogue_folder=tmp_path,
            kafka_bootstrap_servers=broker.address,
            log_format="json",
            **names.settings(),
        )
    assert status == 2
    lines = [line for line in text.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, text
    assert lines[0].startswith(f"takedown: TAKEDOWN_CATALOGUE_FOLDER: {tmp_path}/worker-")


def run_worker(**settings: object) -> tuple[int, str, list[dict[str, str]]]:
    """The hidden command by itself; its status, what it said, and what it told us."""
    program = str(ROOT / "service.py")
    ours, theirs = socket.socketpair()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")}
    environment |= {f"TAKEDOWN_{name.upper()}": str(value) for name, value in settings.items()}
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, program, "worker", "1", str(theirs.fileno()), "first"],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        said, _ = process.communicate(timeout=30)
        with ours.makefile() as reports:
            return process.returncode, said, [json.loads(line) for line in reports]


def test_a_worker_tells_its_supervisor_alone_what_is_wrong_with_a_setting(
    tmp_path: Path,
) -> None:
    status, said, reports = run_worker(timeout="soon")
    assert (status, said) == (2, "")
    ((_, kind), (_, reason)) = reports[0].items()
    assert kind == "misused"
    assert reason.startswith("TAKEDOWN_TIMEOUT must be")

    # A port whose holder does not share it is found out by the worker alone.
    with socket.socket() as selfish:
        selfish.bind(("127.0.0.1", 0))
        selfish.listen()
        port = selfish.getsockname()[1]
        status, _, reports = run_worker(
            http_port=port,
            admin_port=0,
            kafka_bootstrap_servers="127.0.0.1:9",
            catalogue_folder=tmp_path,
            log_format="json",
        )
    assert status == 2
    assert [report["type"] for report in reports] == ["misused"]
    assert reports[0]["reason"].startswith(f"TAKEDOWN_HTTP_PORT: 127.0.0.1:{port}")


def test_the_command_that_starts_a_worker_is_not_offered_to_people() -> None:
    status, text = ends("--help")
    assert status == 0
    assert "worker" not in text
    _, text = ends("serve", "--help")
    assert "--workers" in text


async def test_one_worker_is_one_process_without_a_supervisor(broker: Broker, names: Names) -> None:
    with running(
        "serve",
        "--workers",
        "1",
        kafka_bootstrap_servers=broker.address,
        http_port=0,
        admin_port=0,
        log_format="json",
        **names.settings(),
    ) as process:
        await asyncio.to_thread(process.wait_for_event, "ready")
        assert psutil.Process(process.pid).children() == []
        assert not [event for event in process.events() if "worker" in event]
        assert process.stop() == 0
