"""From a setting's text to its value: one function for each kind of value.

Each raises ValueError with a text that completes "must be ...".
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s,:\[\]]+):(?P<port>[0-9]{1,5})")
_PORTS = range(65536)
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[A-Za-z0-9._~!$&'()*+,;=:%/-]*)?")


def text(given: str) -> str:
    """Any text, empty too."""
    return given


def required(text: str) -> str:
    """Any text that is not empty."""
    if not text:
        raise ValueError("not empty")
    return text


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Whole numbers from `low` to `high`, both included; `high` None: no limit."""
    span = f"a whole number from {low}" + (f" to {high}" if high is not None else "")

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError(span)
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(span)
        return value

    return parse


def number(what: str, low: float, high: float) -> Callable[[str], float]:
    """Numbers from `low` to `high`, both included; `what` names them in messages."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"{what}, from {low:g} to {high:g}")
        return value

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Durations from `low` to `high` seconds."""
    return number("seconds", low, high)


def choice(*choices: str) -> Callable[[str], str]:
    """One of these texts; messages leave out the empty one."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(filter(None, choices)))
        return text

    return parse


def flag(text: str) -> bool:
    """True or false."""
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


def flag_or_empty(text: str) -> bool | None:
    """True, false, or None for an empty text."""
    if text not in {"", "true", "false"}:
        raise ValueError("true or false, or empty")
    return flag(text) if text else None


def topic(text: str) -> str:
    """A name that Kafka allows for a topic."""
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("a topic name: up to 249 letters, digits, '.', '_' and '-'")
    return text


def servers(text: str) -> str:
    """A list of `host:port`, without the spaces around its commas; it may be empty."""
    listed = [server.strip() for server in text.split(",")] if text.strip() else []
    for server in listed:
        match = _SERVER.fullmatch(server)
        if match is None or int(match["port"]) not in _PORTS or int(match["port"]) == 0:
            raise ValueError(f"a comma-separated list of host:port, which {server!r} is not")
    return ",".join(listed)


class Undisclosed(ValueError):
    """The message must not repeat the value: it can hold a password."""


def url(text: str) -> str:
    """A base URL without the slash at its end; it may be empty.

    Raises:
        Undisclosed: it holds credentials.
    """
    if not text:
        return ""
    wanted = "http:// or https://, host[:port] and perhaps a path, without query and fragment"
    if "@" in text:
        raise Undisclosed(f"{wanted}, and without credentials")
    try:
        parts = urlsplit(text)
        known = _URL.fullmatch(text) is not None and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError(wanted)
    return text.rstrip("/")


def replication(text: str) -> int:
    """A replication factor; -1 for an empty text: the broker's default."""
    return -1 if text == "" else integer(1, 32767)(text)
