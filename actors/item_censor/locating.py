"""From Idle to Active: begin a takedown, and receive what the catalogue knows of its item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.fsm.machine import CancelTimer, StartTimer, Step
from actors.item_censor.ending import finish, too_many
from actors.item_censor.persistent import containers_of, names_of
from actors.item_censor.states import (
    CONTAINERS_MAX,
    DEADLINE,
    FindContainers,
    FollowItem,
    ItemsToBeDeleted,
    ItemToBeLocated,
    PublishRequests,
    State,
    StopPublishing,
    SubscribeToDeletions,
    UnsubscribeAll,
    give_way_after,
)
from domain.messages import Container, ContainerId, DeadlinePassed, NotFound, Unavailable

if TYPE_CHECKING:
    from actors.item_censor.states import CensorStep, Uninitialized
    from domain.messages import (
        Begin,
        CatalogueUnavailable,
        ContainersFound,
        Flush,
        ItemUnknown,
    )


def begin(_data: Uninitialized, event: Begin) -> CensorStep:
    """Start the timer, and ask the catalogue."""
    takedown = event.takedown
    return Step(
        State.LOCATING,
        ItemToBeLocated(takedown),
        (
            StartTimer(DEADLINE, takedown.deadline, DeadlinePassed(takedown.takedown_id)),
            FindContainers(takedown),
        ),
    )


def begin_to_follow(data: Uninitialized, event: Begin) -> CensorStep:
    """As `begin`, and follow the item's lists."""
    step = begin(data, event)
    timer, find = step.effects
    # Before the search: no list can come between its answer and the subscription.
    return Step(step.state, step.data, (timer, FollowItem(event.takedown.item_id), find))


def flush(data: Uninitialized, _event: Flush) -> CensorStep:
    """Clean up, whatever the last takedown has left."""
    return Step(State.IDLE, data, (CancelTimer(DEADLINE), StopPublishing(), UnsubscribeAll()))


def found(
    data: ItemToBeLocated, event: ContainersFound, *, containers_max: int = CONTAINERS_MAX
) -> CensorStep:
    """Subscribe to the deletion from each container, and publish the requests."""
    takedown = data.takedown
    if not event.containers and event.proven:
        return finish(takedown, NotFound())
    # A list that names a container twice means one container: the first one counts.
    first: dict[ContainerId, Container] = {}
    for container in event.containers:
        first.setdefault(container.container_id, container)
    if len(first) > containers_max:
        return finish(takedown, too_many(containers_max))
    containers = containers_of(tuple(first.values()))
    to_be_deleted = ItemsToBeDeleted(
        takedown,
        containers,
        outstanding=names_of(first),
        publishing=containers,
        listed_at=event.listed_at,
        proven=event.proven,
    )
    if not containers:  # in none by a list that need not be the newest: wait for the evidence
        return Step(State.ACTIVE, to_be_deleted)
    return Step(
        State.ACTIVE,
        to_be_deleted,
        (
            SubscribeToDeletions(takedown.item_id, containers),
            PublishRequests(takedown, containers),
            *give_way_after(event),
        ),
    )


def unknown(data: ItemToBeLocated, _event: ItemUnknown) -> CensorStep:
    """On evidence, the item is in no container."""
    return finish(data.takedown, NotFound())


def no_catalogue(data: ItemToBeLocated, event: CatalogueUnavailable) -> CensorStep:
    """The catalogue cannot answer, or must not."""
    return finish(data.takedown, Unavailable(event.code, event.reason, plain=event.plain))
