"""Stand-ins for what an actor works with: they record, and do what a test tells them."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from actors.runtime.actor import LoopActor
from actors.runtime.ref import LoopActorRef
from bus.kafka.read_barrier import Waiter
from domain.errors import KafkaUnavailable
from domain.messages import (
    CatalogueCaughtUp,
    CatalogueUnavailable,
    ConfirmedBy,
    Container,
    ContainerId,
    ContainersFound,
    DeletedContainer,
    ItemDeleted,
    ItemId,
    ItemListed,
    ItemUnknown,
    Outcome,
    PublishFailed,
    RequestsPublished,
    Takedown,
    TakedownId,
)

T0 = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
ITEM = ItemId("11111111-2222-3333-4444-555555555555")
OTHER_ITEM = ItemId("99999999-2222-3333-4444-555555555555")

Tell = Callable[[Any], object]

_numbers = itertools.count(1)


def item_id(number: int) -> ItemId:
    return ItemId(f"00000000-0000-4000-8000-{number:012d}")


def place(name: str, kind: str = "group") -> Container:
    return Container(ContainerId(name), kind)


def places(*names: str) -> tuple[Container, ...]:
    return tuple(place(name) for name in names)


def takedown(
    item: ItemId = ITEM, *, name: str | None = None, now: float = 0.0, seconds: float = 10.0
) -> Takedown:
    return Takedown(
        takedown_id=TakedownId(name or f"takedown-{next(_numbers)}"),
        item_id=item,
        accepted_at=now,
        deadline=now + seconds,
        accepted_utc=T0,
        deadline_utc=T0 + timedelta(seconds=seconds),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def takedown_now(item: ItemId = ITEM, *, seconds: float = 10.0) -> Takedown:
    """A takedown that was accepted at this moment of the running loop."""
    return takedown(item, now=asyncio.get_running_loop().time(), seconds=seconds)


def deletion(
    name: str, item: ItemId = ITEM, *, kind: str = "group", after: float = 0.0
) -> ItemDeleted:
    """A deletion that is dated so many seconds after `T0`."""
    return ItemDeleted(item, ContainerId(name), kind, T0 + timedelta(seconds=after))


def gone(
    name: str, kind: str = "group", *, after: float = 0.0, by: ConfirmedBy = "deletion"
) -> DeletedContainer:
    """Deleted so many seconds after `T0`."""
    return DeletedContainer(ContainerId(name), kind, T0 + timedelta(seconds=after), by)


def listed(*names: str, item: ItemId = ITEM, after: float = 0.0) -> ItemListed:
    """A list that was made so many seconds after `T0`."""
    return ItemListed(item, places(*names), T0 + timedelta(seconds=after))


def collected(reference: Callable[[], object | None]) -> bool:
    gc.collect()
    return reference() is None


class FakeReply:
    """An asker's reply that keeps every answer; like the real one, it refuses a second."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome | None] = []
        self.given_up = False

    def set(self, value: Outcome | None = None) -> None:
        if self.outcomes:
            raise asyncio.InvalidStateError(f"{self.outcomes[0]} was answered before {value}")
        self.outcomes.append(value)

    def done(self) -> bool:
        return self.given_up or bool(self.outcomes)

    @property
    def outcome(self) -> Outcome | None:
        assert len(self.outcomes) == 1, self.outcomes
        return self.outcomes[0]


class Recorder(LoopActor):
    """An actor that keeps what it is told; what it is asked it answers with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.received.append(message)
        return message


def recorder() -> tuple[LoopActorRef[Recorder], list[Any]]:
    """A running `Recorder` and the list that it fills."""
    ref = Recorder.start()
    actor = ref.actor()
    assert actor is not None
    return ref, actor.received


@dataclass
class FakeCatalogue:
    """Knows `items`; told to be `silent` it never answers, told to be `behind` it says so.

    While it is not `proven`, a hit is told before the evidence, which comes with `catch_up`.
    """

    items: dict[ItemId, tuple[Container, ...]] = field(default_factory=dict)
    silent: bool = False
    behind: str | None = None
    proven: bool = True
    listed_at: datetime | None = None
    searches: list[tuple[Takedown, Tell]] = field(default_factory=list)

    def locate(self, takedown: Takedown, tell: Tell) -> None:
        self.searches.append((takedown, tell))
        if self.silent:
            return
        if self.behind is not None:
            tell(CatalogueUnavailable(takedown.takedown_id, self.behind))
        elif takedown.item_id in self.items:
            containers = self.items[takedown.item_id]
            found = ContainersFound(
                takedown.takedown_id, containers, self.listed_at, proven=self.proven
            )
            tell(found)
        else:
            tell(ItemUnknown(takedown.takedown_id))

    def catch_up(self) -> None:
        """Tell all who have asked that there is evidence now."""
        for takedown, tell in self.searches:
            tell(CatalogueCaughtUp(takedown.takedown_id))


@dataclass
class FakePublication:
    """One takedown's requests, in the hands of a test."""

    takedown: Takedown
    containers: tuple[Container, ...]
    tell: Tell
    stops: int = 0

    def stop(self) -> None:
        self.stops += 1

    def acknowledge(self) -> None:
        self.tell(RequestsPublished(self.takedown.takedown_id))

    def fail(
        self,
        *,
        published: int = 0,
        handed_over: bool = True,
        cause: str = "refused",
        unacknowledged: int = 0,
    ) -> None:
        """Say that Kafka acknowledged the first `published` requests and no other.

        Of the others, the last `unacknowledged` are not settled yet.
        """
        settled = len(self.containers) - unacknowledged
        self.tell(
            PublishFailed(
                self.takedown.takedown_id,
                cause,
                handed_over,
                self.containers[:published],
                self.containers[published:settled],
                self.containers[settled:],
            )
        )


OnPublish = Callable[[FakePublication], object]


@dataclass
class FakePublisher:
    """Keeps each publication; `on_publish` does with it what Kafka would."""

    on_publish: OnPublish | None = None
    publications: list[FakePublication] = field(default_factory=list)

    def publish(
        self, takedown: Takedown, containers: tuple[Container, ...], tell: Tell
    ) -> FakePublication:
        publication = FakePublication(takedown, containers, tell)
        self.publications.append(publication)
        if self.on_publish is not None:
            self.on_publish(publication)
        return publication

    @property
    def last(self) -> FakePublication:
        return self.publications[-1]


class FakeLog:
    """A topic whose end is reached when the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.proofs = 0
        self.caught_up = True
        self.never_written = False
        self.read_again_for: list[str] = []
        self._ends: list[Waiter] = []

    async def catch_up(self) -> None:
        self.calls += 1
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        await end

    def prove_to(self, waiter: Waiter) -> None:
        self.proofs += 1
        self._ends.append(waiter)

    def read_again(self, reason: str) -> None:
        self.read_again_for.append(reason)
        self.caught_up = False
        self.fail(KafkaUnavailable(reason))

    def reach_end(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            if not end.done():
                end.set_result(None)

    def fail(self, error: Exception) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            if not end.done():
                end.set_exception(error)

    @property
    def given_up(self) -> bool:
        """Whether everyone who waited has stopped waiting without an end."""
        return bool(self._ends) and all(end.done() for end in self._ends)


@dataclass
class FakeRecord:
    """As much of aiokafka's ConsumerRecord as the catalogue reads."""

    key: bytes | None
    value: bytes | None
    timestamp: int | None = round(T0.timestamp() * 1000)
    partition: int = 0
    offset: int = 0
