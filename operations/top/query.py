"""What is asked of the admin API: filter, order, and which worker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from operations.observation.schemas.fields import Kind

VIEWS = "overview,actors,statistics,recent,losses"

SORTS = ("-age", "deadline", "state", "-outstanding", "-mailbox", "-restarts", "-since")
"""Orders in the sense in which each is asked for first."""

LIMIT = 100
"""Rows that one stream shows at most."""

HELP = "an item's id or how it begins, t:ID of a takedown, a state, a kind, >SECONDS, stuck"

_STATES = (
    *("Idle", "Locating", "Active", "Open", "Draining"),
    *("Reading", "CatchingUp", "Interrupted", "Working"),
)
_HEX = re.compile(r"[0-9A-Fa-f-]{1,36}")
_AGE = re.compile(r">[0-9]{1,6}(?:\.[0-9]{1,3})?")
_SHORTEST = 3


class BadFilter(Exception):
    """A filter that means nothing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is shown.

    Attributes:
        sort: the order of the actors.
        filter: which of them, as parameters of the admin API.
        text: the same, as it was typed.
    """

    sort: str = SORTS[0]
    filter: tuple[tuple[str, str], ...] = ()
    text: str = ""

    def parameters(self) -> dict[str, str]:
        """Of the actors."""
        return {"sort": self.sort, "limit": str(LIMIT), **dict(self.filter)}


def reversed_sort(sort: str) -> str:
    """The other way round."""
    return sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"


def next_sort(sort: str) -> str:
    """The order after this one."""
    names = [each.removeprefix("-") for each in SORTS]
    return SORTS[(names.index(sort.removeprefix("-")) + 1) % len(SORTS)]


def parse_filter(text: str) -> tuple[tuple[str, str], ...]:
    """A filter as it is typed, as parameters.

    Raises:
        BadFilter: a word in it means nothing, or two say different things.
    """
    found: dict[str, str] = {}
    for word in text.split():
        name, value = _parameter(word)
        if name in {"state", "kind"} and name in found:
            value = f"{found.pop(name)},{value}"
        if name in found:
            raise BadFilter(f"{word}: there is one of its like already")
        found[name] = value
    return tuple(found.items())


def _parameter(word: str) -> tuple[str, str]:
    if word.lower() == "stuck":
        return "stuck", "true"
    if _AGE.fullmatch(word):
        return "olderThan", word[1:]
    if word.lower().startswith("t:") and _HEX.fullmatch(word[2:]):
        return "takedown", word[2:]
    if _HEX.fullmatch(word):
        return "item", word
    for parameter, names in (("state", _STATES), ("kind", get_args(Kind))):
        for name in names:
            if len(word) >= _SHORTEST and name.lower().startswith(word.lower()):
                return parameter, name
    raise BadFilter(f"{word}: not known; {HELP}")
