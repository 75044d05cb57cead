"""Within which bounds every state is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dev.simulation import one_censor_world, two_censors_world
from dev.simulation.one_censor import OneCensor
from dev.simulation.two_censors import TwoCensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.simulation.search import Model

Models = dict[str, "Callable[[], Model[Any]]"]

_One = one_censor_world.Bounds
_Two = two_censors_world.Bounds

SMALL: Models = {
    "one container, everything twice, a failure": lambda: OneCensor(
        _One(1, 2, deletions=2, lists=2, crashes=1)
    ),
    "two containers, used again": lambda: OneCensor(_One(2, 2, lists=0)),
    "two containers, two lists": lambda: OneCensor(_One(2, 1, lists=2)),
    "three containers, one list": lambda: OneCensor(_One(3, 1, lists=1, mailbox=1)),
    "three containers, no lists, a failure": lambda: OneCensor(
        _One(3, 1, lists=0, crashes=1), follows=False
    ),
    "one container, before the evidence, in doubt, replays": lambda: OneCensor(
        _One(1, 1, deletions=2, lists=1, unproven=True, doubts=1, replays=True, crashes=1)
    ),
    "two containers, before the evidence, replays": lambda: OneCensor(
        _One(2, 1, deletions=1, lists=1, unproven=True, replays=True, mailbox=1)
    ),
    "two containers, before the evidence, used again": lambda: OneCensor(
        _One(2, 2, lists=0, unproven=True, mailbox=1)
    ),
    "coordinator and one censor, before the evidence": lambda: TwoCensors(
        _Two(2, pool=1, censor_failures=1, drains=False, unproven=True)
    ),
    "coordinator and two censors, one fails": lambda: TwoCensors(
        _Two(2, censor_failures=1, drains=False)
    ),
    "coordinator and two censors, it fails": lambda: TwoCensors(
        _Two(2, censor_failures=0, coordinator_failures=1, drains=False)
    ),
    "coordinator and two censors, drained": lambda: TwoCensors(_Two(2, censor_failures=0)),
    "coordinator and one censor for three": lambda: TwoCensors(
        _Two(3, pool=1, censor_failures=1, drains=False)
    ),
}
"""For each commit: seconds."""

LARGE: Models = {
    "two containers, one list, used again": lambda: OneCensor(_One(2, 2, lists=1)),
    "two containers, one list, used again, a failure": lambda: OneCensor(
        _One(2, 2, lists=1, crashes=1)
    ),
    "three containers, one list, two in the mailbox": lambda: OneCensor(_One(3, 1, lists=1)),
    "three containers, two lists": lambda: OneCensor(_One(3, 1, lists=2, mailbox=1)),
    "three containers, no lists, used again, a failure": lambda: OneCensor(
        _One(3, 2, lists=0, crashes=1), follows=False
    ),
    "one container, before the evidence, in doubt, replays, used again": lambda: OneCensor(
        _One(1, 2, lists=1, unproven=True, doubts=1, replays=True, crashes=1)
    ),
    "two containers, before the evidence, two lists, replays": lambda: OneCensor(
        _One(2, 1, lists=2, unproven=True, replays=True, mailbox=1)
    ),
    "three containers, before the evidence, a list": lambda: OneCensor(
        _One(3, 1, lists=1, unproven=True, mailbox=1)
    ),
    "coordinator and two censors, before the evidence": lambda: TwoCensors(
        _Two(2, censor_failures=1, drains=False, unproven=True)
    ),
    "coordinator and two censors, one fails, drained": lambda: TwoCensors(_Two(2)),
    "coordinator and two censors, it fails, drained": lambda: TwoCensors(
        _Two(2, censor_failures=0, coordinator_failures=1)
    ),
}
"""Now and then: minutes."""
