"""In Active: one publication of delete requests at a time, and how each one is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors.fsm.machine import Step
from actors.item_censor.ending import finish
from actors.item_censor.states import PublishRequests, State
from domain.messages import Refused, Unavailable

if TYPE_CHECKING:
    from actors.fsm.machine import Effect
    from actors.item_censor.states import CensorStep, ItemsToBeDeleted
    from domain.messages import Container, PublishFailed, RequestsPublished


def publish_what_is_due(data: ItemsToBeDeleted, *before: Effect) -> CensorStep:
    """Do `before`, and then publish what is due, unless a publication is in flight."""
    if data.publishing or not data.due:
        return Step(State.ACTIVE, data, before)
    due = data.due & data.outstanding
    requests = tuple(c for c in data.containers if c.container_id in due)
    data = replace(data, publishing=requests, due=frozenset())
    if not requests:
        return Step(State.ACTIVE, data, before)
    return Step(State.ACTIVE, data, (*before, PublishRequests(data.takedown, requests)))


def published(data: ItemsToBeDeleted, _event: RequestsPublished) -> CensorStep:
    """Kafka has acknowledged every request of the publication."""
    return publish_what_is_due(_settled(data, data.publishing))


def publish_failed(data: ItemsToBeDeleted, event: PublishFailed) -> CensorStep:
    """Some requests are not acknowledged: fail, unless their containers are known to be deleted."""
    if not event.handed_over and not data.handed_over:
        unavailable = Unavailable("kafka-unreachable", event.cause, plain=event.plain)
        return finish(data.takedown, unavailable)
    data = _settled(data, event.published, event.unacknowledged)
    asked = data.outstanding - data.due
    if all(c.container_id not in asked for c in event.unpublished):
        # What Kafka did not acknowledge is known to be deleted: the rest may still come.
        return publish_what_is_due(data)
    return finish(data.takedown, _refused(data, event))


def _settled(
    data: ItemsToBeDeleted,
    published: tuple[Container, ...],
    unacknowledged: tuple[Container, ...] = (),
) -> ItemsToBeDeleted:
    """Kafka has acknowledged these requests; only the `unacknowledged` ones are not settled."""
    # A container that is due again has not been requested by what was published before.
    acknowledged = frozenset(c.container_id for c in published) - data.due
    return replace(
        data,
        publishing=data.publishing if unacknowledged else (),
        published=data.published | acknowledged,
        handed_over=True,
    )


def _refused(data: ItemsToBeDeleted, event: PublishFailed) -> Refused:
    unsettled = {c.container_id for c in event.unacknowledged}
    return Refused(
        cause=event.cause,
        published=tuple(c for c in data.containers if c.container_id in data.published),
        unpublished=tuple(
            c
            for c in data.containers
            if c.container_id not in data.published and c.container_id not in unsettled
        ),
        deleted=data.already_deleted(),
        outstanding=data.still_outstanding(),
        unacknowledged=event.unacknowledged,
        plain=event.plain,
    )
