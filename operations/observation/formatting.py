"""Text and values from outside, made fit to be shown."""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass
from typing import Any

LONGEST = 200

_WORD = re.compile(r"_([a-z0-9])")


def cut(text: str) -> str:
    """At most `LONGEST` characters of it."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def camel(name: str) -> str:
    """`snake_case` as `camelCase`."""
    return _WORD.sub(lambda match: match[1].upper(), name)


def facts(statistics: object) -> dict[str, Any]:
    """A part's statistics, by names in camelCase; what is no plain value becomes text."""
    if not is_dataclass(statistics) or isinstance(statistics, type):
        return {}
    return {camel(name): _plain(value) for name, value in asdict(statistics).items()}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, dict):
        return {cut(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return cut(str(value))
