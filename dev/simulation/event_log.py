"""What happened in one run, line by line: for its digest, and to be read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dev.simulation.loop import START

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dev.simulation.loop import SimulatedLoop

LANES = ("caller", "server", "coordinator", "censor", "publisher", "Kafka", "Items")
"""Who may be at either end of a line, in the order in which a diagram shows them."""


class Journal:
    """Keeps every line, or none.

    Args:
        loop: whose time counts.
        keeps: whether lines are kept; to make them costs more than most of what they tell of.
    """

    def __init__(self, loop: SimulatedLoop, *, keeps: bool) -> None:
        self._loop = loop
        self.keeps = keeps
        self.lines: list[tuple[float, str, str, str]] = []

    def write(self, source: str, target: str, text: str) -> None:
        """Something went from one to the other; or happened at one, which then is both."""
        if self.keeps:
            self.lines.append((self._loop.time(), source, target, text))

    def text(self) -> Iterator[str]:
        """Every line as text."""
        for at, source, target, text in self.lines:
            yield f"{at - START:.6f} {source} > {target}: {text}"

    def digest(self) -> str:
        """The same for two runs that did the same things at the same times."""
        return hashlib.sha256("\n".join(self.text()).encode()).hexdigest()


_WIDTH = 13


def diagram(journal: Journal, about: Collection[str] = ()) -> str:
    """A sequence diagram: time goes down, one lane for each part.

    Args:
        journal: what happened.
        about: only lines that name one of these are shown; empty: all. What went wrong is
            always shown.
    """
    ruler = "".join("|".center(_WIDTH) for _ in LANES)
    out = [" " * 10 + "".join(lane.center(_WIDTH) for lane in LANES)]
    last = -1.0
    for at, source, target, text in journal.lines:
        if about and "!" not in text and not any(name in text for name in about):
            continue
        stamp = f"{at - START:9.4f} " if at != last else " " * 10
        last = at
        out.append(f"{stamp}{_arrow(ruler, source, target)}  {text}".rstrip())
    return "\n".join(out)


def _arrow(ruler: str, source: str, target: str) -> str:
    line = list(ruler)
    one, other = _column(source), _column(target)
    if one == other:
        line[one] = "*"
        return "".join(line)
    low, high = sorted((one, other))
    for column in range(low + 1, high):
        line[column] = "-"
    line[low], line[high] = ("o", ">") if one < other else ("<", "o")
    return "".join(line)


def _column(lane: str) -> int:
    return LANES.index(lane) * _WIDTH + _WIDTH // 2
