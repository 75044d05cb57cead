"""What an answer of the Items service proves about an item: the contract, and nothing else.

`GET {base}/items/{itemId}/containers` is asked. Two answers are evidence:

* **200**, `application/json`: `{"itemId","containers":[{"containerId","containerType"}]}`, the
  item's complete, current list; an empty one means that it is nowhere any more.
* **404**, `application/problem+json` with `"itemId"`: the item is unknown. A proxy, a wrong base
  path or a router that knows no such route answers 404 as well, and knows nothing about items:
  a 404 that does not name the item in that member proves nothing.

In both, `itemId` must be the item that was asked for; other members are ignored, but for an
optional `publishedAt` in the list: its time, by the clock of `deletedAt`. Whatever else comes back
proves nothing, and the caller gets a 503: a 404 is told to the police on evidence only.

An answer from a cache is of an earlier time, and proves nothing about now. Each request forbids it
(`Cache-Control: no-cache`) and has a query of its own (`?request=...`), which no cache has stored
an answer to; caches that answer all the same give themselves away, as below.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from bus.kafka.codec import parse_item_id
from bus.kafka.times import parse_time
from domain.errors import TakedownError
from domain.messages import Container, ItemId, UtcTime

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_BODY = 2 << 20
"""Bytes. A thousand containers with the longest names that our Items service takes fit in."""

_OK = 200
_NOT_FOUND = 404
_TOO_MANY = 429
_REDIRECTS = range(300, 400)
_FORBIDDEN = frozenset({401, 403, 407})
_PASSING = frozenset({502, 503, 504})

_EXCERPT = 80

_CACHES = ("X-Cache", "X-Cache-Status", "X-Proxy-Cache", "CF-Cache-Status")
"""Headers in which caches tell what they did, in words of their own."""

_STORED = frozenset({"HIT", "STALE", "UPDATING", "TCP_HIT", "TCP_MEM_HIT", "TCP_IMS_HIT"})
"""Such words for: nobody was asked. Not so `RefreshHit` or `REVALIDATED`."""

_WORD = re.compile(r"[A-Za-z_]+")
_AGE_ZERO = re.compile(r"0+")
_FROM_CACHE = re.compile(r";\s*(hit|collapsed)(?!\s*=\s*\?0)(?![\w.-])")
"""Parameters of `Cache-Status` (RFC 9211); a collapsed request was answered with an earlier one's
answer."""

_LONGEST_HEADER = 1000


class Fault(enum.Enum):
    """Whose fault it is that there is no evidence, and what follows."""

    PASSING = "passing"
    """It may work in a moment: worth a retry, and a failure for the circuit."""

    LASTING = "lasting"
    """A retry will not help, and every other search will fail the same way."""

    ODD = "odd"
    """A retry will not help, and it may be about this one item: other searches may well work.

    Not a failure for the circuit, or one poisoned item, asked for again and again, would shut
    everybody out.
    """

    CACHED = "cached"
    """A cache gave the answer, of this one item: worth a retry, and no failure for the circuit."""


class NoEvidence(TakedownError):
    """What came back, if anything, proves nothing about the item.

    Args:
        cause: for people.
        fault: what follows.
        retry_after: seconds that the Items service wants to be left alone.
    """

    def __init__(self, cause: str, fault: Fault, *, retry_after: float = 0.0) -> None:
        super().__init__(cause)
        self.fault = fault
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP, read to its end.

    Attributes:
        status: its status.
        content_type: its media type in lower case, without parameters; empty if it has none.
        body: its body as it came, not decompressed; None: it was larger than `LARGEST_BODY`.
        retry_after: its header of that name.
        cached: how it is known that a cache gave the answer; None if it is not.
        date: its header of that name: when it was made, to the second; None without a usable one.
    """

    status: int
    content_type: str
    body: bytes | None
    retry_after: str | None = None
    cached: str | None = None
    date: datetime | None = None


class Located(NamedTuple):
    """Where an item is.

    Attributes:
        containers: none: it is nowhere any more.
        published_at: the list's own time in UTC, if it names one.
    """

    containers: tuple[Container, ...]
    published_at: datetime | None = None


class _Located(msgspec.Struct, rename="camel"):
    item_id: str
    containers: tuple[Container, ...]
    published_at: Any = None


class _Unknown(msgspec.Struct, rename="camel"):
    item_id: str


_located = msgspec.json.Decoder(_Located)
_unknown = msgspec.json.Decoder(_Unknown)

M = TypeVar("M", _Located, _Unknown)


def judge(answer: Answer, item_id: ItemId) -> Located | None:
    """Where the item is, or None: it is unknown.

    Raises:
        NoEvidence: the answer proves neither.
    """
    if answer.cached is not None and answer.status in {_OK, _NOT_FOUND}:
        raise NoEvidence(
            f"a {answer.status} that a cache gave ({answer.cached}), which may be an old one",
            Fault.CACHED,
        )
    if answer.status == _OK:
        if answer.content_type != "application/json":
            raise NoEvidence(f"a 200 of type {_shown(answer.content_type)}, not JSON", Fault.ODD)
        located = _read(_located, answer, item_id)
        return Located(located.containers, _time(located.published_at))
    if answer.status == _NOT_FOUND:
        _prove_unknown(answer, item_id)
        return None
    raise _refusal(answer)


def _prove_unknown(answer: Answer, item_id: ItemId) -> None:
    try:
        if answer.content_type == "application/problem+json":
            _read(_unknown, answer, item_id)
            return
        cause = f"its type is {_shown(answer.content_type)}"
    except NoEvidence as error:
        cause = str(error)
    raise NoEvidence(
        "a 404 that is not the Items service's word about the item; is TAKEDOWN_CATALOGUE_URL"
        f" right? ({cause})",
        Fault.LASTING,
    )


def _read(decoder: msgspec.json.Decoder[M], answer: Answer, item_id: ItemId) -> M:
    if answer.body is None:
        raise NoEvidence(f"a {answer.status} of more than {LARGEST_BODY} bytes", Fault.ODD)
    try:
        message = decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        cause = str(error) or type(error).__name__
        raise NoEvidence(f"a {answer.status} that cannot be read: {cause}", Fault.ODD) from None
    if parse_item_id(message.item_id) != item_id:
        named = _shown(message.item_id)
        raise NoEvidence(f"a {answer.status} about another item, {named}", Fault.ODD)
    return message


def _time(value: Any) -> datetime | None:
    """A time with its zone in UTC; None for anything else, as for a member that is not there."""
    try:
        time: datetime = msgspec.convert(value, UtcTime, strict=True)
        return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return parse_time(value) if isinstance(value, str) else None


def from_cache(headers: Mapping[str, str]) -> str | None:
    """The header that gives a cache's answer away, as text; None if none does.

    Args:
        headers: of the answer; names in any case. Of a repeated one the values are joined.
    """
    age = headers.get("Age", "0").strip()
    if _AGE_ZERO.fullmatch(age) is None:
        return f"Age: {age[:_EXCERPT]}"
    status = headers.get("Cache-Status", "")[:_LONGEST_HEADER]
    if _FROM_CACHE.search(status):
        return f"Cache-Status: {status[:_EXCERPT]}"
    for name in _CACHES:
        value = headers.get(name, "")[:_LONGEST_HEADER]
        if _STORED.intersection(word.upper() for word in _WORD.findall(value)):
            return f"{name}: {value[:_EXCERPT]}"
    return None


def _refusal(answer: Answer) -> NoEvidence:
    status = answer.status
    if status in _PASSING or status == _TOO_MANY:
        return NoEvidence(
            f"it answered {status}", Fault.PASSING, retry_after=_seconds(answer.retry_after)
        )
    if status in _REDIRECTS:
        return NoEvidence(f"it answered {status}; a redirect is not followed", Fault.LASTING)
    if status in _FORBIDDEN:
        return NoEvidence(f"it answered {status}: we are not let in", Fault.LASTING)
    return NoEvidence(f"it answered {status}", Fault.ODD)


def _seconds(text: str | None) -> float:
    """A `Retry-After` in seconds. A date would need the wall clock: then our own backoff does."""
    if text is None or not (text.isascii() and text.isdigit()):
        return 0.0
    return float(text[:9])


def _shown(text: Any) -> str:
    return repr(text[:_EXCERPT]) if text else "none"
