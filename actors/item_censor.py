"""The ItemCensor: the actor that carries one takedown at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors.censor_machine import (
    ITEM_CENSOR,
    Answer,
    Data,
    FindContainers,
    PublishRequests,
    Release,
    State,
    StopPublishing,
    SubscribeToDeletions,
    UnsubscribeAll,
)
from actors.machine_actor import MachineActor
from bus.event_bus import partition_key
from messages import Begin, CensorFailed, CensorFinished

if TYPE_CHECKING:
    from actors.feed import TransitionFeed
    from actors.fsm import Effect
    from actors.runtime import LoopActorRef, Supervisor
    from bus.event_bus import EventBus
    from messages import Container, Reply, Takedown, TakedownId

Tell = Callable[[Any], object]
"""Puts an event into an actor's mailbox; never raises."""


class Catalogue(Protocol):
    """Knows which containers an item is in."""

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell, now or later and exactly once, what is known of the takedown's item.

        The event is `ContainersFound`, `ItemUnknown` (only on evidence) or
        `CatalogueUnavailable`; it comes before the takedown's deadline or not at all.
        """


class Publication(Protocol):
    """Delete requests on their way to Kafka."""

    def stop(self) -> None:
        """Hand nothing more over. What was handed over cannot be called back."""


class Publisher(Protocol):
    """Publishes delete requests."""

    def publish(
        self, takedown: Takedown, containers: tuple[Container, ...], tell: Tell
    ) -> Publication:
        """Publish one request for each container.

        Tells `RequestsPublished` or `PublishFailed` once all are acknowledged or lost, or
        nothing if it was stopped before anything was handed over.
        """


class ItemCensor(MachineActor[Data]):
    """Does what its machine says, for one takedown after the other.

    Args:
        catalogue: where containers are looked up.
        publisher: where delete requests go.
        bus: where deletions come from.
        coordinator: is told when a takedown is over.
        feed: hears of every transition.
        supervisor: the coordinator's policy for failures.
    """

    machine = ITEM_CENSOR

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        publisher: Publisher,
        bus: EventBus,
        coordinator: LoopActorRef[Any],
        feed: TransitionFeed,
        supervisor: Supervisor | None = None,
    ) -> None:
        super().__init__(feed=feed, supervisor=supervisor)
        self._catalogue = catalogue
        self._publisher = publisher
        self._bus = bus
        self._coordinator = coordinator
        self._tell: Tell = self._actor_ref.try_tell
        self._reply: Reply | None = None
        self._carried: TakedownId | None = None
        self._publication: Publication | None = None

    def on_receive(self, message: Any) -> None:
        """Remember whom to answer; the machine does not need to know."""
        if type(message) is Begin and self.state is State.IDLE:
            self._reply = message.reply
            self._carried = message.takedown.takedown_id
        super().on_receive(message)

    def on_restart(self, error: BaseException) -> None:
        """Begin anew, and say which takedown is lost: only we know how far the mailbox was."""
        carried, self._carried, self._reply = self._carried, None, None
        super().on_restart(error)
        self._coordinator.try_tell(
            CensorFailed(self.actor_urn, repr(error), alive=True, takedown_id=carried)
        )

    def perform(self, effect: Effect) -> None:  # noqa: C901 - one case for each effect
        """Carry out one effect of the machine."""
        match effect:
            case FindContainers(takedown):
                self._catalogue.locate(takedown, self._tell)
            case SubscribeToDeletions(item_id, containers):
                for container in containers:
                    self._bus.subscribe(
                        self._actor_ref, partition_key(item_id, container.container_id)
                    )
            case PublishRequests(takedown, containers):
                self._publication = self._publisher.publish(takedown, containers, self._tell)
            case StopPublishing():
                if self._publication is not None:
                    self._publication.stop()
                    self._publication = None
            case UnsubscribeAll():
                self._bus.unsubscribe_all(self._actor_ref)
            case Answer(outcome):
                reply, self._reply = self._reply, None
                # A coordinator that crashed has answered what was in flight.
                if reply is not None and not reply.done():
                    reply.set(outcome)
            case Release(takedown, outcome):
                self._carried = None
                finished = CensorFinished(self.actor_urn, takedown.takedown_id, outcome)
                self._coordinator.try_tell(finished)
            case _:
                super().perform(effect)
