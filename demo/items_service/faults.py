"""Switches for what goes wrong at the Items service, so that takedown's answers can be shown."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REORDER_SPREAD = 0.05
"""Seconds: with `reorder`, each event is held back for up to this long, each for its own time."""

LONGEST_DELAY = 3600.0


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. Without arguments: nothing.

    Attributes:
        latency: seconds before an `item_deleted` is published.
        jitter: up to this many seconds more, each event its own.
        drop: probability that an `item_deleted` is never published.
        duplicate: probability that it is published twice.
        reorder: whether events overtake each other.
        never_delete: ids or types of containers from which nothing is deleted: the request is
            read, and nothing happens.
        work: seconds until a container has deleted an item, half as many to half as many again. A
            crash in between forgets it.
        slow: ids or types of containers that need `slow_work` instead.
        slow_work: seconds that they need, in the same manner.
        seed: makes the rng repeatable; None leaves them to chance.

    Raises:
        ValueError: a value is out of its range; the message names it.
    """

    latency: float = 0.0
    jitter: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: bool = False
    never_delete: frozenset[str] = frozenset()
    work: float = 0.0
    slow: frozenset[str] = frozenset()
    slow_work: float = 3.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("latency", "jitter", "work", "slow_work"):
            _check_range(name, getattr(self, name), LONGEST_DELAY)
        for name in ("drop", "duplicate"):
            _check_range(name, getattr(self, name), 1.0)
        for name in ("never_delete", "slow"):
            if not all(getattr(self, name)):
                raise ValueError(f"{name}: an empty name")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Faults from a command line: `latency=0.2,drop=0.05,never_delete=vault|story`.

        Args:
            text: `name=value` pairs with commas between; nothing at all means no faults.
                A bare `reorder` means `reorder=yes`.

        Raises:
            ValueError: a part cannot be understood; the message names it.
        """
        values: dict[str, object] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, has_value, value = (piece.strip() for piece in part.partition("="))
            if name not in _PARSERS:
                known = ", ".join(field.name for field in fields(cls))
                raise ValueError(f"{part!r}: no such fault; there are {known}")
            if name in values:
                raise ValueError(f"{part!r}: {name} is given twice")
            if not has_value and name == "reorder":
                value = "yes"
            try:
                values[name] = _PARSERS[name](value)
            except ValueError as error:
                raise ValueError(f"{part!r}: {error}") from None
        return cls(**values)  # type: ignore[arg-type]  # each parser yields its field's type

    def refuses(self, container_id: str, container_type: str) -> bool:
        """Whether nothing is ever deleted from this container."""
        return container_id in self.never_delete or container_type in self.never_delete


class FaultInjector:
    """Decides for each event what happens to it; the faults can be changed between events."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - faults are not cryptography

    @property
    def faults(self) -> Faults:
        """The faults in force. Assigning others restarts the rng from their seed."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - faults are not cryptography

    def work(self, container_id: str, container_type: str) -> float:
        """The seconds until this container has deleted an item."""
        faults = self._faults
        is_slow = container_id in faults.slow or container_type in faults.slow
        seconds = faults.slow_work if is_slow else faults.work
        return seconds * self._random.uniform(0.5, 1.5) if seconds else 0.0

    def delays(self) -> tuple[float, ...]:
        """For each copy of the next event that is published, the seconds it is held back."""
        faults, rng = self._faults, self._random
        if faults.drop and rng.random() < faults.drop:
            return ()
        copies = 2 if faults.duplicate and rng.random() < faults.duplicate else 1
        return tuple(self._delay() for _ in range(copies))

    def _delay(self) -> float:
        faults, rng = self._faults, self._random
        delay = faults.latency
        if faults.jitter:
            delay += rng.uniform(0, faults.jitter)
        if faults.reorder:
            delay += rng.uniform(0, REORDER_SPREAD)
        return delay


def _check_range(name: str, value: float, most: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= most):
        raise ValueError(f"{name}: {value:g} is not between 0 and {most:g}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("not a number") from None


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("not a whole number") from None


def _yes_or_no(text: str) -> bool:
    match text.lower():
        case "yes" | "true" | "on" | "1":
            return True
        case "no" | "false" | "off" | "0":
            return False
    raise ValueError("neither yes nor no")


def _names(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split("|"))
    if not all(names):
        raise ValueError("an empty name")
    return names


_PARSERS: dict[str, Callable[[str], object]] = {
    "latency": _number,
    "jitter": _number,
    "drop": _number,
    "duplicate": _number,
    "reorder": _yes_or_no,
    "never_delete": _names,
    "work": _number,
    "slow": _names,
    "slow_work": _number,
    "seed": _whole_number,
}
