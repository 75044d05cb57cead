"""One life of the service, from its start to its end, as an operator has it."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from actors.fsm.transitions import Transition
from app.lifecycle import Lifecycle
from app.settings import load
from bus.kafka.connection import Clients, Connection
from catalogue.store.store import MemoryStore
from dev.simulation.checker import read_deletion
from dev.simulation.clients import SimulatedClients
from dev.simulation.faults import Fault
from dev.simulation.loop import START, wall_clock
from dev.simulation.network import Network
from dev.simulation.newest_list import Newest
from service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from actors.fsm.transitions import FeedItem, FeedStream
    from app.settings import Settings
    from dev.simulation.callers import Line
    from dev.simulation.log import Record
    from dev.simulation.newest_list import Said
    from dev.simulation.world import World


_UNREAD = 5.0
"""Seconds after which what was written is read, or the service calls itself not ready."""

_LOOK = 3.0
"""Seconds that it may take until a reader sees that a broker is back."""

_LAG_CHECK = 0.5


@functools.cache
def _defaults() -> Settings:
    flags = {"http_port": "0", "admin_port": "0", "topic_partitions": "3", "shutdown_grace": "0.2"}
    return load({}, flags)


class Life:
    """The service while it runs once.

    Args:
        world: all that is around it.
        number: which life it is, from 1.
        before: the life before it, whose catalogue it takes over.

    Attributes:
        began: when it was started.
        deletions: when deletions were handled, and their dates, by item and container.
        lists: what was handled of `item_published` and counted, by item, and when; None: what was
            known of it was forgotten, since everything is read again.
        newest: says which count.
        cut: partitions of item_deleted that have lost their end since it was started.
        lost: partitions of item_published that have done so, and from which offset on.
        offsets: which records of item_deleted were handled, by partition, in that order.
        ends_when_ready: where item_deleted ended when the service first called itself ready.
    """

    def __init__(self, world: World, number: int, before: Life | None) -> None:
        self._world = world
        self.store: MemoryStore = MemoryStore() if before is None else before.kept
        self.kept: MemoryStore = self.store
        self.number = number
        self.began = world.loop.time()
        self.deletions: dict[tuple[str, str], list[tuple[float, datetime]]] = defaultdict(list)
        self.lists: dict[str, list[tuple[float, Said | None]]] = defaultdict(list)
        self.cut: set[int] = set()
        self.lost: list[tuple[int, int]] = []
        self.newest: Newest = Newest(before.newest if before is not None else None)
        if before is not None:
            self.lists.update({item_id: list(seen) for item_id, seen in before.lists.items()})
            self._drop_what_was_cut(before.lost)
        self.offsets: dict[int, list[int]] = defaultdict(list)
        self.ends_when_ready: dict[int, int] | None = None
        self.lines: list[Line] = []
        self.network = Network(world.loop, world.cluster, world.faults, world.journal)
        self.network.settled = world.ledger.settled
        world.cluster.on_cut.append(self._on_cut)
        self._lifecycle = Lifecycle()
        self._stream: FeedStream | None = None
        self._lag_checked_at = 0.0
        self.settings = dataclasses.replace(
            _defaults(),
            timeout=world.workload.timeout,
            pool_max=world.workload.pool_max,
            follow_changes=world.workload.follows,
        )
        clients = SimulatedClients(self.network)
        connection = Connection(
            "simulated:9092",
            request_timeout=4.0,
            clients=Clients(clients.consumer, clients.producer, clients.admin, sockets=False),
        )
        now = functools.partial(wall_clock, world.loop)
        self.service = Service(
            self.settings,
            connection,
            self._lifecycle,
            utc_now=now,
            store=self.store,
            reserve_port=False,
        )
        self._listen_in()

    def _listen_in(self) -> None:
        service = self.service
        assert service.items is not None
        _before(service.deletions._handler, "_handle", self._on_deletion)
        _before(service.items._handler, "_handle", self._on_list)
        _before(service.items._resume, "_rewind", self._on_rewind)
        readiness = service.readiness

        def noticed(why_not: Callable[[], str | None]) -> str | None:
            problem = why_not()
            if service.coordinator is not None:
                in_flight = service.coordinator._pool.in_flight  # its statistics cost more
                if in_flight > self.settings.pool_max:
                    self._world.ledger.broken(f"{in_flight} are in flight")
            if problem is None and self.ends_when_ready is None:
                logs = self._world.cluster.topics["item_deleted"]
                self.ends_when_ready = {number: log.end for number, log in enumerate(logs)}
            if problem is None:
                self._check_lag()
            return problem

        why_not, plainly = readiness.why_not, readiness.why_not_plainly
        readiness.why_not = lambda: noticed(why_not)  # type: ignore[method-assign]
        readiness.why_not_plainly = lambda: noticed(plainly)  # type: ignore[method-assign]
        kinds = self._world.faults.kinds
        if self._world.journal.keeps:
            service.feed.subscribe(self._write_down)
        if Fault.OBSERVER_RAISES in kinds or Fault.OBSERVER_STALLS in kinds:
            service.feed.subscribe(self._observe)
            self._stream = service.feed.stream(capacity=3)  # nobody reads it
            self._stream.__enter__()

    def _check_lag(self) -> None:
        """Check that a service that is ready has read what was written to `item_published`.

        Nothing is said of times at which the process or the broker stood still.
        """
        now, cluster, ledger = self._world.loop.time(), self._world.cluster, self._world.ledger
        if now < self._lag_checked_at + _LAG_CHECK:
            return
        self._lag_checked_at = now
        since = now - _UNREAD - _LOOK
        if cluster.away_until > since or not ledger.ran(since, now):
            return
        assert self.service.items is not None
        for number, position in self.service.items.statistics().positions.items():
            log = cluster.topics["item_published"][number]
            record = next(iter(log.since(position, log.end, committed=False)), None)
            if record is not None and record.at < now - _UNREAD:
                where = f"item_published[{number}] at offset {record.offset}"
                ledger.broken(f"ready, and {where} is not read since {record.at - START:.2f}")

    def _on_deletion(self, record: Record) -> None:
        self.offsets[record.partition].append(record.offset)
        if (read := read_deletion(record)) is not None:
            place, deleted_at = read
            self.deletions[place].append((self._world.loop.time(), deleted_at))
            if self._world.journal.keeps:
                text = f"item_deleted {place[0][-4:]} {place[1]}"
                self._world.journal.write("Kafka", "censor", text)

    def _on_list(self, record: Record) -> None:
        for said in self.newest.take(record):
            self.lists[said.item_id].append((self._world.loop.time(), said))

    def _on_rewind(self) -> None:
        self._world.journal.write("Kafka", "censor", "! item_published is read again")
        if not self._world.may_be_read_again:
            self._world.ledger.broken("item_published is read again, and it is the same log")
        for item_id in self.newest.items():
            self.lists[item_id].append((self._world.loop.time(), None))
        self.newest = Newest()

    def _drop_what_was_cut(self, lost: list[tuple[int, int]]) -> None:
        """Go back to the lists below the stored positions where a newer one was cut off.

        The life before has read it, and not stored it: nobody can know of it any more. Where the
        position is behind the cut, everything has to be read again: see `_on_rewind`.
        """
        kept = self.store.kept()
        positions = kept.positions if kept is not None else {}
        cuts: dict[int, int] = {}
        for number, at in lost:
            if positions.get(number, 0) <= at:
                cuts[number] = min(at, cuts.get(number, at))
        stored = Newest()
        for number, log in enumerate(self._world.cluster.topics["item_published"]):
            for record in log.since(0, positions.get(number, 0)):
                stored.take(record)
        for item_id in self.newest.go_back(stored, cuts):
            said = stored.of(item_id)
            self.lists[item_id] = [] if said is None else [(self.began, said)]

    def _on_cut(self, topic: str, partition: int, offset: int) -> None:
        if topic == "item_published":
            self.lost.append((partition, offset))
        if topic == "item_deleted":
            self.cut.add(partition)
            self.offsets[partition] = [at for at in self.offsets[partition] if at < offset]
            if self.ends_when_ready is not None:
                end = self.ends_when_ready.get(partition, 0)
                self.ends_when_ready[partition] = min(end, offset)

    def _observe(self, item: FeedItem) -> None:
        faults = self._world.faults
        takedown = getattr(item.data, "takedown", None) if isinstance(item, Transition) else None
        what = takedown.item_id[-4:] if takedown is not None else type(item).__name__
        if (rng := faults.strikes(Fault.OBSERVER_STALLS, what)) is not None:
            self._world.pause(rng.uniform(0.05, 0.6), by_us=True)
        if faults.strikes(Fault.OBSERVER_RAISES, what) is not None:
            raise RuntimeError("an observer was made to fail")

    def _write_down(self, item: Any) -> None:
        event = getattr(item, "event", None)
        if event is None:
            return
        takedown = getattr(item.data, "takedown", None) or getattr(item.before, "takedown", None)
        name = f"{takedown.item_id[-4:]} {takedown.takedown_id[:4]}" if takedown else "-"
        text = f"{item.source.value} -> {item.target.value} on {type(event).__name__} ({name})"
        self._world.journal.write("censor", "censor", text)

    # ---------------------------------------------------------------------- start, stop

    async def start(self) -> None:
        """Start; does not wait until it is ready."""
        await self.service.start()

    async def stop(self) -> None:
        """Stop as on a signal: drain first."""
        await self._lifecycle.stop()

    async def kill(self) -> None:
        """Be gone, from one moment to the next, as far as anybody outside can see."""
        self.kept = copy.deepcopy(self.store)  # what is on the disk at this moment
        self.network.sever()
        for line in self.lines:
            line.hang_up()
        self.service.hurry()
        await self._lifecycle.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.service.public_server.address.rpartition(":")[2])

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.service.readiness.why_not() is None

    def actors(self) -> tuple[Any, ...]:
        """The coordinator and every censor."""
        return (self.service.coordinator, *self.service.feed.machines())

    def left(self) -> dict[str, int]:
        """What is still held on to; all zero once it is quiet (I5)."""
        service = self.service
        bus = service.bus.statistics()
        coordinator = service.coordinator
        assert coordinator is not None
        assert service.view is not None
        now = coordinator.statistics()
        machines = service.feed.machines()
        return {
            "in flight": now.in_flight,
            "subscriptions": bus.subscriptions + bus.keys + bus.subscribers,
            "timers": sum(len(machine.timers) for machine in machines),
            "busy censors": sum(machine.state.value != "Idle" for machine in machines),
            "censors beside the pool": abs(len(machines) - now.idle - now.in_flight),
            "publications": service.publisher.statistics().in_flight,
            "containers of large takedowns": service.large.containers,
            "searches": service.view.statistics().waiting,
            "answers": sum(not line.free and not line.is_closing() for line in self.lines),
        }


def _before(owner: Any, name: str, listener: Callable[..., None]) -> None:
    """Have `listener` called before the owner's own function of this name."""
    original = getattr(owner, name)

    def both(*arguments: Any) -> None:
        listener(*arguments)
        original(*arguments)

    setattr(owner, name, both)


async def gone(tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """The tasks that are left after some turns of the loop, beside these and ours."""
    for _ in range(10):
        await asyncio.sleep(0)
    return asyncio.all_tasks() - tasks - {asyncio.current_task()}
