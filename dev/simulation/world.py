"""One run: a world from a seed, the service in it, and what became of both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaConnectionError
from pykka import ActorRegistry

from dev.simulation.callers import Asked, Line, read_answer
from dev.simulation.checker import GRACE, Ledger
from dev.simulation.cluster import Broker
from dev.simulation.crashes import Actors
from dev.simulation.event_log import Journal
from dev.simulation.faults import Fault, Faults
from dev.simulation.items import Items
from dev.simulation.json_variants import Spelled
from dev.simulation.loop import START, SimulatedLoop
from dev.simulation.randomness import seeded
from dev.simulation.run import Life, gone
from dev.simulation.topic_faults import TopicFaults
from dev.simulation.workload import draw
from domain.messages import ItemId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_TOPICS = ("item_reported", "item_deleted", "item_published")
_PARTITIONS = 3
_READY_WITHIN = 30.0
_QUIET_WITHIN = 30.0
_LAST_TURNS = 50
_CALM = 9000
_MORE = 1000
"""The number of the first request that is made because of a fault."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one run.

    Attributes:
        seed: of the run.
        violations: what must not be, in words; empty: all is well.
        takedowns: requests that got an answer.
        statuses: how many answers of each status.
        faults: how often each kind struck.
        names: the names of the faults that struck, and of the requests, for `keep`.
        about: names in the journal that the violations are about.
        slowest: seconds of the slowest answer.
        simulated: seconds of the world's time.
        seconds: seconds of ours.
        digest: of the journal; empty if it was not kept.
    """

    seed: int
    violations: tuple[str, ...]
    takedowns: int
    statuses: Mapping[int, int]
    faults: Mapping[str, int]
    names: tuple[str, ...] = ()
    about: frozenset[str] = frozenset()
    slowest: float = 0.0
    simulated: float = 0.0
    seconds: float = 0.0
    digest: str = ""


@dataclass
class World:
    """All of one run.

    Attributes:
        seed: of the run.
        keep: only these faults and requests; None: all.
        only: only these kinds of fault; None: those that the seed draws.
        keeps_journal: write everything down.
    """

    seed: int
    keep: Collection[str] | None = None
    only: Collection[Fault] | None = None
    keeps_journal: bool = False
    loop: SimulatedLoop = field(init=False)

    def __post_init__(self) -> None:
        self.loop = SimulatedLoop()
        self.faults = Faults(self.seed, keep=self.keep, only=self.only)
        self.journal = Journal(self.loop, keeps=self.keeps_journal)
        self.cluster = Spelled(self.loop, self.faults, self.journal, self.seed)
        self.items = Items(self.loop, self.cluster, self.faults, self.journal, self.seed)
        planned = tuple(self.faults.planned())
        small = next((d.randint(1, 6) for kind, d in planned if kind is Fault.OVERLOAD), None)
        self.workload = draw(self.seed, small_pool=small)
        self.ledger = Ledger(
            self.loop, self.cluster, timeout=self.workload.timeout, follows=self.workload.follows
        )
        self.actors = Actors(self.faults, self.journal, pause=self.pause)
        self.ledger.crashes = self.actors.crashes
        self._planned = planned
        self.topic_faults = TopicFaults(self)
        self._dice = random.Random(f"{self.seed} callers")
        self.ids: list[ItemId] = []
        self._kept: list[str] = []
        self._more = _MORE
        self._idle: list[Line] = []
        self.life: Life | None = None
        self._before: Life | None = None
        self._lives = 0
        self.operator = asyncio.Lock()

    # ------------------------------------------------------------------------------ run

    def run(self) -> Result:
        """Run it to its end."""
        began = time.perf_counter()
        with _alone(self.seed), self.actors.watched():
            try:
                self.loop.run_until_complete(self._live())
            except Exception as error:  # noqa: BLE001 - whatever ends a run is a finding
                self.ledger.broken(f"the run broke off: {error!r}")
            self._close()
        ledger = self.ledger
        violations = (*ledger.violations, *self.actors.violations, *self.loop.complaints)
        return Result(
            seed=self.seed,
            violations=violations,
            takedowns=sum(ledger.statuses.values()),
            statuses=dict(ledger.statuses),
            faults={kind.value: count for kind, count in self.faults.struck.items()},
            names=(*self.faults.names, *self._kept),
            about=frozenset(ledger.about),
            slowest=ledger.slowest,
            simulated=self.loop.time() - START,
            seconds=time.perf_counter() - began,
            digest=self.journal.digest() if self.journal.keeps else "",
        )

    def _close(self) -> None:
        """End what a run that broke off has left; another one has left nothing."""
        for _ in range(_LAST_TURNS):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            with contextlib.suppress(Exception):
                self.loop.run_until_complete(asyncio.sleep(0.1))
        self.loop.close()

    async def _live(self) -> None:
        for topic in _TOPICS:
            self.cluster.create(topic, _PARTITIONS, self._settings_of(topic))
        for number in range(self.workload.items):
            item_id = self.items.make(number + 1)
            self.ids.append(item_id)
            self.items.publish(item_id)
        self.ids += [
            ItemId(f"ffffffff-0000-4000-8000-{number:012x}")
            for number in range(self.workload.items // 8 + 1)
        ]
        self.unknown = self.ids[-1]
        await self._begin_life()
        for number, (at, item) in enumerate(self.workload.asks):
            if self.faults.kept(f"ask#{number}"):
                self._kept.append(f"ask#{number}")
                self.loop.happen(at, self._first_ask, number, self.ids[item])
        last = self.workload.asks[-1][0]
        for kind, dice in self._planned:
            self._plan(kind, dice, last)
        await asyncio.sleep(last + self.workload.timeout + 1.0)
        await self.topic_faults.over()
        await self._calm_down()
        await self._end_life(kill=False)
        await self._check_nothing_left()
        self.ledger.check_end()

    def _settings_of(self, topic: str) -> dict[str, str]:
        policy = "compact" if topic == "item_published" else "delete"
        retention = round(self.topic_faults.retention * 1000)
        return {
            "cleanup.policy": policy,
            "delete.retention.ms": str(retention),
            "retention.bytes": "-1",
            "retention.ms": "604800000",
        }

    # --------------------------------------------------------------------------- callers

    def _first_ask(self, number: int, item_id: ItemId) -> None:
        strikes = self.faults.strikes
        if (dice := strikes(Fault.PUBLISHED_LATE, number)) is not None:
            item_id = self.items.make(_MORE + number)
            self.ids.append(item_id)
            # Somebody asks for what does not exist; it is published; somebody asks for it.
            self.ask_again(self.unknown)
            published = dice.uniform(0.0, 0.03)
            self.loop.happen(published, self.items.publish, item_id)
            self.loop.happen(published + dice.uniform(0.0, 0.02), self.ask_again, item_id)
        wait = 1 if strikes(Fault.SHORT_WAIT, number) is not None else None
        shouts = strikes(Fault.OTHER_SPELLING, "ask", number) is not None
        self._ask(Asked(number, item_id, wait, shouts=shouts))
        if (dice := strikes(Fault.UNDECODABLE, number)) is not None:
            self.topic_faults.doubt(item_id, number, dice)
        if (dice := strikes(Fault.SAME_ITEM, number)) is not None:
            for _ in range(dice.randint(1, 4)):
                self.loop.happen(dice.choice((0.0, 0.001, 0.02)), self.ask_again, item_id)
        if (dice := strikes(Fault.CALLER_REPEATS, number)) is not None:
            self.loop.happen(dice.uniform(0.0, 2.0), self.ask_again, item_id)
        if (dice := strikes(Fault.RUSH, number)) is not None:
            for _ in range(dice.randint(5, 30)):
                another = dice.choice(self.ids)
                self.loop.happen(dice.uniform(0.0, 0.01), self.ask_again, another)

    def ask_again(self, item_id: ItemId) -> None:
        """Have somebody ask for an item, because of a fault."""
        self._more += 1
        self._ask(Asked(self._more, item_id, None))

    def _ask(self, asked: Asked) -> None:
        self.ledger.asked.append(asked)
        self.loop.happen(self.cluster.delay(), self._arrive, asked)
        if (
            not asked.calm
            and (dice := self.faults.strikes(Fault.CALLER_HANGS_UP, asked.number)) is not None
        ):
            self.loop.happen(dice.uniform(0.001, 1.0), self._hang_up, asked)

    def _arrive(self, asked: Asked) -> None:
        life = self.life
        server = self.loop.servers.get(life.port) if life is not None else None
        if server is None:
            asked.refused = True
            self.journal.write("caller", "door", f"{asked.name}: nobody listens")
            return
        assert life is not None
        asked.life = life
        line = self._idle.pop() if self._idle and self._dice.random() < 0.8 else None
        if line is None or not line.free or line not in life.lines:
            line = Line(self.loop, self._answered)
            life.lines.append(line)
        if self.journal.keeps:
            text = f"{asked.name} DELETE {asked.item_id[-4:]} wait={asked.wait}"
            self.journal.write("caller", "door", text)
        line.send(asked, server.protocol_factory)
        asked.line = line

    def _answered(self, asked: Asked, answer: bytes) -> None:
        asked.answers += 1
        asked.answered_at = self.loop.time()
        read_answer(asked, answer)
        if self.journal.keeps:
            text = f"{asked.name} {asked.status} {answer.partition(b'{')[2]!r}"
            self.journal.write("door", "caller", text)
        self.ledger.answered(asked)
        if asked.line is not None and asked.line.free:
            self._idle.append(asked.line)

    def _hang_up(self, asked: Asked) -> None:
        if asked.line is not None and not asked.settled:
            self.journal.write("caller", "door", f"! {asked.name} hangs up")
            asked.hung_up_at = self.loop.time()
            asked.line.hang_up()

    # ---------------------------------------------------------------------------- faults

    def _plan(self, kind: Fault, dice: random.Random, last: float) -> None:
        # Some are there from the start.
        at = dice.uniform(0.0, last + 0.5) if dice.random() < 0.8 else 0.0
        happen = self.loop.happen
        match kind:
            case Fault.BROKER_REFUSES:
                happen(at, self.cluster.away, Broker.REFUSES, dice.uniform(0.05, 2.5))
            case Fault.BROKER_HANGS:
                happen(at, self.cluster.away, Broker.HANGS, dice.uniform(0.05, 4.0))
            case Fault.NO_LEADER:
                topic, seconds = dice.choice(_TOPICS), dice.uniform(0.05, 2.0)
                happen(at, self.cluster.lose_leader, topic, dice.randrange(_PARTITIONS), seconds)
            case Fault.PARTITIONS_ADDED:
                happen(at, self.cluster.add_partition, dice.choice(_TOPICS))
            case Fault.PAUSED:
                happen(at, self.pause, dice.choice((0.3, 1.0, 3.0)) * dice.uniform(0.3, 2.0))
            case Fault.PAUSED_MIDWAY:
                pause = functools.partial(
                    self.pause, dice.choice((0.1, 1, 3)) * dice.uniform(0.3, 2)
                )
                happen(at, self.loop.after_callbacks, dice.randint(1, 60), pause)
            case Fault.SLOWED:
                happen(at, self._slow_down, dice, dice.randint(20, 200))
            case Fault.DRAINED:
                happen(at, self._restart, False, dice.uniform(0.0, 0.5))
                if dice.random() < 0.4:  # and the process is stopped while it drains
                    happen(at + dice.uniform(0.0, 0.2), self.pause, dice.uniform(1.0, 8.0))
            case Fault.KILLED:
                kill = functools.partial(self._restart, True, dice.uniform(0.0, 0.5))
                if dice.random() < 0.5:
                    happen(at, kill)
                else:
                    happen(at, self.loop.after_callbacks, dice.randint(1, 60), kill)
            case Fault.PRODUCER_DIED:
                happen(at, self._kill_producer)
            case Fault.READER_STALLED:
                happen(at, self._stall_reader, dice.choice(_TOPICS[1:]))
            case Fault.READER_LOST:
                happen(at, self.lose_reader, dice.choice(_TOPICS[1:]))
            case Fault.READER_LAGS:
                happen(at, self._lag, "item_deleted", dice.uniform(0.05, 1.5), dice.uniform(0.1, 2))
            case Fault.PARTITION_LAGS:
                where = f"{dice.choice(_TOPICS[1:])}[{dice.randrange(_PARTITIONS)}]"
                happen(at, self._lag, where, dice.uniform(0.005, 1.5), dice.uniform(0.5, 3.0))
            case Fault.CATALOGUE_BEHIND:
                lag = dice.uniform(0.05, 3.0)
                happen(at, self._lag, "item_published", lag, dice.uniform(0.5, 3.0))
            case _:
                self.topic_faults.plan(kind, at, dice)

    def pause(self, seconds: float, *, by_us: bool = False) -> None:
        """Stop the process for so long; `by_us`: something in it blocks the loop."""
        if self.loop.paused or self.faults.over:
            return
        began = self.loop.time()
        self.journal.write("door", "door", f"! the process stands still for {seconds:.3f} s")
        self.loop.pause(seconds)
        self.ledger.pauses.append((began, self.loop.time()))
        if by_us:
            self.ledger.stalls.append((began, self.loop.time()))

    def _slow_down(self, dice: random.Random, times: int) -> None:
        """Have the program's own work take time: a moment after some callbacks, again and again."""
        if times and not self.faults.over:
            self.pause(dice.uniform(0.0005, 0.005))
            more = functools.partial(self._slow_down, dice, times - 1)
            self.loop.after_callbacks(dice.randint(1, 60), more)

    def _lag(self, topic: str, lag: float, seconds: float) -> None:
        self.journal.write("Kafka", "Kafka", f"! {topic} is read {lag:.3f} s late")
        self.cluster.lag[topic] = lag
        self.loop.happen(seconds, self.cluster.lag.pop, topic, None)

    def _kill_producer(self) -> None:
        if self.life is not None:
            self.journal.write("publisher", "publisher", "! the producer's task dies")
            for producer in self.life.net.producers:
                producer.die()

    def _stall_reader(self, topic: str) -> None:
        for consumer in self.life.net.consumers if self.life is not None else ():
            if consumer.topic == topic:
                self.journal.write("Kafka", "Kafka", f"! {topic} is not fetched any more")
                consumer.silent = True

    def lose_reader(self, topic: str) -> None:
        """The session of whoever reads this topic ends."""
        for consumer in tuple(self.life.net.consumers) if self.life is not None else ():
            if consumer.topic == topic:
                self.journal.write("Kafka", "Kafka", f"! the reader of {topic} fails")
                consumer.lose(KafkaConnectionError("made to fail"))

    @property
    def may_be_read_again(self) -> bool:
        """Whether item_published is another log than before, or was not read for too long."""
        return "item_published" in self.cluster.cuts or Fault.LONG_STOP in self.faults.kinds

    # ------------------------------------------------------------------------- operators

    async def _begin_life(self) -> None:
        self._lives += 1
        life = Life(self, self._lives, self._before)
        self._before = life
        life.service.failed.add_done_callback(functools.partial(self._on_failed, life))
        await life.start()
        self.life = life

    def _on_failed(self, life: Life, _reason: asyncio.Future[str]) -> None:
        self.loop.create_task(self.another_life(life, kill=True, downtime=0.1))

    def _restart(self, kill: bool, downtime: float) -> None:
        if not self.faults.over:
            self.loop.create_task(self.another_life(self.life, kill=kill, downtime=downtime))

    async def another_life(
        self,
        life: Life | None,
        *,
        kill: bool,
        downtime: float,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """End this life, if it is the current one, and begin the next after so many seconds.

        `meanwhile` is called when it has ended.
        """
        async with self.operator:
            if life is not self.life or life is None:
                return
            self.journal.write("door", "door", "! killed" if kill else "! drained")
            await self._end_life(kill=kill)
            if meanwhile is not None:
                meanwhile()
            await asyncio.sleep(downtime)
            await self._begin_life()

    async def _end_life(self, *, kill: bool) -> None:
        life = self.life
        assert life is not None
        self.ledger.check_read(life, self.cluster, complete=False)
        self.actors.check_restarts(life.actors())
        if kill:
            self.life = None
            for asked in self.ledger.asked:
                asked.cut = asked.cut or (asked.life is life and not asked.settled)
            await life.kill()
        else:
            await life.stop()
            for line in life.lines:
                line.hang_up()
            self.life = None

    # ------------------------------------------------------------------------- afterwards

    async def _calm_down(self) -> None:
        """Nothing goes wrong any more: it has to recover, to work, and to come to rest."""
        self.faults.over = True
        self.cluster.heal()
        if not await self._until(self._is_ready, _READY_WITHIN):
            reason = self.life.service.readiness.why_not() if self.life is not None else "dead"
            self.ledger.broken(f"it does not get ready again: {reason}")
            return
        # A fetcher that has fallen silent is noticed after some seconds.
        await asyncio.sleep(6.0 if Fault.READER_STALLED in self.faults.kinds else 1.5)
        await self._until(self._nothing_is_sent, _QUIET_WITHIN)
        # A process that stood still has accepted all that waited at its end: each has its time.
        await self._until(self._nothing_in_flight, self.workload.timeout + GRACE)
        known = [self.items.make(_CALM + number) for number in range(4)]
        for item_id in known:
            self.items.publish(item_id)
        await asyncio.sleep(0.1)
        for number, item_id in enumerate((*known, self.unknown)):
            asked = Asked(_CALM + number, item_id, None, calm=True)
            self._ask(asked)
            await self._until(lambda asked=asked: asked.settled, self.workload.timeout + GRACE)
            wanted = 404 if item_id is self.unknown else 200
            if asked.status != wanted:
                self.ledger.broken(f"all is well, and it is not {wanted}", asked)
        await self._check_quiet()

    def _is_ready(self) -> bool:
        """Whether it is ready, and nobody is about to stop it."""
        life = self.life
        if life is None or self.operator.locked() or life.service.failed.done():
            return False
        return life.ready

    def _nothing_is_sent(self) -> bool:
        """Whether the producer has worked off what was there when things went wrong."""
        return self.life is None or not self.life.service.publisher.statistics().in_flight

    def _nothing_in_flight(self) -> bool:
        """Whether every place of the pool is free."""
        return self.life is None or not self.life.left()["in flight"]

    async def _until(self, there: object, within: float) -> bool:
        assert callable(there)
        end = self.loop.time() + within
        while not there():
            if self.loop.time() > end:
                return False
            await asyncio.sleep(0.1)
        return True

    async def _check_quiet(self) -> None:
        life = self.life
        assert life is not None
        if not await self._until(lambda: not any(life.left().values()), _QUIET_WITHIN):
            left = {name: count for name, count in life.left().items() if count}
            self.ledger.broken(f"I5: left over: {left}")
        self.ledger.check_read(life, self.cluster, complete=True)
        self.actors.check_mailboxes(stopped=False)

    async def _check_nothing_left(self) -> None:
        tasks = await gone(set())
        if tasks:
            names = sorted(str(task.get_coro()) for task in tasks)
            self.ledger.broken(f"I5: tasks are left: {names}")
        if alive := ActorRegistry.get_all():
            self.ledger.broken(f"I5: actors are left: {alive}")
        self.actors.check_mailboxes(stopped=True)
        timers = [
            handle
            for handle in self.loop._scheduled  # type: ignore[attr-defined]
            if not handle._cancelled
        ]
        if timers:
            self.ledger.broken(f"I5: timers are left: {timers}")


@contextlib.contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Nothing of the process shows in the run, and nothing of the run in the process."""
    was_disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with seeded(str(seed)):
            yield
    finally:
        ActorRegistry._actor_refs.clear()
        if collecting:
            gc.enable()
        logging.disable(was_disabled)
