"""The state of the model of the coordinator with two censors, and how much may happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from actors.item_censor.states import Data, State
    from domain.messages import TakedownId


class Stop(NamedTuple):
    """To a censor: stop once all before this is handled."""


class Censor(NamedTuple):
    """One censor; `timer`: none, running or due, and its generation.

    `evidence`: for which takedown the catalogue will still show that it has caught up.
    """

    alive: bool
    state: State
    data: Data
    mailbox: tuple[Any, ...]
    carried: int | None
    subscribed: bool
    search: TakedownId | None
    evidence: TakedownId | None
    timer: tuple[int, bool] | None
    generation: int


class World(NamedTuple):
    """Everything that the future depends on; `busy`: which censor has which takedown."""

    inbox: tuple[Any, ...]
    idle: tuple[int, ...]
    busy: tuple[tuple[int, int], ...]
    draining: bool
    drains: int
    censors: tuple[Censor, ...]
    answers: tuple[str, ...]
    drained: int
    deletions: int
    censor_failures: int
    coordinator_failures: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen.

    Attributes:
        takedowns: asked for.
        pool: censors that may be busy.
        deletions: how often the container's deletion is read.
        censor_failures, coordinator_failures: how often they fail.
        drains: whether a request to drain may come.
        unproven: the catalogue answers before there is evidence.
        mailbox: most messages in one mailbox.
    """

    takedowns: int = 2
    pool: int = 2
    deletions: int = 1
    censor_failures: int = 1
    coordinator_failures: int = 0
    drains: bool = True
    unproven: bool = False
    mailbox: int = 2


def put(censor: Censor, message: Any) -> Censor:
    return censor._replace(mailbox=(*censor.mailbox, message))


def with_censor(world: World, number: int, censor: Censor) -> World:
    censors = (*world.censors[:number], censor, *world.censors[number + 1 :])
    return world._replace(censors=censors)
