"""Query parameters, held to what the OpenAPI document says of them."""

from __future__ import annotations

import math
import re
import uuid
from typing import TYPE_CHECKING, Any

from operations.admin.openapi import MOST_STREAMED
from operations.observation.actors import Query, order_of
from operations.observation.live_updates import Watching
from operations.observation.paging import BadCursor, decode_cursor
from operations.observation.recent import RECENT, RecentQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from multidict import MultiMapping

    from operations.admin.openapi import Parameter

_MOST_LISTED = 20
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_INTEGER = re.compile(r"[0-9]{1,12}")


class BadParameter(Exception):
    """A parameter that is unknown, given twice, or not what it must be."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail


def parse(query: MultiMapping[str], parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The parameters that were given, with their values.

    Raises:
        BadParameter: one of them is wrong.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name not in known:
            raise BadParameter(name[:80], "There is no such parameter here")
        if name in values:
            raise BadParameter(name, "It is given more than once")
        parameter = known[name]
        if not parameter.listed:
            values[name] = _value(parameter, text)
            continue
        texts = text.split(",")
        if len(texts) > _MOST_LISTED:
            raise BadParameter(name, f"It lists more than {_MOST_LISTED} values")
        values[name] = tuple(dict.fromkeys(_value(parameter, each) for each in texts))
    return values


def _value(parameter: Parameter, text: str) -> Any:
    schema = parameter.schema
    if "enum" in schema:
        if text not in schema["enum"]:
            raise BadParameter(parameter.name, "It must be one of " + ", ".join(schema["enum"]))
        return text
    match schema["type"]:
        case "integer" | "number" as kind:
            return _number(parameter, text, whole=kind == "integer")
        case "boolean":
            if text not in {"true", "false"}:
                raise BadParameter(parameter.name, "It must be true or false")
            return text == "true"
        case _:
            return _text(parameter, text)


def _number(parameter: Parameter, text: str, *, whole: bool) -> float:
    low, high = parameter.schema["minimum"], parameter.schema["maximum"]
    number = math.nan
    if (_INTEGER if whole else _NUMBER).fullmatch(text):
        number = int(text) if whole else float(text)
    if not low <= number <= high:
        kind = "whole number" if whole else "number"
        raise BadParameter(parameter.name, f"It must be a {kind} from {low} to {high}")
    return number


def _text(parameter: Parameter, text: str) -> str:
    schema = parameter.schema
    if "pattern" in schema and re.search(schema["pattern"].replace("$", r"\Z"), text) is None:
        raise BadParameter(parameter.name, f"It must match {schema['pattern']}")
    if schema.get("format") == "uuid":
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise BadParameter(parameter.name, "It must be a UUID") from None
    if not 0 < len(text) <= schema.get("maxLength", len(text)):
        raise BadParameter(parameter.name, "It is empty or too long")
    return text


# ----------------------------------------------------------------------------- queries


def actors_query(values: Mapping[str, Any]) -> Query:
    """The query of `GET /actors`.

    Raises:
        BadParameter: the cursor is none, or comes with an offset.
    """
    if "cursor" in values and "offset" in values:
        raise BadParameter("offset", "It does not go together with cursor")
    sort = values.get("sort", "-age")
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    after = _cursor(values, order_of(name, descending=descending))
    return Query(
        kinds=frozenset(values.get("kind", ())),
        states=frozenset(values.get("state", ())),
        id=values.get("id", "").lower(),
        item=values.get("item", "").lower(),
        takedown=values.get("takedown", "").lower(),
        older_than=values.get("olderThan"),
        stuck=values.get("stuck"),
        sort=name,
        descending=descending,
        limit=values.get("limit", 50),
        offset=values.get("offset", 0),
        after=after,
    )


def recent_query(values: Mapping[str, Any]) -> RecentQuery:
    """The query of `GET /takedowns/recent`.

    Raises:
        BadParameter: the cursor is none.
    """
    after = _cursor(values, RECENT)
    if after is not None and not isinstance(after[1], int):
        raise BadParameter("cursor", "It must be a page's `next`")
    return RecentQuery(
        outcomes=frozenset(values.get("outcome", ())),
        id=values.get("id", "").lower(),
        item=values.get("item", "").lower(),
        takedown=values.get("takedown", "").lower(),
        limit=values.get("limit", 50),
        before=None if after is None else after[1],
    )


def _cursor(values: Mapping[str, Any], order: str) -> Any:
    cursor = values.get("cursor")
    if cursor is None:
        return None
    try:
        return decode_cursor(order, cursor)
    except BadCursor as error:
        raise BadParameter("cursor", f"It must be {error}") from None


def watching(values: Mapping[str, Any]) -> Watching:
    """What `GET /stream` is to show.

    Raises:
        BadParameter: the views and the other parameters do not go together.
    """
    views = tuple(sorted(values.get("view", ("overview",))))
    if ("takedownId" in values) is not ("takedown" in views):
        raise BadParameter("takedownId", "It goes with view=takedown, which needs it")
    if values.get("limit", 0) > MOST_STREAMED:
        raise BadParameter("limit", f"A stream shows {MOST_STREAMED} rows at most")
    for name in ("cursor", "offset"):
        if name in values and "actors" not in views:
            raise BadParameter(name, "In a stream it goes with view=actors")
    recent = {name: each for name, each in values.items() if name != "cursor"}
    return Watching(
        views=views,
        actors=actors_query(values) if "actors" in views else Query(),
        recent=recent_query(recent) if "recent" in views else RecentQuery(),
        takedown_id=values.get("takedownId", ""),
        minutes=values.get("minutes", 15),
    )
