"""The spans of takedowns in which something goes wrong, as an exporter in memory sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from support.settling import settle
from support.traced import (
    PARENT,
    PROCESS,
    REQUEST,
    SEND,
    TRACE,
    DeletionRecord,
    FakeRequest,
    FakeResponse,
    Make,
    id_of,
    linked,
    making,
    parent_of,
)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with making() as make:
        yield make


async def test_a_504_is_an_error_of_the_request_and_gives_the_sending_up(make: Make) -> None:
    traced = make("a")

    asked = traced.ask()
    await asked  # nobody acknowledges, nobody deletes; the clock is virtual

    request, send = traced.span(REQUEST), traced.span(SEND)
    assert request.status.status_code is StatusCode.ERROR
    assert (request.attributes or {})["error.type"] == "504"
    assert (send.attributes or {})["takedown.abandoned"] is True


@pytest.mark.parametrize(
    ("handed_over", "kind"), [(True, "not_acknowledged"), (False, "not_handed_over")]
)
async def test_a_refused_publish_is_an_error_of_the_sending(
    make: Make, handed_over: bool, kind: str
) -> None:
    traced = make("a", "b")

    asked = traced.ask()
    await settle()
    traced.stage.publisher.last.fail(
        published=1 if handed_over else 0, handed_over=handed_over, cause="broker \udcff away"
    )
    await asked

    send = traced.span(SEND)
    assert send.status.status_code is StatusCode.ERROR
    assert send.status.description == "broker ? away"
    assert (send.attributes or {})["error.type"] == kind


async def test_a_refusal_while_others_are_on_their_way_ends_the_sending_with_the_takedown(
    make: Make,
) -> None:
    traced = make("a", "b")

    asked = traced.ask()
    await settle()
    traced.stage.publisher.last.fail(unacknowledged=1)
    await asked

    send = traced.span(SEND)
    assert send.status.status_code is StatusCode.ERROR
    assert (send.attributes or {})["takedown.unpublished"] == 1
    assert (send.attributes or {})["takedown.abandoned"] is True


async def test_a_refusal_of_what_is_deleted_does_not_end_the_sending(make: Make) -> None:
    traced = make("a", "b")

    asked = traced.ask()
    await settle()
    await traced.delete("a")
    traced.stage.publisher.last.fail(unacknowledged=1)
    await settle()
    assert traced.spans(SEND) == []
    traced.stage.publisher.last.fail(cause="all is settled")
    await asked
    assert len(traced.spans(SEND)) == 1


async def test_a_deletion_that_comes_late_or_twice_disturbs_nothing(make: Make) -> None:
    traced = make("a")

    asked = traced.ask()
    await settle()
    event = await traced.delete("a")
    traced.stage.ref.tell(event)
    await asked
    traced.stage.ref.tell(event)
    await settle()

    assert len(traced.spans(PROCESS)) == 1
    assert traced.stage.feed.failures == 0


async def test_a_deletion_that_is_read_after_the_list_that_confirmed_has_a_span_once(
    make: Make,
) -> None:
    traced = make("a", "b")

    asked = traced.ask()
    await settle()
    traced.stage.list_anew("b", after=1)
    await traced.delete("b")
    await asked
    assert len(traced.spans(PROCESS)) == 1
    await traced.delete("a", DeletionRecord(partition=5, offset=99))
    await traced.delete("a")

    _, span = traced.spans(PROCESS)
    assert (span.attributes or {})["messaging.kafka.offset"] == 99
    assert (span.attributes or {})["messaging.destination.partition.id"] == "5"
    assert parent_of(span) == id_of(traced.span(REQUEST))
    assert linked(span)[-1] == id_of(traced.span(SEND))


async def test_a_deletion_in_the_mailbox_behind_the_list_that_confirmed_has_a_span(
    make: Make,
) -> None:
    traced = make("a")

    asked = traced.ask()
    await settle()
    traced.stage.list_anew(after=1)
    await traced.delete("a")
    await asked

    assert (traced.span(PROCESS).attributes or {})["messaging.kafka.offset"] == 17


async def test_what_is_awaited_after_an_answer_is_bounded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.tracing.processing._MOST_NOTED", 2)
    traced = make("a", "b", "c")

    asked = traced.ask()
    await settle()
    traced.stage.list_anew(after=1)
    await asked
    for name in "abc":
        await traced.delete(name)

    assert len(traced.spans(PROCESS)) == 2


async def test_what_is_noted_of_deletions_is_bounded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.tracing.processing._MOST_NOTED", 2)
    traced = make("a", "b", "c")

    asked = traced.ask()
    await settle()
    for name in "abc":
        await traced.delete(name)
    await asked

    assert len(traced.spans(PROCESS)) == 3
    assert len(traced.tracing.processing._noted) == 2


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/items/x", 405, "GET /items/{itemId}"),
        ("DELETE", "/\udcff?secret", 400, "DELETE"),
        ("BREW", "/" + "x" * 5000, 400, "HTTP"),
    ],
)
async def test_a_request_that_is_refused_has_a_span_too(
    make: Make, method: str, path: str, status: int, name: str
) -> None:
    traced = make()

    async def refuse(_request: Any) -> FakeResponse:
        await asyncio.sleep(0)
        return FakeResponse(status, {"Takedown-Id": "t"})

    await traced.tracing.requests.around(refuse)(FakeRequest(method, path))

    (span,) = traced.spans()
    attributes = span.attributes or {}
    assert span.name == name
    assert span.status.status_code is StatusCode.UNSET
    assert attributes["http.response.status_code"] == status
    assert len(str(attributes["url.path"]).encode()) <= 200
    assert "secret" not in str(attributes["url.path"])


async def test_a_request_whose_connection_breaks_off_leaves_nothing_behind(make: Make) -> None:
    traced = make("a")

    asked = traced.ask()
    await settle()
    asked.cancel()
    await asyncio.wait([asked])
    await traced.delete("a")

    assert len(traced.tracing.requests) == 0
    assert len(traced.spans(REQUEST)) == 1
    assert parent_of(traced.span(PROCESS)) == id_of(traced.span(REQUEST))


async def test_with_the_sdk_switched_off_the_callers_trace_goes_through(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    traced = make("a")
    theirs = f"00-{TRACE}-{PARENT}-01"

    asked = traced.ask(theirs)
    await settle()
    passed_on = traced.stage.publisher.last.takedown.traceparent
    await traced.delete("a")
    await asked

    assert traced.spans() == []
    assert passed_on == theirs
