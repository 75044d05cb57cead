"""Each outcome as an answer: its status, its body and its headers, exactly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.messages import (
    Container,
    ContainerId,
    Deleted,
    DeletedContainer,
    Failed,
    ItemId,
    NotFound,
    Outcome,
    Refused,
    TakedownId,
    TimedOut,
    Unavailable,
    UnavailableReason,
)
from web.problems import outcome_response, problem_response
from web.response import Answer

TAKEDOWN = TakedownId("0b6bd6a8-5f9f-4f9a-8b0e-6a4b7f3a5a11")
ITEM = ItemId("6f1a1f5e-8c8a-4a43-9d5b-0d4a6f0c7b22")
A = Container(ContainerId("a"), "timeline")
B = Container(ContainerId("b"), "group")
C = Container(ContainerId("c"), "grüppe\n")
AS_JSON = [
    {"containerId": "a", "containerType": "timeline"},
    {"containerId": "b", "containerType": "group"},
    {"containerId": "c", "containerType": "grüppe\n"},
]


def answer_to(outcome: Outcome, elapsed: float = 1.5) -> tuple[Answer, Any]:
    response = outcome_response(outcome, TAKEDOWN, ITEM, elapsed)
    return response, json.loads(response.body)


def problem(status: int, code: str, title: str, detail: str, **lists: Any) -> dict[str, Any]:
    return {
        "type": f"urn:takedown:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:uuid:{TAKEDOWN}",
        "takedownId": TAKEDOWN,
        "itemId": ITEM,
        **lists,
    }


def test_a_deletion_is_a_200_with_every_container() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    later = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)
    deleted = (
        DeletedContainer(B.container_id, "group", at),
        DeletedContainer(A.container_id, "timeline", later, "list"),
    )

    response, body = answer_to(Deleted(deleted), elapsed=0.0416)

    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert body == {
        "takedownId": TAKEDOWN,
        "itemId": ITEM,
        "outcome": "deleted",
        "containers": [
            {
                "containerId": "b",
                "containerType": "group",
                "deletedAt": "2026-01-02T03:04:05.678000Z",
                "confirmedBy": "deletion",
            },
            {
                "containerId": "a",
                "containerType": "timeline",
                "deletedAt": "2026-01-02T03:04:06Z",
                "confirmedBy": "list",
            },
        ],
        "elapsedMs": 42,
    }


def test_not_found_is_a_404() -> None:
    response, body = answer_to(NotFound())

    assert response.status == 404
    assert body == problem(404, "item-not-found", "Item not found", "The item is in no container")


def test_a_passed_deadline_is_a_504_that_says_what_is_known() -> None:
    response, body = answer_to(TimedOut((B,), (A, C)))

    assert response.status == 504
    assert body == problem(
        504,
        "deadline-passed",
        "Deadline passed",
        "2 of 3 deletions were not confirmed in time; whether they happen is unknown",
        deleted=[AS_JSON[1]],
        outstanding=[AS_JSON[0], AS_JSON[2]],
    )


def test_lists_are_there_even_when_they_are_empty() -> None:
    _, timed_out = answer_to(TimedOut((), (A,)))
    _, refused = answer_to(Refused("x", (), (A,), (), (A,)))

    assert timed_out["deleted"] == []
    assert refused["published"] == []
    assert refused["deleted"] == []
    assert refused["unacknowledged"] == []


def test_a_refused_publish_is_a_502_that_says_what_is_known() -> None:
    response, body = answer_to(Refused("NotLeader", (A,), (B, C), (A,), (B, C)))

    assert response.status == 502
    assert body == problem(
        502,
        "publish-failed",
        "Publish failed",
        "Kafka did not accept every delete request (NotLeader); the outcome is unknown",
        published=[AS_JSON[0]],
        unpublished=AS_JSON[1:],
        unacknowledged=[],
        deleted=[AS_JSON[0]],
        outstanding=AS_JSON[1:],
    )


def test_a_502_names_what_is_not_settled() -> None:
    _, body = answer_to(Refused("x", (A,), (B,), (), (A, B, C), unacknowledged=(C,)))

    assert (body["published"], body["unpublished"]) == ([AS_JSON[0]], [AS_JSON[1]])
    assert body["unacknowledged"] == [AS_JSON[2]]


UNPROVEN = "it could not be shown in time that the list of containers is the newest"
UNREADABLE = "the item's newest record cannot be read"
LATE = "2 of 3 deletions were not confirmed in time; whether they happen is unknown"
ELSEWHERE = "; whether the item is in others is unknown"
ALL = "all 2 known containers are confirmed, but "


@pytest.mark.parametrize(
    ("outcome", "detail"),
    [
        (TimedOut((A, B), (), proven=False), ALL + UNPROVEN + ELSEWHERE),
        (TimedOut((A, B), (), doubted=True), ALL + UNREADABLE + ELSEWHERE),
        (
            TimedOut((A, B), (), proven=False, doubted=True),
            f"{ALL}{UNREADABLE} and {UNPROVEN}{ELSEWHERE}",
        ),
        (TimedOut((A,), (B, C), proven=False), f"{LATE}; {UNPROVEN}"),
        (TimedOut((A,), (B, C), doubted=True), f"{LATE}; {UNREADABLE}"),
        (
            TimedOut((A,), (B, C), too_many=True),
            f"{LATE}; a newer list names more containers than one takedown may have",
        ),
    ],
)
def test_a_504_says_which_evidence_is_missing(outcome: TimedOut, detail: str) -> None:
    _, body = answer_to(outcome)

    assert body["detail"] == detail


@pytest.mark.parametrize(
    ("reason", "title"),
    [
        ("overloaded", "Too many takedowns in flight"),
        ("not-ready", "Not ready"),
        ("kafka-unreachable", "Kafka cannot be reached"),
        ("shutting-down", "Shutting down"),
        ("item-in-doubt", "Item in doubt"),
        ("too-many-containers", "Too many containers"),
    ],
)
def test_what_is_not_available_is_a_503_that_says_when_to_come_back(
    reason: UnavailableReason, title: str
) -> None:
    response, body = answer_to(Unavailable(reason, "It is so", retry_after=7))

    assert response.status == 503
    assert response.headers["Retry-After"] == "7"
    assert body == problem(503, reason, title, "It is so; nothing was published")


def test_a_caller_is_told_the_plain_cause_and_not_that_of_operators() -> None:
    cause, plain = "10.0.0.7:9092 refuses User:alice", "Kafka cannot be used now"
    _, unavailable = answer_to(Unavailable("kafka-unreachable", cause, plain=plain))
    _, refused = answer_to(Refused(cause, (), (A,), (), (A,), plain=plain))

    assert unavailable["detail"] == f"{plain}; nothing was published"
    assert refused["detail"] == (
        f"Kafka did not accept every delete request ({plain}); the outcome is unknown"
    )


def test_a_503_that_waiting_does_not_change_names_no_time() -> None:
    response, _ = answer_to(Unavailable("too-many-containers", "It is in 3", None))

    assert response.status == 503
    assert "Retry-After" not in response.headers


def test_a_defect_is_a_500() -> None:
    response, body = answer_to(Failed())

    assert response.status == 500
    assert body == problem(
        500,
        "internal-error",
        "Internal error",
        "A defect in this service ended the takedown; the outcome is unknown",
    )


@pytest.mark.parametrize(
    "outcome",
    [
        NotFound(),
        TimedOut((), (A,)),
        Refused("x", (), (A,), (), (A,)),
        Unavailable("not-ready", "x"),
        Failed(),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_every_error_is_a_problem_document(outcome: Outcome) -> None:
    response, body = answer_to(outcome)

    assert response.headers["Content-Type"] == "application/problem+json"
    assert body["status"] == response.status
    assert ("Retry-After" in response.headers) == (response.status == 503)


def test_a_problem_with_the_request_names_the_request_and_no_item() -> None:
    response = problem_response(400, "odd", "Odd", "Very odd", TAKEDOWN, headers={"Allow": "X"})

    assert isinstance(response.body, bytes)
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Allow"] == "X"
    assert json.loads(response.body) == {
        "type": "urn:takedown:problem:odd",
        "title": "Odd",
        "status": 400,
        "detail": "Very odd",
        "instance": f"urn:uuid:{TAKEDOWN}",
        "takedownId": TAKEDOWN,
    }


def test_a_problem_names_the_item_where_it_could_be_read() -> None:
    response = problem_response(400, "odd", "Odd", "Very odd", TAKEDOWN, item_id=ITEM)

    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["itemId"] == ITEM
