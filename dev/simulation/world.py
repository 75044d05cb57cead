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
from dev.simulation.checker import Ledger
from dev.simulation.cluster import PARTITIONS, TOPICS
from dev.simulation.crashes import Actors
from dev.simulation.event_log import Journal
from dev.simulation.faults import Fault, Faults
from dev.simulation.items import Items
from dev.simulation.json_variants import VariantCluster
from dev.simulation.loop import START, SimulatedLoop
from dev.simulation.process_faults import ProcessFaults
from dev.simulation.randomness import seeded
from dev.simulation.read_check import check_read
from dev.simulation.recovery import check_nothing_left, recover
from dev.simulation.run import Life
from dev.simulation.topic_faults import TopicFaults
from dev.simulation.workload import draw
from domain.messages import ItemId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_LAST_TURNS = 50
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
        self.cluster = VariantCluster(self.loop, self.faults, self.journal, self.seed)
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
        self._rng = random.Random(f"{self.seed} callers")
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
        for topic in TOPICS:
            self.cluster.create(topic, PARTITIONS, self._settings_of(topic))
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
        process_faults = ProcessFaults(self)
        for kind, rng in self._planned:
            process_faults.plan(kind, rng, last)
        await asyncio.sleep(last + self.workload.timeout + 1.0)
        await self.topic_faults.over()
        await recover(self)
        await self._end_life(kill=False)
        await check_nothing_left(self)
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
        if (rng := strikes(Fault.PUBLISHED_LATE, number)) is not None:
            item_id = self.items.make(_MORE + number)
            self.ids.append(item_id)
            # Somebody asks for what does not exist; it is published; somebody asks for it.
            self.ask_again(self.unknown)
            published = rng.uniform(0.0, 0.03)
            self.loop.happen(published, self.items.publish, item_id)
            self.loop.happen(published + rng.uniform(0.0, 0.02), self.ask_again, item_id)
        wait = 1 if strikes(Fault.SHORT_WAIT, number) is not None else None
        shouts = strikes(Fault.OTHER_SPELLING, "ask", number) is not None
        self.ask(Asked(number, item_id, wait, shouts=shouts))
        if (rng := strikes(Fault.UNDECODABLE, number)) is not None:
            self.topic_faults.doubt(item_id, number, rng)
        if (rng := strikes(Fault.SAME_ITEM, number)) is not None:
            for _ in range(rng.randint(1, 4)):
                self.loop.happen(rng.choice((0.0, 0.001, 0.02)), self.ask_again, item_id)
        if (rng := strikes(Fault.CALLER_REPEATS, number)) is not None:
            self.loop.happen(rng.uniform(0.0, 2.0), self.ask_again, item_id)
        if (rng := strikes(Fault.RUSH, number)) is not None:
            for _ in range(rng.randint(5, 30)):
                another = rng.choice(self.ids)
                self.loop.happen(rng.uniform(0.0, 0.01), self.ask_again, another)

    def ask_again(self, item_id: ItemId) -> None:
        """Have somebody ask for an item, because of a fault."""
        self._more += 1
        self.ask(Asked(self._more, item_id, None))

    def ask(self, asked: Asked) -> None:
        self.ledger.asked.append(asked)
        self.loop.happen(self.cluster.delay(), self._arrive, asked)
        if (
            not asked.calm
            and (rng := self.faults.strikes(Fault.CALLER_HANGS_UP, asked.number)) is not None
        ):
            self.loop.happen(rng.uniform(0.001, 1.0), self._hang_up, asked)

    def _arrive(self, asked: Asked) -> None:
        life = self.life
        server = self.loop.servers.get(life.port) if life is not None else None
        if server is None:
            asked.refused = True
            self.journal.write("caller", "server", f"{asked.name}: nobody listens")
            return
        assert life is not None
        asked.life = life
        line = self._idle.pop() if self._idle and self._rng.random() < 0.8 else None
        if line is None or not line.free or line not in life.lines:
            line = Line(self.loop, self._answered)
            life.lines.append(line)
        if self.journal.keeps:
            text = f"{asked.name} DELETE {asked.item_id[-4:]} wait={asked.wait}"
            self.journal.write("caller", "server", text)
        line.send(asked, server.protocol_factory)
        asked.line = line

    def _answered(self, asked: Asked, answer: bytes) -> None:
        asked.answers += 1
        asked.answered_at = self.loop.time()
        read_answer(asked, answer)
        if self.journal.keeps:
            text = f"{asked.name} {asked.status} {answer.partition(b'{')[2]!r}"
            self.journal.write("server", "caller", text)
        self.ledger.answered(asked)
        if asked.line is not None and asked.line.free:
            self._idle.append(asked.line)

    def _hang_up(self, asked: Asked) -> None:
        if asked.line is not None and not asked.settled:
            self.journal.write("caller", "server", f"! {asked.name} hangs up")
            asked.hung_up_at = self.loop.time()
            asked.line.hang_up()

    def pause(self, seconds: float, *, by_us: bool = False) -> None:
        """Stop the process for so long; `by_us`: something in it blocks the loop."""
        if self.loop.paused or self.faults.over:
            return
        began = self.loop.time()
        self.journal.write("server", "server", f"! the process stands still for {seconds:.3f} s")
        self.loop.pause(seconds)
        self.ledger.pauses.append((began, self.loop.time()))
        if by_us:
            self.ledger.stalls.append((began, self.loop.time()))

    def lose_reader(self, topic: str) -> None:
        """The session of whoever reads this topic ends."""
        for consumer in tuple(self.life.network.consumers) if self.life is not None else ():
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

    def restart(self, kill: bool, downtime: float) -> None:
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
            self.journal.write("server", "server", "! killed" if kill else "! drained")
            await self._end_life(kill=kill)
            if meanwhile is not None:
                meanwhile()
            await asyncio.sleep(downtime)
            await self._begin_life()

    async def _end_life(self, *, kill: bool) -> None:
        life = self.life
        assert life is not None
        check_read(self.ledger, life, self.cluster, now=self.loop.time(), complete=False)
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
