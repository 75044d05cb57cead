"""The ItemCensor: the actor that carries one takedown at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from actors.censor_machine import ITEM_CENSOR, item_censor
from actors.censor_parts import (
    Answer,
    Data,
    FindContainers,
    FollowItem,
    PublishRequests,
    Release,
    StopPublishing,
    SubscribeToDeletions,
    UnsubscribeAll,
)
from actors.machine_actor import MachineActor
from bus.event_bus import list_key, partition_key
from messages import Begin, CensorFailed, CensorFinished

if TYPE_CHECKING:
    from actors.feed import TransitionFeed
    from actors.fsm import Effect
    from actors.runtime import LoopActorRef, Supervisor
    from bus.event_bus import EventBus
    from messages import Container, Reply, Takedown, TakedownId

_AS_FOUND = item_censor(follow_changes=False)

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
        nothing if it was stopped before anything was handed over. A takedown has one publication
        on its way at a time.
        """


class ItemCensor(MachineActor[Data]):
    """Does what its machine says, for one takedown after the other.

    Args:
        catalogue: where containers are looked up.
        publisher: where delete requests go.
        bus: where deletions and newer lists come from.
        coordinator: is told when a takedown is over.
        feed: hears of every transition.
        follow_changes: take the item down also where it is published meanwhile, and count it as
            deleted where it vanishes.
        supervisor: the coordinator's policy for failures.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        publisher: Publisher,
        bus: EventBus,
        coordinator: LoopActorRef[Any],
        feed: TransitionFeed,
        follow_changes: bool = True,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.machine = ITEM_CENSOR if follow_changes else _AS_FOUND
        super().__init__(feed=feed, supervisor=supervisor)
        self._catalogue = catalogue
        self._publisher = publisher
        self._bus = bus
        self._coordinator = coordinator
        self._tell: Tell = self._actor_ref.try_tell
        self._reply: Reply | None = None
        self._carried: TakedownId | None = None
        self._publication: Publication | None = None

    def on_restart(self, error: BaseException) -> None:
        """Begin anew, and say which takedown is lost: only we know how far the mailbox was."""
        carried, self._carried, self._reply = self._carried, None, None
        if carried is None and type(failed := self.handling) is Begin:
            carried = failed.takedown.takedown_id  # it was out of the mailbox, and no further
        super().on_restart(error)
        self._coordinator.try_tell(
            CensorFailed(self.actor_urn, repr(error), alive=True, takedown_id=carried)
        )

    def _find(self, effect: FindContainers) -> None:
        self._reply = self.handling.reply  # of the Begin; the machine does not need to know it
        self._carried = effect.takedown.takedown_id
        self._catalogue.locate(effect.takedown, self._tell)

    def _follow(self, effect: FollowItem) -> None:
        self._bus.subscribe(self._actor_ref, list_key(effect.item_id))

    def _subscribe(self, effect: SubscribeToDeletions) -> None:
        for container in effect.containers:
            key = partition_key(effect.item_id, container.container_id)
            self._bus.subscribe(self._actor_ref, key)

    def _publish(self, effect: PublishRequests) -> None:
        self._publication = self._publisher.publish(effect.takedown, effect.containers, self._tell)

    def _stop_publishing(self, _effect: StopPublishing) -> None:
        if self._publication is not None:
            self._publication.stop()
            self._publication = None

    def _unsubscribe(self, _effect: UnsubscribeAll) -> None:
        self._bus.unsubscribe_all(self._actor_ref)

    def _answer(self, effect: Answer) -> None:
        reply, self._reply = self._reply, None
        # A coordinator that crashed has answered what was in flight.
        if reply is not None and not reply.done():
            reply.set(effect.outcome)

    def _release(self, effect: Release) -> None:
        self._carried = None
        self._coordinator.try_tell(
            CensorFinished(self.actor_urn, effect.takedown.takedown_id, effect.outcome)
        )

    carry_out: ClassVar[Mapping[type[Effect], Callable[[Any, Any], object]]] = {
        FindContainers: _find,
        FollowItem: _follow,
        SubscribeToDeletions: _subscribe,
        PublishRequests: _publish,
        StopPublishing: _stop_publishing,
        UnsubscribeAll: _unsubscribe,
        Answer: _answer,
        Release: _release,
    }
