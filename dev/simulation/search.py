"""Every state that can be reached: a search over models that say what may happen next."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

W = TypeVar("W", bound="Hashable")


class Wrong(Exception):
    """A model says that what it has done must not be."""


class Model(Protocol[W]):
    """What may happen, as a pure function of a hashable world."""

    def start(self) -> W:
        """The world in the beginning."""

    def steps(self, world: W) -> Iterable[tuple[str, W]]:
        """What may happen next, in words, and what the world is like then; `Wrong` if it is."""

    def check(self, world: W) -> None:
        """Whether this world may be, and an answer can be reached from it; `Wrong` if not."""


@dataclass(frozen=True, slots=True)
class Found(Generic[W]):
    """What a search found.

    Attributes:
        states: worlds that can be reached, each counted once.
        steps: ways from one to the next.
        deepest: the most steps that are needed to reach one.
        wrong: what is wrong, if anything.
        path: what has to happen, in order, until it is.
        complete: whether every world within the model's bounds was looked at.
    """

    states: int
    steps: int
    deepest: int
    wrong: str = ""
    path: tuple[str, ...] = ()
    complete: bool = True


def search(model: Model[W], *, most: int = 10_000_000) -> Found[W]:
    """Look at every world that can be reached, nearest first; stops at the first that is wrong.

    Args:
        model: what may happen.
        most: states that are looked at, at most.
    """
    first = model.start()
    came: dict[W, tuple[W, str] | None] = {first: None}
    waiting = deque([(first, 0)])
    was_disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the real parts say what they do, a million times
    try:
        return _look(model, most, came, waiting)
    finally:
        logging.disable(was_disabled)


def _look(
    model: Model[W],
    most: int,
    came: dict[W, tuple[W, str] | None],
    waiting: deque[tuple[W, int]],
) -> Found[W]:
    steps = deepest = 0

    def path(world: W) -> tuple[str, ...]:
        names: list[str] = []
        while (before := came[world]) is not None:
            world, name = before
            names.append(name)
        return tuple(reversed(names))

    while waiting:
        world, depth = waiting.popleft()
        deepest = max(deepest, depth)
        try:
            model.check(world)
            for name, following in model.steps(world):
                steps += 1
                if following not in came:
                    came[following] = (world, name)
                    waiting.append((following, depth + 1))
        except Wrong as error:
            return Found(len(came), steps, deepest, str(error), path(world), complete=False)
        if len(came) > most:
            return Found(len(came), steps, deepest, complete=False)
    return Found(len(came), steps, deepest)
