"""Answers as bytes: the one 200, and problem details (RFC 9457) for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from domain.messages import (
    Container,
    Deleted,
    DeletedContainer,
    Failed,
    NotFound,
    Refused,
    TimedOut,
    Unavailable,
)
from web.response import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.messages import ItemId, Outcome, TakedownId

_encoder = msgspec.json.Encoder()

_TYPE = "urn:takedown:problem:"
_JSON = "application/json"
_PROBLEM = "application/problem+json"


class DeletedAnswer(Struct, frozen=True, rename="camel"):
    """The body of a 200."""

    takedown_id: str
    item_id: str
    outcome: str
    containers: tuple[DeletedContainer, ...]
    elapsed_ms: int


class Problem(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The body of any other answer.

    Attributes:
        type: a stable URN that names the kind of problem.
        title: the same in words; never changes for one type.
        status: the HTTP status.
        detail: what happened this time, for people.
        instance: names this one answer.
        takedown_id: the request; the same as in the header.
        item_id: its item, where it could be read.
        published: containers whose delete request Kafka has acknowledged.
        unpublished: containers whose request failed, or was not sent yet.
        unacknowledged: containers whose request was on its way, and not settled.
        deleted: containers whose deletion was heard of.
        outstanding: the other containers; what happened to them is unknown.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    takedown_id: str | UnsetType = UNSET
    item_id: str | UnsetType = UNSET
    published: tuple[Container, ...] | UnsetType = UNSET
    unpublished: tuple[Container, ...] | UnsetType = UNSET
    unacknowledged: tuple[Container, ...] | UnsetType = UNSET
    deleted: tuple[Container, ...] | UnsetType = UNSET
    outstanding: tuple[Container, ...] | UnsetType = UNSET


def json_response(
    status: int, body: object, *, headers: Mapping[str, str] | None = None, problem: bool = False
) -> web.Response:
    """`body` as JSON."""
    return web.Response(
        status=status,
        body=_encoder.encode(body),
        headers=headers,
        content_type=_PROBLEM if problem else _JSON,
    )


def problem_response(
    status: int,
    code: str,
    title: str,
    detail: str,
    takedown_id: TakedownId,
    *,
    item_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem with the request itself: no takedown was begun."""
    body = Problem(
        type=_TYPE + code,
        title=title,
        status=status,
        detail=detail,
        instance=f"urn:uuid:{takedown_id}",
        takedown_id=takedown_id,
        item_id=UNSET if item_id is None else item_id,
    )
    return json_response(status, body, headers=headers, problem=True)


def outcome_response(
    outcome: Outcome, takedown_id: TakedownId, item_id: ItemId, elapsed: float
) -> Answer:
    """The answer to a takedown that was begun or refused; `elapsed` in seconds."""
    if isinstance(outcome, Deleted):
        body = DeletedAnswer(
            takedown_id=takedown_id,
            item_id=item_id,
            outcome="deleted",
            containers=outcome.containers,
            elapsed_ms=round(elapsed * 1000),
        )
        return Answer(200, _encoder.encode(body), {"Content-Type": _JSON})
    problem, headers = _problem(outcome, takedown_id, item_id)
    return Answer(problem.status, _encoder.encode(problem), {"Content-Type": _PROBLEM} | headers)


def _problem(
    outcome: Outcome, takedown_id: TakedownId, item_id: ItemId
) -> tuple[Problem, dict[str, str]]:
    def problem(
        status: int, code: str, title: str, detail: str, **lists: tuple[Container, ...]
    ) -> Problem:
        return Problem(
            type=_TYPE + code,
            title=title,
            status=status,
            detail=detail,
            instance=f"urn:uuid:{takedown_id}",
            takedown_id=takedown_id,
            item_id=item_id,
            **lists,
        )

    match outcome:
        case NotFound():
            return problem(
                404, "item-not-found", "Item not found", "The item is in no container"
            ), {}
        case TimedOut(deleted, outstanding):
            return problem(
                504,
                "deadline-passed",
                "Deadline passed",
                _why_late(outcome),
                deleted=deleted,
                outstanding=outstanding,
            ), {}
        case Refused(cause, published, unpublished, deleted, outstanding, unacknowledged, plain):
            return problem(
                502,
                "publish-failed",
                "Publish failed",
                f"Kafka did not accept every delete request ({plain or cause}); "
                "the outcome is unknown",
                published=published,
                unpublished=unpublished,
                unacknowledged=unacknowledged,
                deleted=deleted,
                outstanding=outstanding,
            ), {}
        case Unavailable(reason, detail, retry_after, plain):
            headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
            text = f"{plain or detail}; nothing was published"
            return problem(503, reason, _UNAVAILABLE[reason], text), headers
        case Failed() | Deleted():
            return problem(
                500,
                "internal-error",
                "Internal error",
                "A defect in this service ended the takedown; the outcome is unknown",
            ), {}


def _why_late(outcome: TimedOut) -> str:
    """What is known at the deadline, in words."""
    left, known = len(outcome.outstanding), len(outcome.outstanding) + len(outcome.deleted)
    missing = [
        words
        for words, holds in (
            ("the item's newest record cannot be read", outcome.doubted),
            (
                "it could not be shown in time that the list of containers is the newest",
                not outcome.proven,
            ),
            ("a newer list names more containers than one takedown may have", outcome.too_many),
        )
        if holds
    ]
    if not left:
        return (
            f"all {known} known containers are confirmed, but {' and '.join(missing)}; whether "
            "the item is in others is unknown"
        )
    unconfirmed = (
        f"{left} of {known} deletions were not confirmed in time; whether they happen is unknown"
    )
    return "; ".join((unconfirmed, *missing))


_UNAVAILABLE = {
    "overloaded": "Too many takedowns in flight",
    "not-ready": "Not ready",
    "kafka-unreachable": "Kafka cannot be reached",
    "shutting-down": "Shutting down",
    "item-in-doubt": "Item in doubt",
    "too-many-containers": "Too many containers",
}
