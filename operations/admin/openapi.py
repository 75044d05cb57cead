"""The OpenAPI document of the admin API, made from the shapes that it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from operations.observation.schemas.actors import ActorDetail, ActorPage
from operations.observation.schemas.fields import Kind, OutcomeName, ViewName
from operations.observation.schemas.health import Alive, BadRequest, Ready
from operations.observation.schemas.history import History
from operations.observation.schemas.incidents import CatalogueDoubts, Incidents, Losses
from operations.observation.schemas.machines import Machines, MachineView
from operations.observation.schemas.overview import Overview
from operations.observation.schemas.statistics import Statistics
from operations.observation.schemas.stream import Change, Snapshot
from operations.observation.schemas.takedowns import FinishedPage, Timeline

MOST_ROWS = 500
"""Rows of one page, at most."""

MOST_STREAMED = 100
"""Rows of one page of a stream, at most."""

SORTS = ("age", "deadline", "state", "since", "outstanding", "mailbox", "restarts")
"""What actors can be sorted by; with a minus in front: the largest first."""

_DESCRIPTION = """\
What the service is doing, for operators: read-only, JSON, never cached.

Times by the wall clock are labels; durations are by the service's own clock. A page of actors is
taken over several turns of the event loop, since nothing here may hold a takedown up: it is not
one instant of all actors. Unknown or invalid parameters are a 400 that names the parameter.
"""

_STREAM = """\
Server-sent events. First `snapshot`, then `change` whenever something in the views changed, at
most four in a second and fewer when there is much to look at; what happens in between is
coalesced. Each event has an `id`; a client that comes back with it in `Last-Event-ID` gets the
changes since then, or a new `snapshot` if that is too long ago. A comment comes every 10 seconds
when there is nothing else. A viewer that does not read for 15 seconds is cut off.

Lists change by `{total, order, changed, next}`: merge `changed` by id, then show the ids in
`order`. Every other view comes whole. `views` has only the views that changed.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter.

    Attributes:
        name: its name.
        text: what it means.
        schema: its JSON schema.
        listed: a comma-separated list of such values.
    """

    name: str
    text: str
    schema: dict[str, Any]
    listed: bool = False


_LIMIT = Parameter(
    "limit",
    f"Rows of a page; a stream takes {MOST_STREAMED} at most.",
    {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 50},
)
_CURSOR = Parameter(
    "cursor", "`next` of the page before.", {"type": "string", "maxLength": 512, "minLength": 1}
)
_OFFSET = Parameter(
    "offset",
    "Rows to skip; not together with `cursor`.",
    {"type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 0},
)
_ID_PREFIX = {"type": "string", "pattern": "^[0-9A-Fa-f-]{1,36}$"}
_ITEM = Parameter("item", "An itemId, or how it begins.", _ID_PREFIX)
_ID = Parameter("id", "An itemId or a takedownId, or how it begins.", _ID_PREFIX)
_TAKEDOWN = Parameter("takedown", "A takedownId, or how it begins.", _ID_PREFIX)

ACTOR_PARAMETERS = (
    Parameter("kind", "Kinds of actor.", {"enum": list(get_args(Kind))}, listed=True),
    Parameter("state", "States.", {"type": "string", "pattern": "^[A-Za-z]{1,40}$"}, listed=True),
    _ID,
    _ITEM,
    _TAKEDOWN,
    Parameter(
        "olderThan",
        "Takedowns accepted at least so many seconds ago.",
        {"type": "number", "minimum": 0, "maximum": 1_000_000},
    ),
    Parameter("stuck", "Only those that are (true) or are not (false) stuck.", {"type": "boolean"}),
    Parameter(
        "sort",
        "With a minus in front: the largest first. What has no value comes last.",
        {"enum": [sign + name for name in SORTS for sign in ("", "-")], "default": "-age"},
    ),
    _LIMIT,
    _OFFSET,
    _CURSOR,
)

RECENT_PARAMETERS = (
    Parameter("outcome", "Outcomes.", {"enum": list(get_args(OutcomeName))}, listed=True),
    _ID,
    _ITEM,
    _TAKEDOWN,
    _LIMIT,
    _CURSOR,
)

DOUBTS_PARAMETERS = (
    Parameter(
        "limit",
        "Items of the page.",
        {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 50},
    ),
)

HISTORY_PARAMETERS = (
    Parameter(
        "minutes",
        "How far back.",
        {"type": "integer", "minimum": 1, "maximum": 15, "default": 15},
    ),
)

STREAM_PARAMETERS = (
    Parameter(
        "view",
        "What to watch; `overview` by default.",
        {"enum": list(get_args(ViewName))},
        listed=True,
    ),
    *ACTOR_PARAMETERS,
    Parameter("outcome", "For `recent`.", {"enum": list(get_args(OutcomeName))}, listed=True),
    Parameter("takedownId", "For `takedown`: which one.", {"type": "string", "format": "uuid"}),
    Parameter(
        "minutes",
        "For `history`: how far back.",
        {"type": "integer", "minimum": 1, "maximum": 15, "default": 15},
    ),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One path of the admin API; all are GET.

    Attributes:
        path: as OpenAPI has it.
        name: its operationId.
        summary: one line.
        answer: the type of a 200's JSON; None where it is not JSON.
        parameters: its query parameters.
        description: more.
        answers: what else it may answer, by status: the words, and the type of the JSON or None
            for a problem.
        media: of a 200 that is not JSON.
        lenient: parameters are not looked at: programs ask here, with habits of their own.
    """

    path: str
    name: str
    summary: str
    answer: Any = None
    parameters: tuple[Parameter, ...] = ()
    description: str = ""
    answers: tuple[tuple[int, str, Any], ...] = ()
    media: str = "application/json"
    lenient: bool = False


_GONE = ((404, "It is not there, or not any more.", None),)

OPERATIONS = (
    Operation("/livez", "livez", "Whether the loop answers; asks nobody.", Alive, lenient=True),
    Operation(
        "/readyz",
        "readyz",
        "Whether takedowns may begin, by check.",
        Ready,
        answers=((503, "They may not.", Ready),),
        lenient=True,
    ),
    Operation("/metrics", "metrics", "For Prometheus.", media="text/plain", lenient=True),
    Operation("/openapi.json", "openapi", "This document.", dict[str, Any]),
    Operation("/overview", "overview", "A summary.", Overview),
    Operation("/actors", "actors", "Live actors.", ActorPage, ACTOR_PARAMETERS),
    Operation(
        "/actors/{id}",
        "actor",
        "One live actor: data, timers, last transitions.",
        ActorDetail,
        answers=_GONE,
    ),
    Operation(
        "/takedowns/recent",
        "recent",
        "Takedowns that have their answer, the last one first.",
        FinishedPage,
        RECENT_PARAMETERS,
        description="As many of each outcome are kept, so that many good ones do not push a bad "
        "one out.",
    ),
    Operation(
        "/takedowns/{takedownId}",
        "takedown",
        "One takedown's timeline, in flight or finished.",
        Timeline,
        answers=_GONE,
    ),
    Operation("/machines", "machines", "Every state machine.", Machines),
    Operation(
        "/machines/{name}",
        "machine",
        "One machine: table, picture, live counts, rates.",
        MachineView,
        answers=_GONE,
    ),
    Operation("/statistics", "statistics", "Statistics of each part.", Statistics),
    Operation(
        "/history",
        "history",
        "Outcomes and latency of the last minutes.",
        History,
        HISTORY_PARAMETERS,
    ),
    Operation("/incidents", "incidents", "What is stuck, and what was.", Incidents),
    Operation("/losses", "losses", "Dead letters, skipped records and stale deletions.", Losses),
    Operation(
        "/catalogue/doubts",
        "doubts",
        "Items whose newest record cannot be read, the newest first.",
        CatalogueDoubts,
        DOUBTS_PARAMETERS,
        description="Such an item gets 503 `item-in-doubt` until a readable list or a null value "
        "arrives. At most the newest 1000 are listed; `takedown catalogue doubts` lists all.",
    ),
    Operation(
        "/stream",
        "stream",
        "What changes, as server-sent events.",
        parameters=STREAM_PARAMETERS,
        description=_STREAM,
        answers=((503, "There are too many viewers.", None),),
        media="text/event-stream",
    ),
)

_AT_ONCE = frozenset({"livez", "readyz", "openapi", "stream"})
"""Operations that wait for no other one."""

_PATH_PARAMETERS = {
    "id": "An actor's id, with or without `urn:uuid:`.",
    "takedownId": "A takedown's id.",
    "name": "A machine's name.",
}


def document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document.

    Args:
        version: of the service.
    """
    types = [operation.answer for operation in OPERATIONS if operation.answer is not None]
    types += [BadRequest, Snapshot, Change]
    _, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "takedown: the admin API",
            "version": version,
            "description": _DESCRIPTION,
        },
        "paths": {operation.path: {"get": _operation(operation)} for operation in OPERATIONS},
        "components": {"schemas": components},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *map(_parameter, operation.parameters)],
        "responses": {
            "200": {
                "description": operation.summary,
                "content": {operation.media: {"schema": _schema(operation)}},
            },
            **{
                str(status): {"description": text, "content": _content(kind)}
                for status, text, kind in operation.answers
            },
        },
    }
    if operation.name not in _AT_ONCE:
        described["responses"]["503"] = {
            "description": "Too many requests wait; these answers are made one at a time.",
            "content": _content(None),
        }
    if not operation.lenient:
        described["responses"]["400"] = {
            "description": "An unknown or invalid parameter.",
            "content": _content(None),
        }
    if operation.description:
        described["description"] = operation.description
    if operation.media == "text/event-stream":
        described["x-events"] = {
            "snapshot": {"$ref": "#/components/schemas/Snapshot"},
            "change": {"$ref": "#/components/schemas/Change"},
        }
        described["parameters"].append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The `id` of the last event that was seen.",
                "schema": {"type": "string"},
            }
        )
    return described


def _schema(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"type": "string"}
    return _reference(operation.answer)


def _reference(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components(
        [kind], ref_template="#/components/schemas/{name}"
    )
    return schema


def _content(kind: Any) -> dict[str, Any]:
    if kind is None:
        return {"application/problem+json": {"schema": _reference(BadRequest)}}
    return {"application/json": {"schema": _reference(kind)}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in _PATH_PARAMETERS.items()
        if f"{{{name}}}" in path
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.text,
        "schema": parameter.schema,
    }
    if parameter.listed:
        described["schema"] = {"type": "array", "items": parameter.schema, "minItems": 1}
        described["style"] = "form"
        described["explode"] = False
    return described
