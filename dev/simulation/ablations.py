"""Safeguards, taken out one at a time: each loss must be found, or the safeguard is for nothing.

A safeguard is taken out of the running program by rewriting the source of the one function that
holds it; if the text is not there any more, the list is out of date and says so. Nothing in the
program itself knows of this.
"""

from __future__ import annotations
import __future__

import contextlib
import functools
import inspect
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import actors.item_censor.actor
import actors.item_censor.confirming
import actors.item_censor.ending
import actors.item_censor.evidence
import actors.item_censor.following
import actors.item_censor.locating
import actors.item_censor.machine
import bus.event_bus
import bus.kafka.codec
import bus.kafka.consumers
import bus.kafka.epoch_ends
import bus.kafka.last_records
import bus.kafka.log_end
import catalogue.proofs
import web.api
from actors.fsm.actor import MachineActor
from actors.fsm.timers import NamedTimers
from actors.fsm.transitions import TransitionFeed
from actors.item_censor.actor import ItemCensor
from actors.runtime.future import LoopFuture
from app.composition.actors import Actors
from app.composition.topics import PreparedTopics
from bus.kafka.known_log import KnownLog
from bus.kafka.log_inspection import LogInspection
from bus.kafka.positioning import Positioning
from bus.kafka.publication import KafkaPublication
from bus.kafka.read_barrier import CatchingUp
from bus.kafka.reader import TopicReader
from bus.kafka.record_fetcher import RecordFetcher
from bus.kafka.record_handler import RecordHandler
from catalogue.freshness import Freshness
from catalogue.searches import Searches
from catalogue.updates import Updates
from coordinator.coordinator import Coordinator
from coordinator.pool import CensorPool
from coordinator.restart_policy import OneForOne
from coordinator.waiting import WaitingRoom
from dev.simulation.faults import Fault
from dev.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.simulation.world import Result


class OutOfDate(Exception):
    """The safeguard is not where this list says."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One change: in the source of `owner.name`, `old` becomes `new`."""

    owner: Any
    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Ablation:
    """One safeguard.

    Attributes:
        name: what the program does without it.
        cuts: the changes that take it out.
        second: for one that has a second line of defence behind it: which. Its loss alone is not
            found, and must not be; the loss of both is another entry.
        shows: for one whose loss breaks something in each run anyway: the words of the violation
            that it takes to show that it is missed.
        only: for one that few kinds of fault concern: these, so that few runs find it; None: each
            run has those that its seed draws.
    """

    name: str
    cuts: tuple[Cut, ...]
    second: str = ""
    shows: str = ""
    only: tuple[Fault, ...] | None = None

    def found(self, result: Result) -> str:
        """The first violation that shows its loss; empty if there is none."""
        return next((words for words in result.violations if self.shows in words), "")


_machine = actors.item_censor.machine
_locating = actors.item_censor.locating
_confirming = actors.item_censor.confirming
_following = actors.item_censor.following
_ending = actors.item_censor.ending
_evidence = actors.item_censor.evidence

_NO_FLUSH = Cut(
    Coordinator,
    "_finished",
    "if entry.censor.try_tell(Flush()):",
    "if entry.censor.is_alive():",
)
_KEEPS_SUBSCRIPTIONS = Cut(_ending, "finish", "            UnsubscribeAll(),\n", "")
_NO_GENERATION = Cut(
    NamedTimers,
    "accept",
    "timer is None or timer.argument.generation != fired.generation",
    "timer is None",
)
_NO_CANCEL = Cut(NamedTimers, "cancel", "self._alarms.cancel(timer)", "pass")
_NOT_LONGER = Cut(LoopFuture, "_time_out", "self._loop.time() - alarm.at > _HELD_UP", "False")
_ANY_ITEM = Cut(bus.event_bus, "partition_key", 'f"{item_id}-{container_id}"', 'f"{container_id}"')
_ANY_EVENT = Cut(_machine, "_of_this_item", "event.item_id == data.takedown.item_id", "True")

_NO_PROOF = Cut(_evidence, "is_complete", "data.proven and ", "")
_ANY_DESCRIPTION = Cut(
    bus.kafka.log_end._Leader, "is_as_described", "if described == self.described:", "if True:"
)
_NO_EPOCHS = Cut(bus.kafka.epoch_ends, "_cut", "if mark.epoch == UNKNOWN_EPOCH or", "if True or")
_NO_FINGERPRINTS = Cut(
    bus.kafka.last_records,
    "_compare",
    "    known = dict(mark.tail)",
    "    return None\n    known = dict(mark.tail)",
)
_READS_ON = Cut(
    KnownLog,
    "verify_fetched",
    "if _rises(self.marks.newest_epochs(), self._verified):",
    "if False:",
)
_NEVER_TOO_OLD = Cut(Freshness, "too_old", "if retention is None or", "if True or")
_NEVER_LATE = Cut(Freshness, "at_end", "if gap > max(retention - MARGIN, MARGIN):", "if False:")
_NO_LAG = Cut(
    TopicReader,
    "caught_up",
    "and not self._progress.lag.is_late(asyncio.get_running_loop().time())",
    "",
)

ABLATIONS: tuple[Ablation, ...] = (
    Ablation(
        "subscribes once Kafka has acknowledged, not before it publishes",
        (
            Cut(
                MachineActor,
                "_perform_all",
                "if carry_out is not None:",
                "if type(effect).__name__ == 'SubscribeToDeletions'"
                " and not hasattr(self, '_late'):\n"
                "                self._late = effect\n"
                "            elif carry_out is not None:",
            ),
            Cut(
                MachineActor,
                "on_receive",
                "self.raise_event(message)",
                "self.raise_event(message)\n"
                "        if type(message).__name__ == 'RequestsPublished':\n"
                "            if self.state.name == 'ACTIVE':\n"
                "                self._perform_all((self._late,))\n"
                "        if self.state.name == 'IDLE' and hasattr(self, '_late'):\n"
                "            del self._late",
            ),
        ),
    ),
    Ablation(
        "counts deletions, and does not keep a set of containers",
        (
            Cut(
                _confirming,
                "deleted",
                "    vanished =",
                "    if data.outstanding:\n"
                "        event = replace(event, container_id=min(data.outstanding))\n"
                "    vanished =",
            ),
        ),
    ),
    Ablation(
        "takes a timer that was replaced for the current one",
        (_NO_GENERATION,),
        second="timers are cancelled in the loop",
    ),
    Ablation("leaves cancelled timers in the loop", (_NO_CANCEL,)),
    Ablation(
        "leaves cancelled timers in the loop, and takes them for current ones",
        (_NO_GENERATION, _NO_CANCEL),
        shows="a 504 before its deadline",
    ),
    Ablation(
        "restarts the deadline with each deletion",
        (
            Cut(
                MachineActor,
                "_transition",
                "self._perform_all(step.effects)",
                "self._perform_all(step.effects)\n"
                "        for name, timer in tuple(self.timers._active.items()):\n"
                "            if type(event).__name__ == 'ItemDeleted':\n"
                "                self.timers.start("
                "name, max(timer.at, now + 1.0), timer.argument.event)",
            ),
        ),
    ),
    Ablation(
        "does not flush a censor before it is used again",
        (_NO_FLUSH,),
        second="a takedown that ends cleans up",
    ),
    Ablation(
        "does not unsubscribe when a takedown ends", (_KEEPS_SUBSCRIPTIONS,), second="the flush"
    ),
    Ablation("neither unsubscribes at the end nor flushes", (_KEEPS_SUBSCRIPTIONS, _NO_FLUSH)),
    Ablation(
        "does not unsubscribe when a censor fails",
        (
            Cut(
                _ending,
                "leave_no_trace",
                "(StopPublishing(), UnsubscribeAll())",
                "(StopPublishing(),)",
            ),
        ),
    ),
    Ablation(
        "has no bound for takedowns in flight",
        (Cut(CensorPool, "take", "elif len(self._busy) < self._maximum:", "elif True:"),),
    ),
    Ablation(
        "says 404 while the catalogue is behind",
        (Cut(Searches, "_find", "await log.catch_up()", "pass"),),
    ),
    Ablation(
        "takes an item's id as it is written",
        (Cut(bus.kafka.codec, "_canonical", "return item_id", "return ItemId(text)"),),
    ),
    Ablation(
        "keeps a container twice that a list names twice",
        (
            Cut(
                _locating,
                "found",
                "containers = containers_of(tuple(first.values()))",
                "containers = event.containers",
            ),
        ),
    ),
    Ablation(
        "shares an earlier question about the log's end",
        (
            Cut(
                CatchingUp,
                "ask",
                "self._waiting.append(waiter)",
                "under_way = [r for r in self._rounds if r.ends is None]\n"
                "        if under_way:\n"
                "            under_way[0].waiters.append(waiter)\n"
                "            return waiter\n"
                "        self._waiting.append(waiter)",
            ),
        ),
    ),
    Ablation(
        "is ready before the reader knows its positions",
        (Cut(TopicReader, "positioned", "return self._availability.positioned", "return True"),),
    ),
    Ablation(
        "handles a message before a deadline that has passed",
        (
            Cut(
                NamedTimers,
                "take_due",
                "if not self._active or self.first_due > self._loop.time():",
                "if True:",
            ),
        ),
        only=(Fault.PAUSED, Fault.SLOWED, Fault.EVENT_DELAYED, Fault.SHORT_WAIT),
    ),
    Ablation(
        "waits no longer for who has had no turn while the process was stopped",
        (_NOT_LONGER,),
        second="five more turns of the loop",
    ),
    Ablation(
        "waits for nobody's turn when the time is over",
        (_NOT_LONGER, Cut(LoopFuture, "_time_out", "self._give_up(_TURNS)", "self._give_up(0)")),
        only=(Fault.PAUSED, Fault.SLOWED, Fault.EVENT_LOST, Fault.SHORT_WAIT),
    ),
    Ablation(
        "gives a 200 however late it comes out of the server",
        (Cut(web.api.PublicApi, "_outcome", "isinstance(outcome, Deleted) and", "False and"),),
    ),
    Ablation(
        "trusts what is told of an earlier takedown",
        (
            Cut(
                _machine,
                "_of_this_takedown",
                "event.takedown_id == data.takedown.takedown_id",
                "True",
            ),
        ),
        only=(
            Fault.CATALOGUE_BEHIND,
            Fault.ACK_FAILED,
            Fault.CENSOR_CRASHED,
            Fault.SAME_ITEM,
            Fault.LIST_CHANGED,
        ),
    ),
    Ablation(
        "takes the evidence for an earlier takedown for its own",
        (
            Cut(
                _machine,
                "_of_this_takedown",
                "return event",
                "return type(event) is CatalogueCaughtUp or event",
            ),
        ),
        only=(
            Fault.CATALOGUE_BEHIND,
            Fault.LIST_BEHIND,
            Fault.ACK_FAILED,
            Fault.LIST_CHANGED,
            Fault.SHORT_WAIT,
        ),
    ),
    Ablation(
        "takes the end of a log that is read again for evidence",
        (Cut(catalogue.proofs._Proof, "set_result", "if self._proofs.valid():", "if True:"),),
        only=(Fault.LOG_CUT, Fault.LIST_BEHIND),
    ),
    Ablation(
        "says 503 after requests were handed over",
        (
            Cut(KafkaPublication, "failed", "self._handed_over or handed_over", "False"),
            Cut(KafkaPublication, "acknowledged", "self._handed_over = True", "pass"),
        ),
        only=(Fault.ACK_FAILED, Fault.ACK_FAILED_WRITTEN),
    ),
    Ablation(
        "begins at the end again with each session",
        (
            Cut(
                Positioning,
                "position",
                "first_time = not known.positions",
                "first_time = True",
            ),
        ),
    ),
    Ablation(
        "reads a new partition from its end",
        (
            Cut(
                LogInspection,
                "_inspect_once",
                "await asking.beginning_offsets(new)",
                "await asking.end_offsets(new)",
            ),
        ),
    ),
    Ablation(
        "takes for an item's newest list what is read last, in whichever partition",
        (
            Cut(
                Updates,
                "_is_overtaken",
                "return known is not None and times < times_of(known)",
                "return False",
            ),
        ),
        only=(Fault.LISTED_ELSEWHERE, Fault.LIST_CHANGED, Fault.PARTITION_LAGS),
    ),
    Ablation(
        "takes the list with the later time, though the same partition has a later record",
        (
            Cut(
                Updates,
                "_of_another_partition",
                "if value is None or partition_of(value) == partition:",
                "if value is None:",
            ),
        ),
        only=(Fault.CLOCK_WRONG, Fault.LIST_CHANGED, Fault.ITEM_REPUBLISHED),
    ),
    Ablation(
        "forgets at once that an item is gone",
        (
            Cut(
                Updates,
                "apply",
                "self._entries.put(key, value)",
                "self._entries.put(key, value if containers else None)",
            ),
        ),
        only=(Fault.LISTED_ELSEWHERE, Fault.ITEM_GONE, Fault.PARTITION_LAGS),
    ),
    Ablation(
        "handles a record again that was fetched again",
        (Cut(RecordFetcher, "fetch_once", "if record.offset < position:", "if False:"),),
    ),
    Ablation(
        "ends the session at a record that cannot be read",
        (
            Cut(
                RecordHandler,
                "handle_one",
                "except UnreadableRecord as error:",
                "except ZeroDivisionError as error:",
            ),
            Cut(
                RecordHandler,
                "handle_one",
                "except Exception as error:",
                "except ZeroDivisionError as error:",
            ),
        ),
        only=(Fault.POISON,),
    ),
    Ablation(
        "restarts an actor as often as it fails",
        (Cut(OneForOne, "may_restart", "if len(history) >= self._restarts:", "if False:"),),
        only=(Fault.CENSOR_CRASHED, Fault.COORDINATOR_CRASHED),
    ),
    Ablation(
        "does not say which takedown a failed censor carried",
        (Cut(ItemCensor, "on_restart", "takedown_id=carried", "takedown_id=None"),),
        only=(Fault.CENSOR_CRASHED,),
    ),
    Ablation(
        "forgets a takedown whose censor failed at its first message",
        (Cut(ItemCensor, "on_restart", "if carried is None and", "if False and"),),
        only=(Fault.CENSOR_CRASHED, Fault.RUSH),
    ),
    Ablation(
        "leaves its own tasks behind when draining takes too long",
        (
            Cut(
                Actors,
                "drain",
                "        finally:",
                "        except ZeroDivisionError:\n            raise\n        else:",
            ),
        ),
        only=(Fault.DRAINED, Fault.EVENT_LOST),
    ),
    Ablation(
        "answers although it was answered before",
        (Cut(Coordinator, "_answer_failed", "if not entry.reply.done():", "if True:"),),
        only=(
            Fault.CENSOR_CRASHED,
            Fault.PAUSED,
            Fault.PAUSED_MIDWAY,
            Fault.SHORT_WAIT,
            Fault.EVENT_LOST,
        ),
    ),
    Ablation(
        "does not answer what was in flight when the coordinator fails",
        (Cut(Coordinator, "_abandon", "entry.reply.set(Failed())", "pass"),),
        only=(Fault.COORDINATOR_CRASHED, Fault.RUSH),
    ),
    Ablation(
        "lets an observer's failure reach the takedown",
        (Cut(TransitionFeed, "publish", "except Exception", "except ZeroDivisionError"),),
        only=(Fault.OBSERVER_RAISES,),
    ),
    Ablation(
        "stops without finishing what is in flight",
        (
            Cut(
                Actors,
                "drain",
                "if self.coordinator is None or",
                "if True or self.coordinator is None or",
            ),
        ),
        only=(Fault.DRAINED, Fault.EVENT_DELAYED),
    ),
    Ablation(
        "passes deletions on to whoever takes down another item",
        (_ANY_ITEM,),
        second="the machine looks at the item, too",
    ),
    Ablation("takes another item's deletion for its own", (_ANY_EVENT,), second="the bus's keys"),
    Ablation(
        "passes deletions of other items on, and takes them for its own", (_ANY_ITEM, _ANY_EVENT)
    ),
    Ablation(
        "forgets a deletion of what a list has left out",
        (Cut(_confirming, "deleted", "event.container_id in data.vanished", "False"),),
        only=(Fault.LIST_CHANGED, Fault.EVENT_DUPLICATED, Fault.EVENT_DELAYED),
    ),
    Ablation(
        "does not follow a list that adds a container",
        (
            Cut(
                _following,
                "listed",
                "added = again | new.keys()",
                "new = {}\n    added = frozenset()",
            ),
        ),
        only=(Fault.LIST_CHANGED, Fault.ITEM_REPUBLISHED),
    ),
    Ablation(
        "fails at a list that was published when time began",
        (
            Cut(
                _following,
                "_is_current",
                "at - event.listed_at < _PRECISION",
                "event.listed_at > at - _PRECISION",
            ),
        ),
        only=(Fault.CLOCK_WRONG, Fault.LIST_CHANGED),
    ),
    Ablation(
        "begins to follow a list only after the catalogue has answered",
        (
            Cut(
                _locating,
                "begin_to_follow",
                "(timer, FollowItem(event.takedown.item_id), find)",
                "(timer, find)",
            ),
        ),
        only=(Fault.PUBLISHED_LATE, Fault.LIST_CHANGED, Fault.CATALOGUE_BEHIND, Fault.SAME_ITEM),
    ),
    Ablation(
        "gives a 200 without evidence that no newer list was missed",
        (_NO_PROOF,),
        only=(Fault.LIST_BEHIND,),
    ),
    Ablation(
        "reports a hit before the evidence although newer lists are not followed",
        (Cut(Searches, "locate", " and not self._waits_for_evidence", ""),),
        only=(Fault.LIST_BEHIND,),
    ),
    Ablation(
        "proves by the last stable offset, not by the high water mark",
        (
            Cut(
                bus.kafka.consumers,
                "_options",
                '"read_uncommitted" if role == _ASKING else "read_committed"',
                '"read_committed"',
            ),
            Cut(
                bus.kafka.log_end,
                "_offsets_frame",
                "_CONSUMER, _READ_UNCOMMITTED,",
                "_CONSUMER, 1,",
            ),
        ),
        only=(Fault.TRANSACTION, Fault.TRANSACTION_HANGS),
    ),
    Ablation(
        "proves by the log's end although the topic's description has changed",
        (_ANY_DESCRIPTION,),
        only=(Fault.LOG_CUT, Fault.PARTITIONS_ADDED, Fault.LIST_BEHIND),
    ),
    Ablation(
        "carries positions on without a look at leader epochs",
        (_NO_EPOCHS,),
        only=(Fault.LOG_CUT, Fault.OFFSETS_JUMP),
    ),
    Ablation(
        "carries positions on without comparing the last records",
        (_NO_FINGERPRINTS,),
        only=(Fault.LOG_CUT,),
    ),
    Ablation(
        "does not fetch the last records below the end of a log that it begins at",
        (Cut(KnownLog, "mark", "bare = self.marks.without_tail()", "bare = {}"),),
    ),
    Ablation(
        "carries positions on without leader epochs and last records",
        (_NO_EPOCHS, _NO_FINGERPRINTS),
        only=(Fault.LOG_CUT,),
    ),
    Ablation(
        "does not verify the log when its description names a later leader epoch",
        (
            Cut(
                KnownLog,
                "require_same",
                "if _rises(description.epochs, self._verified):",
                "if False:",
            ),
        ),
        only=(Fault.LOG_CUT,),
    ),
    Ablation(
        "does not verify the log when batches of a later leader epoch are fetched",
        (_READS_ON,),
        only=(Fault.LOG_CUT,),
    ),
    Ablation(
        "assumes that a list is the newest although a record behind it cannot be read",
        (
            Cut(
                Updates,
                "apply",
                "self._put_in_doubt(record, str(error) or repr(error), rebuilding=rebuilding)",
                "pass",
            ),
        ),
        only=(Fault.UNDECODABLE,),
    ),
    Ablation(
        "gives a 200 although the item came into doubt",
        (Cut(_confirming, "in_doubt", "replace(data, doubted=True)", "data"),),
        only=(Fault.UNDECODABLE,),
    ),
    Ablation(
        "forgets at a restart which items are in doubt",
        (
            Cut(
                Updates,
                "load",
                "self.doubts.load(stored)",
                "for key, _ in stored:\n            self._entries.put(key, None)",
            ),
        ),
        only=(Fault.UNDECODABLE, Fault.KILLED, Fault.DRAINED),
    ),
    Ablation(
        "takes a doubt for older than a list in any other partition",
        (
            Cut(
                Updates,
                "_put_in_doubt",
                "if self._is_doubt_overtaken(key, before, doubt):",
                "if before is not None and partition_of(before) != record.partition:",
            ),
        ),
        only=(Fault.UNDECODABLE, Fault.LISTED_ELSEWHERE, Fault.PARTITIONS_ADDED),
    ),
    Ablation(
        "takes any list in another partition for newer than a doubt",
        (
            Cut(
                Updates,
                "apply",
                "if self._is_overtaken(key, before, (listed_at, written_at), record.partition):",
                "if not (before is not None and is_doubt(before)) and self._is_overtaken(\n"
                "            key, before, (listed_at, written_at), record.partition\n"
                "        ):",
            ),
        ),
        only=(Fault.UNDECODABLE, Fault.LISTED_ELSEWHERE, Fault.PARTITION_LAGS),
    ),
    Ablation(
        "takes a list of another partition for newer than a doubt of the same time",
        (
            Cut(
                Updates,
                "_is_overtaken",
                "return times[0] <= known.doubted_at",
                "return times[0] < known.doubted_at",
            ),
        ),
    ),
    Ablation(
        "counts a deletion however old it is",
        (
            Cut(
                _evidence,
                "stale_since",
                "if listed_at is None or",
                "if True or",
            ),
        ),
        only=(Fault.DELETION_REPLAYED,),
    ),
    Ablation(
        "does not take back what an old deletion has confirmed before the evidence",
        (Cut(_evidence, "refuted", "if data.proven:", "if True:"),),
        only=(Fault.DELETION_REPLAYED, Fault.LIST_BEHIND, Fault.CLOCK_WRONG),
    ),
    Ablation(
        "trusts what is stored however long the service was stopped",
        (_NEVER_TOO_OLD,),
        only=(Fault.LONG_STOP,),
    ),
    Ablation(
        "does not judge at the log's end how long it was cut off from it",
        (_NEVER_LATE,),
        only=(Fault.LONG_STOP,),
        second="each session judges it when it begins",
    ),
    Ablation(
        "trusts what is stored, and what is read on from it",
        (_NEVER_TOO_OLD, _NEVER_LATE),
        only=(Fault.LONG_STOP,),
    ),
    Ablation(
        "reads on from what is stored before it knows how long null values are retained",
        (Cut(PreparedTopics, "prepare_catalogue", "await self.checks.until_known()", "pass"),),
        only=(Fault.LONG_STOP,),
    ),
    Ablation(
        "lets a takedown wait for Kafka beyond its deadline",
        (Cut(WaitingRoom, "add", "takedown.deadline - MARGIN", "1e9"),),
        only=(Fault.BROKER_REFUSES, Fault.SHORT_WAIT),
    ),
    Ablation(
        "forgets those who wait for Kafka when the coordinator fails",
        (
            Cut(
                Coordinator,
                "_abandon",
                "for waiting in self._room.expired(math.inf):",
                "for waiting in ():",
            ),
        ),
        only=(Fault.BROKER_REFUSES, Fault.COORDINATOR_CRASHED),
    ),
    Ablation(
        "begins a takedown that it has refused after the wait",
        (
            Cut(
                Coordinator,
                "_look_again",
                "self._refuse(refusal, waiting.reply)",
                "self._refuse(refusal, waiting.reply)\n"
                "            if censor := self._pool.take(waiting.takedown, waiting.reply):\n"
                "                censor.try_tell(Begin(waiting.takedown, waiting.reply))",
            ),
        ),
        only=(Fault.BROKER_REFUSES,),
    ),
    Ablation(
        "tells a refusal only once all requests are settled",
        (
            Cut(
                KafkaPublication,
                "_settle",
                "elif self._untold and (self._handed_over or self._in_flight):",
                "elif False:",
            ),
            Cut(KafkaPublication, "sent", "if self._untold:", "if False:"),
        ),
        only=(Fault.ONE_REFUSED,),
    ),
    Ablation(
        "says that a deletion confirmed what a list confirmed",
        (
            Cut(
                _following,
                "_with_changes",
                'event.listed_at, "list")',
                'event.listed_at, "deletion")',
            ),
        ),
        only=(Fault.LIST_CHANGED, Fault.ITEM_GONE),
    ),
    Ablation(
        "is caught up for the whole session once it was",
        (_NO_LAG,),
        only=(Fault.TRANSACTION_HANGS,),
    ),
)


@contextlib.contextmanager
def taken_out(ablation: Ablation) -> Iterator[None]:
    """Within the block, the program is without this safeguard."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        for cut in ablation.cuts:
            undo.append((cut.owner, cut.name, inspect.getattr_static(cut.owner, cut.name)))
            _put(cut.owner, cut.name, _rewritten(cut))
        yield
    finally:
        for owner, name, original in reversed(undo):
            _put(owner, name, original)


_sources: dict[Any, str] = {}
"""What was rewritten once and may be again; `inspect` would find the file's."""


def _rewritten(cut: Cut) -> Any:
    original = inspect.getattr_static(cut.owner, cut.name)
    function: Any = original.fget if isinstance(original, property) else original
    source = _sources.get(function) or inspect.getsource(function)
    if cut.old not in source:
        raise OutOfDate(f"{cut.owner.__name__}.{cut.name} does not hold {cut.old!r}")
    source = source.replace(cut.old, cut.new)
    module = sys.modules[function.__module__]
    # The parameter is the cell that `super()` looks for.
    inner = textwrap.indent(textwrap.dedent(source), "    ")
    text = f"def make(__class__):\n{inner}\n    return {cut.name}\n"
    flags = __future__.annotations.compiler_flag
    code = compile(text, f"<{cut.name} without a safeguard>", "exec", flags, dont_inherit=True)
    names: dict[str, Any] = {}
    exec(code, vars(module), names)  # noqa: S102 - our own source, with the module's own globals
    made = names["make"](cut.owner)
    _sources[made.fget if isinstance(made, property) else made] = source
    return made


def _put(owner: Any, name: str, function: Any) -> None:
    old = inspect.getattr_static(owner, name)
    setattr(owner, name, function)
    if inspect.ismodule(owner):
        for module in tuple(sys.modules.values()):  # whoever imported it by its name
            if vars(module).get(name) is old:
                setattr(module, name, function)
    for row in _machine.TABLE:  # machines are made from it later, too
        _replace_in(row, old, function)
    for machine in _machines():
        for row in machine.table.values():
            _replace_in(row, old, function)
        if machine.on_termination is old:
            object.__setattr__(machine, "on_termination", function)


def _replace_in(row: Any, old: Any, function: Any) -> None:
    """Let a row of a machine's table call `function` where it calls `old`; rows are frozen."""
    action = row.action
    if action is old:
        object.__setattr__(row, "action", function)
    elif isinstance(action, functools.partial) and action.func is old:
        bound = functools.partial(function, *action.args, **action.keywords)
        object.__setattr__(row, "action", bound)
    if row.accepts is old:
        object.__setattr__(row, "accepts", function)


def _machines() -> list[Any]:
    return [*actors.item_censor.actor._MACHINES.values()]


def find(ablation: Ablation, *, seeds: int, first: int = 0) -> Result | None:
    """The first run that fails without this safeguard, of so many; None if there is none."""
    with taken_out(ablation):
        for seed in range(first, first + seeds):
            result = World(seed, only=ablation.only).run()
            if ablation.found(result):
                return result
    return None
