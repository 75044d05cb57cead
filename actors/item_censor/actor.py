"""The ItemCensor: the actor that carries one takedown at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from actors.fsm.actor import MachineActor
from actors.item_censor.large_takedowns import LARGE, LargeTakedowns
from actors.item_censor.machine import ITEM_CENSOR, item_censor
from actors.item_censor.states import (
    CLOCK_TOLERANCE,
    CONTAINERS_MAX,
    LONG,
    Answer,
    Data,
    FindContainers,
    FollowItem,
    GiveWay,
    PublishRequests,
    Release,
    ReportStaleDeletion,
    StopPublishing,
    SubscribeToDeletions,
    UnsubscribeAll,
)
from bus.event_bus import list_key, partition_key
from domain.messages import (
    Begin,
    CatalogueUnavailable,
    CensorFailed,
    CensorFinished,
    ContainersFound,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from actors.fsm.machine import Effect, Machine
    from actors.fsm.transitions import TransitionFeed
    from actors.item_censor.states import State
    from actors.runtime.actor import Supervisor
    from actors.runtime.ref import LoopActorRef
    from bus.event_bus import EventBus
    from domain.messages import Container, Reply, Takedown, TakedownId

_MACHINES: dict[tuple[bool, timedelta, int], Machine[State, Data]] = {
    (True, CLOCK_TOLERANCE, CONTAINERS_MAX): ITEM_CENSOR,
    (False, CLOCK_TOLERANCE, CONTAINERS_MAX): item_censor(follow_changes=False),
}
"""Every machine that was made, by its parameters: the censors of a service share one."""

OnStale = Callable[[ReportStaleDeletion], object]
"""Is told of a deletion that confirms nothing since it is too old."""

Tell = Callable[[Any], object]
"""Puts an event into an actor's mailbox; never raises."""


class Catalogue(Protocol):
    """Knows which containers an item is in."""

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        """Tell, now or later and exactly once, what is known of the takedown's item.

        The event is `ContainersFound`, `ItemUnknown` (only on evidence) or
        `CatalogueUnavailable`; it comes before the takedown's deadline or not at all. After a
        `ContainersFound` that is not proven, `CatalogueCaughtUp` follows once there is evidence.
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

        Tells `RequestsPublished` once all are acknowledged. Tells `PublishFailed` as soon as a
        failure rules out that nothing was published, and again (see there) until all are settled;
        nothing once it was stopped. A takedown has one publication in flight at a time.
        """


def machine_of(
    *, follow_changes: bool, clock_tolerance: timedelta, containers_max: int = CONTAINERS_MAX
) -> Machine[State, Data]:
    """The machine with these parameters; one for all censors that have the same."""
    key = (follow_changes, clock_tolerance, containers_max)
    if key not in _MACHINES:
        _MACHINES[key] = item_censor(
            follow_changes=follow_changes,
            clock_tolerance=clock_tolerance,
            containers_max=containers_max,
        )
    return _MACHINES[key]


def _ignore(_report: ReportStaleDeletion) -> None:
    pass


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
        clock_tolerance: by how much a deletion may be dated before the list that names its
            container and still count.
        containers_max: in how many containers an item may be.
        on_stale: is told of each deletion that does not count for its date.
        large: bounds the containers of all large takedowns; the censors of a service share it.
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
        clock_tolerance: timedelta = CLOCK_TOLERANCE,
        containers_max: int = CONTAINERS_MAX,
        on_stale: OnStale = _ignore,
        large: LargeTakedowns | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.machine = machine_of(
            follow_changes=follow_changes,
            clock_tolerance=clock_tolerance,
            containers_max=containers_max,
        )
        super().__init__(feed=feed, supervisor=supervisor)
        self._catalogue = catalogue
        self._publisher = publisher
        self._bus = bus
        self._coordinator = coordinator
        self._on_stale = on_stale
        self._large = LargeTakedowns() if large is None else large
        self._taken = 0
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
        self._catalogue.locate(effect.takedown, self._located)

    def _located(self, event: Any) -> bool:
        """Receive what the catalogue says; a long list took long to be found."""
        if type(event) is ContainersFound and len(event.containers) > LARGE:
            self.gives_way = self.gives_way or len(event.containers) > LONG
            event = self._if_there_is_room(event)
        return self._actor_ref.try_tell(event)

    def _if_there_is_room(self, event: ContainersFound) -> ContainersFound | CatalogueUnavailable:
        """The same event, or the refusal of a takedown for which there is no room now."""
        containers = len(event.containers)
        if event.takedown_id != self._carried:
            return event  # it is over, and this changes nothing
        if (reason := self._large.why_no_room(containers)) is not None:
            return CatalogueUnavailable(event.takedown_id, reason, "overloaded")
        self._taken += self._large.take(containers)
        return event

    def _give_way(self, _effect: GiveWay) -> None:
        self.gives_way = True

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
        if self._bus.unsubscribe_all(self._actor_ref) > LONG:
            self.gives_way = True
        if self._taken:
            self._large.give_back(self._taken)
            self._taken = 0

    def _report_stale(self, effect: ReportStaleDeletion) -> None:
        self._on_stale(effect)

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
        GiveWay: _give_way,
        StopPublishing: _stop_publishing,
        UnsubscribeAll: _unsubscribe,
        ReportStaleDeletion: _report_stale,
        Answer: _answer,
        Release: _release,
    }
