"""`TAKEDOWN_TRACES`, as who runs the service sees it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from support.answers import take_down
from support.brokers import Broker
from support.collector import Collector, collecting
from support.platform import Names, Platform, confirm, platform
from support.processes import ROOT
from support.served import served

from app.lifecycle import Lifecycle
from app.settings import load
from app.tracing import tracing_of
from domain.errors import SettingsError

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
REQUEST = "DELETE /items/{itemId}"


async def test_a_takedowns_spans_get_to_a_collector(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        async with (
            served(
                broker.address, names, traces="otlp", kafka_fetch_max_wait=broker.fetch_max_wait
            ) as running,
            platform(broker.address, names, on_request=confirm) as items,
        ):
            item_id = await running.item(items, 2)
            headers = [("traceparent", f"00-{TRACE}-{PARENT}-01")]
            got = await take_down(running.http, running.api, item_id, headers)
            assert got.status == 200
            first, second = _headers(items, item_id)
        # It has ended: what was left is flushed.
        _assert_one_trace(collector, names, got.takedown_id)
        send = next(span for span in collector.spans() if span.name == f"send {names.reported}")
        assert first == second == f"00-{TRACE}-{send.span_id.hex()}-01"
        assert collector.resource()["service.name"] == "takedown"
        assert collector.resource()["service.version"]


def _headers(items: Platform, item_id: str) -> list[str]:
    records = [r for r in items.records if json.loads(r.value)["itemId"] == item_id]
    return [dict(record.headers)["traceparent"].decode() for record in records]


def _assert_one_trace(collector: Collector, names: Names, takedown_id: str) -> None:
    spans = collector.spans()
    assert sorted(span.name for span in spans) == sorted(
        [REQUEST, f"send {names.reported}", *[f"process {names.deleted}"] * 2]
    )
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    (request,) = [span for span in spans if span.name == REQUEST]
    assert request.parent_span_id.hex() == PARENT
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        said = {each.key: each.value for each in span.attributes}
        assert said["takedown.id"].string_value == takedown_id
        if span is not request:
            assert span.parent_span_id == request.span_id


@pytest.mark.parametrize("collector", ["hangs", "is away", "refuses"])
async def test_a_collector_that_fails_touches_no_takedown_and_no_shutdown(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, collector: str
) -> None:
    names = Names()
    with collecting(hang=collector == "hangs", status=503) as failing:
        address = f"http://127.0.0.1:{_unused()}" if collector == "is away" else failing.address
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        async with (
            served(
                broker.address, names, traces="otlp", kafka_fetch_max_wait=broker.fetch_max_wait
            ) as running,
            platform(broker.address, names, on_request=confirm) as items,
        ):
            for _ in range(20):
                asked = await running.take_down(await running.item(items, 2))
                assert asked.status == 200
            if collector == "hangs":
                assert failing.taken
            began = time.monotonic()
            assert await asyncio.to_thread(running.process.stop) == 0
            assert time.monotonic() - began < 20


def _unused() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


# ------------------------------------------------------------------------------- when off

_OFF = """
import asyncio, sys
import app.cli
from bus.kafka.connection import Connection
from app.lifecycle import Lifecycle
from app.settings import load
from app.tracing import tracing_of
from app.lifecycle import Lifecycle
from app.tracing import NoTracing
from service import Service

async def main():
    service = Service(
        load({"TAKEDOWN_CATALOGUE_FOLDER": "nowhere"}, {}),
        Connection(bootstrap_servers="127.0.0.1:1"),
        Lifecycle(),
    )
    service.observatory.begin()
    assert isinstance(service.tracing, NoTracing)
    assert service.tracing.publisher(service.publisher) is service.publisher
    print(len(service.feed._observers))
    for name in sys.argv[1:]:
        print(name in sys.modules)

asyncio.run(main())
"""


def test_without_traces_nothing_of_it_is_loaded_and_nobody_observes_for_it() -> None:
    unwanted = ["opentelemetry", "operations.tracing", "textual", "operations.top"]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", _OFF, *unwanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={k: v for k, v in os.environ.items() if not k.startswith("TAKEDOWN_")},
    )
    assert ran.returncode == 0, ran.stderr
    # The one that is always there is the journal.
    assert ran.stdout.split() == ["1", *["False"] * len(unwanted)]


def test_it_says_so_when_the_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "operations.tracing.exporter", raising=False)

    with pytest.raises(SettingsError, match=r"TAKEDOWN_TRACES=otlp needs .* extra `tracing`"):
        tracing_of(load({"TAKEDOWN_TRACES": "otlp"}, {}), Lifecycle(), lambda: datetime.now(UTC))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ],
)
def test_a_variable_of_opentelemetrys_that_cannot_be_used_stops_the_start_with_one_line(
    name: str, value: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TAKEDOWN_", "OTEL_"))}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "service.py"), "serve", "--embedded-broker"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment | {"TAKEDOWN_TRACES": "otlp", "TAKEDOWN_HTTP_PORT": "0", name: value},
    )
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert ran.stderr.startswith("takedown: ")
    assert "OTEL_" in ran.stderr
    assert ran.stderr.count("\n") == 1
