"""The spans of a takedown, as an exporter in memory sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.trace import SpanKind
from support.fakes import ITEM, T0
from support.settling import settle
from support.traced import (
    PARENT,
    PROCESS,
    REQUEST,
    SEND,
    TRACE,
    DeletionRecord,
    Make,
    id_of,
    linked,
    making,
    name_of,
    parent_of,
)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with making() as make:
        yield make


async def test_a_takedown_is_one_trace_of_request_sending_and_each_deletion(make: Make) -> None:
    traced = make("a", "b")

    asked = traced.ask(f"00-{TRACE}-{PARENT}-01")
    await settle()
    traced.stage.publisher.last.acknowledge()
    await traced.delete("a")
    await traced.delete("b")
    await asked

    request, send = traced.span(REQUEST), traced.span(SEND)
    first, second = traced.spans(PROCESS)
    assert {name_of(span)[3:35] for span in traced.spans()} == {TRACE}
    assert parent_of(request) == PARENT
    assert parent_of(send) == parent_of(first) == parent_of(second) == id_of(request)
    assert (request.kind, send.kind, first.kind) == (
        SpanKind.SERVER,
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
    )
    assert linked(first) == linked(second) == [id_of(send)]


async def test_the_records_carry_the_context_of_the_span_that_sent_them(make: Make) -> None:
    traced = make("a")

    asked = traced.ask(f"00-{TRACE}-{PARENT}-01")
    await settle()
    traced.stage.publisher.last.acknowledge()
    await traced.delete("a")
    await asked

    assert traced.stage.publisher.last.takedown.traceparent == name_of(traced.span(SEND))
    assert traced.takedown is not None
    assert traced.takedown.traceparent == name_of(traced.span(REQUEST))


async def test_the_spans_say_what_the_conventions_want(make: Make) -> None:
    traced = make("a", "b")

    asked = traced.ask()
    await settle()
    traced.stage.publisher.last.acknowledge()
    await traced.delete("a", DeletionRecord(partition=5, offset=42))
    await traced.delete("b")
    await asked

    assert traced.takedown is not None
    takedown_id = traced.takedown.takedown_id
    assert dict(traced.span(REQUEST).attributes or {}) == {
        "http.request.method": "DELETE",
        "http.route": "/items/{itemId}",
        "http.response.status_code": 200,
        "url.path": f"/items/{ITEM}",
        "url.scheme": "http",
        "takedown.id": takedown_id,
        "takedown.item_id": ITEM,
    }
    assert dict(traced.span(SEND).attributes or {}) == {
        messaging.MESSAGING_SYSTEM: "kafka",
        messaging.MESSAGING_OPERATION_TYPE: "send",
        messaging.MESSAGING_OPERATION_NAME: "send",
        messaging.MESSAGING_DESTINATION_NAME: "item_reported",
        messaging.MESSAGING_KAFKA_MESSAGE_KEY: ITEM,
        messaging.MESSAGING_BATCH_MESSAGE_COUNT: 2,
        "takedown.id": takedown_id,
    }
    assert dict(traced.spans(PROCESS)[0].attributes or {}) == {
        messaging.MESSAGING_SYSTEM: "kafka",
        messaging.MESSAGING_OPERATION_TYPE: "process",
        messaging.MESSAGING_OPERATION_NAME: "process",
        messaging.MESSAGING_DESTINATION_NAME: "item_deleted",
        messaging.MESSAGING_DESTINATION_PARTITION_ID: "5",
        messaging.MESSAGING_KAFKA_OFFSET: 42,
        "takedown.id": takedown_id,
        "takedown.item_id": ITEM,
    }
    assert [event.name for event in traced.span(REQUEST).events] == [
        "ContainersFound",
        "ItemDeleted",
    ]


async def test_a_deletion_that_names_its_own_trace_is_linked_to_it(make: Make) -> None:
    traced = make("a")
    theirs = "aaaaaaaaaaaaaaaa"

    asked = traced.ask()
    await settle()
    record = DeletionRecord(headers=[("traceparent", f"00-{'b' * 32}-{theirs}-01".encode())])
    await traced.delete("a", record)
    await asked

    span = traced.span(PROCESS)
    assert linked(span) == [theirs, id_of(traced.span(SEND))]
    assert parent_of(span) == id_of(traced.span(REQUEST))
    assert span.start_time == int(T0.timestamp() * 1_000_000) * 1000  # when it was read


@pytest.mark.parametrize(
    "header",
    [None, b"", b"\xff\xfe", b"00-" + b"0" * 32 + b"-aaaaaaaaaaaaaaaa-01", b"x" * 100_000],
)
async def test_a_deletion_with_a_bad_trace_is_linked_to_ours_alone(
    make: Make, header: bytes | None
) -> None:
    traced = make("a")

    asked = traced.ask()
    await settle()
    await traced.delete("a", DeletionRecord(headers=[("traceparent", header)]))
    await asked

    assert linked(traced.span(PROCESS)) == [id_of(traced.span(SEND))]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01-" + "x" * 10_000,
        f"00-{TRACE}-{PARENT}-01\r\nSet-Cookie: a=b",
        "\udcff" * 55,
    ],
)
async def test_a_request_without_a_valid_trace_begins_its_own(
    make: Make, header: str | None
) -> None:
    traced = make()  # in no container: answered at once

    await traced.ask(header)

    span = traced.span(REQUEST)
    assert span.parent is None
    assert name_of(span)[3:35] != TRACE


async def test_a_later_version_of_the_header_is_understood(make: Make) -> None:
    traced = make()

    await traced.ask(f"cc-{TRACE}-{PARENT}-ff-what-comes-later")

    assert parent_of(traced.span(REQUEST)) == PARENT
    assert name_of(traced.span(REQUEST)).endswith("-01")


async def test_what_a_caller_does_not_sample_is_passed_on_and_not_recorded(make: Make) -> None:
    traced = make("a", sampler=ParentBased(ALWAYS_ON))

    asked = traced.ask(f"00-{TRACE}-{PARENT}-00")
    await settle()
    passed_on = traced.stage.publisher.last.takedown.traceparent
    traced.stage.publisher.last.acknowledge()
    await traced.delete("a")
    await asked

    assert traced.spans() == []
    assert passed_on.startswith(f"00-{TRACE}-")
    assert passed_on.endswith("-00")
    assert PARENT not in passed_on


async def test_requests_at_the_same_time_keep_their_own_traces(make: Make) -> None:
    first, second = make("a"), make("a")
    traces = ["1" * 32, "2" * 32]

    asked = [
        traced.ask(f"00-{trace}-{PARENT}-01")
        for traced, trace in zip((first, second), traces, strict=True)
    ]
    await settle()
    await second.delete("a")
    await first.delete("a")
    await asyncio.gather(*asked)

    for traced, trace in zip((first, second), traces, strict=True):
        assert {name_of(span)[3:35] for span in traced.spans()} == {trace}
