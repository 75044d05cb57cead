"""What the public API asks and answers; the clock and the network are virtual."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import pykka
import pytest
from support.callers import ITEM, NOON, TIMEOUT, TRACE, Callers, delete, serving
from support.wire import connected, exchange, request

from domain.messages import (
    Container,
    ContainerId,
    Deleted,
    DeletedContainer,
    Failed,
    NotFound,
    Outcome,
    Takedown,
    TimedOut,
    Unavailable,
)


@pytest.fixture
async def callers() -> AsyncIterator[Callers]:
    async with serving() as callers:
        yield callers


# ----------------------------------------------------------------------- what is asked


async def test_a_request_becomes_a_takedown_with_an_absolute_deadline(callers: Callers) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(100)
    accepted = loop.time()

    answer = await exchange(callers.address, delete(f"traceparent: {TRACE}"))

    takedown = callers.takedown
    assert takedown.takedown_id == answer.headers["takedown-id"]
    assert takedown.item_id == ITEM
    assert takedown.accepted_at == accepted
    assert takedown.deadline == accepted + TIMEOUT
    assert takedown.accepted_utc == NOON
    assert takedown.deadline_utc == NOON + timedelta(seconds=TIMEOUT)
    assert takedown.traceparent == TRACE


async def test_the_answer_is_waited_for_until_just_after_the_deadline(callers: Callers) -> None:
    await exchange(callers.address, delete("Prefer: wait=4"))

    ((takedown, timeout),) = callers.asked
    assert takedown.deadline == takedown.accepted_at + 4
    assert 4 < timeout <= 4.25


@pytest.mark.parametrize(("late", "status"), [(0.2, 200), (0.3, 504)])
async def test_a_success_that_comes_out_later_than_the_contract_allows_is_not_called_one(
    callers: Callers, late: float, status: int
) -> None:
    async def reply(takedown: Takedown) -> Outcome:
        await asyncio.sleep(takedown.deadline + late - asyncio.get_running_loop().time())
        return Deleted((DeletedContainer(ContainerId("c"), "group", NOON),))

    callers.reply = reply
    answer = await exchange(callers.address, delete("Prefer: wait=1"))

    assert answer.status == status
    if status == 504:
        assert answer.json()["deleted"] == [{"containerId": "c", "containerType": "group"}]
        assert answer.json()["outstanding"] == []


@pytest.mark.parametrize(
    ("prefer", "seconds", "applied"),
    [
        ("wait=4", 4, "wait=4"),
        ('WAIT="04"', 4, "wait=4"),
        ("wait=10", 10, None),
        ("wait=11", 10, None),
        ("wait=99999999999999999999", 10, None),
        ("respond-async", 10, None),
    ],
)
async def test_a_preference_shortens_the_deadline_and_never_lengthens_it(
    callers: Callers, prefer: str, seconds: float, applied: str | None
) -> None:
    answer = await exchange(callers.address, delete(f"Prefer: {prefer}"))

    assert callers.takedown.deadline == callers.takedown.accepted_at + seconds
    assert answer.headers.get("preference-applied") == applied


async def test_each_request_has_an_id_and_a_trace_of_its_own(callers: Callers) -> None:
    answers = [await exchange(callers.address, delete()) for _ in range(3)]

    assert len({answer.headers["takedown-id"] for answer in answers}) == 3
    assert len({takedown.traceparent for takedown, _ in callers.asked}) == 3


async def test_an_id_in_upper_case_is_asked_for_in_its_canonical_form(callers: Callers) -> None:
    answer = await exchange(callers.address, delete(item=ITEM.upper()))

    assert callers.takedown.item_id == ITEM
    assert answer.json()["itemId"] == ITEM


# --------------------------------------------------------------------- what is answered


async def test_the_outcome_is_answered_when_it_comes(callers: Callers) -> None:
    async def after_a_while(_takedown: Takedown) -> Outcome:
        await asyncio.sleep(3.25)
        return Deleted(())

    callers.reply = after_a_while
    began = asyncio.get_running_loop().time()

    answer = await exchange(callers.address, delete())

    assert asyncio.get_running_loop().time() == began + 3.25
    assert answer.status == 200
    assert answer.json()["elapsedMs"] == 3250
    assert callers.observed == [(200, "Deleted", 3.25)]


async def test_every_answer_says_who_it_is_from_and_that_it_is_not_to_be_kept(
    callers: Callers,
) -> None:
    answer = await exchange(callers.address, delete())

    assert answer.headers["server"] == "takedown"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (NotFound(), 404),
        (Unavailable("overloaded", "x", retry_after=3), 503),
        (TimedOut((), (Container(ContainerId("a"), "group"),)), 504),
        (Failed(), 500),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
async def test_each_outcome_is_observed_under_its_name(
    callers: Callers, outcome: Outcome, status: int
) -> None:
    async def reply(_takedown: Takedown) -> Outcome:
        return outcome

    callers.reply = reply

    answer = await exchange(callers.address, delete())

    assert answer.status == status
    assert answer.json()["takedownId"] == answer.headers["takedown-id"]
    assert callers.observed == [(status, type(outcome).__name__, 0.0)]


def dead(cause: Exception | None) -> Exception:
    error = pykka.ActorDeadError("dead")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (pykka.Timeout(), 500),  # nobody knows what was done
        (dead(RuntimeError("it crashed")), 500),  # nobody knows either
        (dead(None), 503),  # it had stopped before it came to it: nothing was done
    ],
)
async def test_a_coordinator_that_does_not_answer_is_not_waited_for(
    callers: Callers, error: Exception, status: int
) -> None:
    async def fail(_takedown: Takedown) -> Outcome:
        raise error

    callers.reply = fail

    answer = await exchange(callers.address, delete())

    assert answer.status == status
    assert answer.json()["itemId"] == ITEM
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_defect_in_the_server_is_a_500_and_the_server_stays_open(
    callers: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_takedown: Takedown) -> Outcome:
        raise ZeroDivisionError

    callers.reply = fail
    async with connected(callers.address) as connection:
        await connection.send(delete(close=False))
        failed = await connection.answer()
        callers.reply = callers.not_found
        await connection.send(delete(close=False))
        answered = await connection.answer()

    assert failed is not None
    assert failed.status == 500
    assert failed.json()["takedownId"] == failed.headers["takedown-id"]
    assert "ZeroDivisionError" not in failed.body.decode()
    assert "ZeroDivisionError" in caplog.text
    assert answered is not None
    assert answered.status == 404
    assert callers.observed[0][:2] == (500, "defect")


# ----------------------------------------------------------------- what is not asked


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (delete(item="nonsense"), 400, "invalid-item-id"),
        (delete(item=""), 400, "invalid-item-id"),
        (delete(item=f"{ITEM}/"), 400, "invalid-item-id"),
        (delete(item=f"{ITEM}/x"), 400, "invalid-item-id"),
        (delete("Prefer: wait=soon"), 400, "invalid-prefer"),
        (delete("Content-Length: 65537"), 413, "body-too-large"),
        (delete("Expect: the-impossible"), 417, "expectation-failed"),
        (request("GET", f"/items/{ITEM}"), 405, "method-not-allowed"),
        (request("DELETE", "/items"), 400, "unknown-path"),
        (request("GET", "/"), 400, "unknown-path"),
        (request("GET", "/", "Expect: the-impossible"), 417, "expectation-failed"),
        (b"nonsense\r\n\r\n", 400, "malformed-request"),
        (f"DELETE /items/{ITEM}\r\n\r\n".encode(), 400, "malformed-request"),
    ],
)
async def test_what_cannot_be_understood_is_never_asked(
    callers: Callers, data: bytes, status: int, code: str
) -> None:
    answer = await exchange(callers.address, data)

    body = answer.json()
    takedown_id = answer.headers["takedown-id"]
    assert answer.status == body["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:takedown:problem:{code}"
    assert body["instance"] == f"urn:uuid:{takedown_id}"
    assert body["takedownId"] == takedown_id
    assert body["title"]
    assert body["detail"]
    assert callers.asked == []


@pytest.mark.parametrize(
    "path",
    [
        f"/items/{ITEM}?why=not",
        f"/items/%36{ITEM[1:]}",
        f"http://takedown/items/{ITEM}",
        f"/items/{ITEM}#here",
    ],
)
async def test_a_path_may_be_written_in_other_ways(callers: Callers, path: str) -> None:
    answer = await exchange(callers.address, request("DELETE", path))

    assert answer.status == 404
    assert callers.takedown.item_id == ITEM


async def test_a_slash_that_is_escaped_is_no_slash(callers: Callers) -> None:
    answer = await exchange(callers.address, request("DELETE", f"/items%2F{ITEM}"))

    assert answer.status == 400
    assert callers.asked == []


async def test_who_asks_before_sending_a_body_is_told_to_go_on_and_answered(
    callers: Callers,
) -> None:
    data = delete("Expect: 100-continue", "Content-Length: 2", body="{}")
    async with connected(callers.address) as connection:
        await connection.send(data)
        answer = await connection.answer()

    assert answer is not None
    assert answer.status == 404


async def test_an_expectation_that_cannot_be_met_is_observed_too(callers: Callers) -> None:
    await exchange(callers.address, delete("Expect: the-impossible"))

    assert callers.observed == [(417, "bad-request", 0.0)]


async def test_a_caller_that_speaks_http_1_0_is_answered_in_kind(callers: Callers) -> None:
    line = f"DELETE /items/{ITEM} HTTP/1.0\r\n".encode()
    async with connected(callers.address) as connection:
        await connection.send(line + b"Connection: keep-alive\r\n\r\n")
        kept = await connection.answer()
        await connection.send(line + b"\r\n")
        closed = await connection.answer()
        assert await connection.closed()

    assert kept is not None
    assert closed is not None
    assert kept.headers["connection"] == "keep-alive"
    assert closed.headers.get("connection") in (None, "close")


async def test_an_error_names_the_item_where_it_could_be_read(callers: Callers) -> None:
    answer = await exchange(callers.address, delete("Prefer: wait=0", item=ITEM.upper()))

    assert answer.json()["itemId"] == ITEM


async def test_what_is_refused_is_observed_and_logged(
    callers: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "takedown.http")

    answer = await exchange(callers.address, delete(item="nonsense"))

    (record,) = (record for record in caplog.records if record.message == "Refused a request")
    assert record.__dict__["takedownId"] == answer.headers["takedown-id"]
    assert record.__dict__["status"] == 400
    assert record.__dict__["path"] == "/items/nonsense"
    assert callers.observed == [(400, "invalid-item-id", 0.0)]
