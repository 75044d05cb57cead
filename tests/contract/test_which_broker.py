"""Without servers nothing starts a broker unless it is asked to: an empty one knows no item."""

from __future__ import annotations

import pytest
from support.processes import running

PORTS = {"http_port": 0, "admin_port": 0, "items_http_port": 0, "log_format": "json"}
SERVERS = "TAKEDOWN_KAFKA_BOOTSTRAP_SERVERS"
EMBEDDED = "TAKEDOWN_EMBEDDED_BROKER"


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("serve", "--workers", "2"),
        ("serve", "--embedded-broker=false"),
        ("items-service",),
    ],
    ids=" ".join,
)
def test_without_servers_it_ends_with_status_2_and_names_both_settings(
    command: tuple[str, ...],
) -> None:
    with running(*command, **PORTS) as process:
        assert process.wait() == 2
        (line,) = process.lines
    assert line.startswith(f"takedown: {SERVERS} must be set")
    assert EMBEDDED in line
    assert "--embedded-broker" in line


@pytest.mark.parametrize("command", ["serve", "demo", "items-service"])
def test_servers_and_the_embedded_broker_together_end_with_status_2_and_name_both(
    command: str,
) -> None:
    with running(command, "--embedded-broker", kafka_bootstrap_servers="a:1", **PORTS) as process:
        assert process.wait() == 2
        (line,) = process.lines
    assert line.startswith("takedown: ")
    assert SERVERS in line
    assert EMBEDDED in line


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (["--embedded-broker"], {}),
        (["--embedded-broker=true"], {}),
        (["--embedded-broker", "true"], {}),
        ([], {"embedded_broker": "true"}),
    ],
)
def test_the_embedded_broker_is_started_when_it_is_asked_for(
    flags: list[str], settings: dict[str, str]
) -> None:
    implied = {"topics_create": "", "catalogue_may_be_empty": ""}
    with running("serve", *flags, **PORTS, **implied, **settings) as process:
        process.wait_for_event("ready")
        assert process.stop() == 0


def test_the_demo_needs_neither_servers_nor_a_request_for_its_broker() -> None:
    implied = {"topics_create": "", "catalogue_may_be_empty": ""}
    with running("demo", "--embedded-broker=false", **PORTS, **implied) as process:
        process.wait_for_event("ready")
        assert process.stop() == 0
