"""A failing run with as little in it as still makes it fail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dev.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.simulation.world import Result

_TIME = re.compile(r"[0-9.]+ ")
_NAME = re.compile(r"[^ ]*[0-9][^ ]*")
_INVARIANT = re.compile(r"I[1-7]:")


def kind_of(violation: str) -> str:
    """What a violation is at heart: two runs that fail in the same way have it in common."""
    words = _TIME.sub("", violation, count=1).split(" ")[:3]
    kept = [word for word in words if _INVARIANT.match(word) or not _NAME.fullmatch(word)]
    return " ".join(kept)


def fails_alike(result: Result, as_: Result) -> bool:
    """Whether one of the violations is of a kind that the other run had."""
    kinds = {kind_of(violation) for violation in as_.violations}
    return any(kind_of(violation) in kinds for violation in result.violations)


def shrink(
    failed: Result, *, run: Callable[[tuple[str, ...]], Result] | None = None, runs: int = 400
) -> Result:
    """Leave out faults and requests for as long as the run fails alike.

    Args:
        failed: what a run with all of them came to.
        run: runs it with some of them; by default this seed's world.
        runs: how many runs may be tried.

    Returns:
        The result of the smallest run that was found; its `names` are what is to be kept.
    """
    again = run or (lambda keep: World(failed.seed, keep=keep).run())
    best, names = failed, list(failed.names)
    # Faults first: a request that is left out may take faults with it, and others may strike.
    size = max(1, len(names) // 2)
    while runs > 0:
        at, smaller = 0, False
        while at < len(names) and runs > 0:
            rest = [*names[:at], *names[at + size :]]
            runs -= 1
            result = again(tuple(rest))
            if fails_alike(result, failed):
                struck = set(result.names)
                best, names, smaller = result, [n for n in rest if n in struck], True
            else:
                at += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return best
