"""The state of the model of one ItemCensor, and how much may happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.messages import (
    Container,
    ContainerId,
    ItemId,
    PublishFailed,
    RequestsPublished,
    TakedownId,
)

if TYPE_CHECKING:
    from actors.item_censor.states import Data, State

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ITEM = ItemId("00000000-0000-4000-8000-000000000001")
Names = frozenset[ContainerId]


class Sent(NamedTuple):
    """The requests of one publication; `sent`: something of it may be in Kafka."""

    takedown_id: TakedownId
    acknowledged: tuple[Container, ...]
    failed: tuple[Container, ...]
    open: tuple[Container, ...]
    sent: bool

    def failure(self) -> PublishFailed:
        """The message that the censor receives after a failure."""
        return PublishFailed(
            self.takedown_id, "", self.sent, self.acknowledged, self.failed, self.open
        )


class World(NamedTuple):
    """Everything that the future depends on.

    The first six are the actor's. `evidence`: takedowns for which the catalogue will still show
    that it has caught up. `publication`: the containers whose requests are in flight.
    `reached`: a record of this takedown may be in Kafka. `heard`: containers whose deletion was
    handled for this takedown and counts; `early`: those of them whose deletion is older than any
    list but the first. `newest`: the newest list that was handled for it; `ever`: all containers
    of all of them; `again`: all containers of those after the first. `proven`, `doubted`: whether
    there is evidence that the list is the newest, and whether the newest can be read. The others
    count what may still happen.
    """

    state: State
    data: Data
    mailbox: tuple[Any, ...]
    subscribed: Names
    follows: bool
    timer: tuple[int, Any, bool] | None
    generation: int
    fires: tuple[int, ...]
    searches: tuple[TakedownId, ...]
    evidence: tuple[TakedownId, ...]
    publication: Sent | None
    reached: bool
    heard: Names
    early: Names
    newest: Names
    ever: Names
    again: Names
    proven: bool
    doubted: bool
    number: int
    answered: bool
    free: bool
    deletions: tuple[int, ...]
    lists: int
    doubts: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen.

    Attributes:
        containers: how many there are.
        takedowns: one after the other, on this one censor.
        deletions: how often each container's deletion is read.
        lists: newer lists that are read.
        unproven: the catalogue tells what it knows before there is evidence.
        doubts: how often the item comes into doubt.
        replays: deletions may be dated before every list, or before every list but the first.
        crashes: how often the actor fails.
        mailbox: messages that wait.
    """

    containers: int = 2
    takedowns: int = 2
    deletions: int = 1
    lists: int = 1
    unproven: bool = False
    doubts: int = 0
    replays: bool = False
    crashes: int = 0
    mailbox: int = 2


def put(world: World, message: Any) -> World:
    return world._replace(mailbox=(*world.mailbox, message))


def settle(world: World, sent: Sent) -> World:
    """Settle some more requests, and send the censor what it learns of them."""
    now = world._replace(publication=sent if sent.open else None)
    if not sent.failed:
        return put(now, RequestsPublished(sent.takedown_id))
    return put(now, sent.failure())
