"""What was asked, written and read in one run, and the invariants that are checked against it.

The ledger knows nothing of the service's insides. It hears what was written to the topics and
when, what each life of the service has handled of it and when, and each answer as it leaves the
server; and it says at once which invariant an answer breaks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

from bus.kafka.codec import decode_item_deleted
from dev.simulation.evidence import Evidence
from dev.simulation.loop import EPOCH, START
from dev.simulation.truth import Truth
from domain.errors import UnreadableRecord
from domain.messages import ItemReported

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from dev.simulation.callers import Asked
    from dev.simulation.cluster import Cluster
    from dev.simulation.log import Record
    from dev.simulation.loop import SimulatedLoop
    from dev.simulation.newest_list import Said

GRACE = 0.25

_UNCERTAIN = frozenset({502, 504})
_NOTHING_DONE = frozenset({400, 404, 503})
_ASKED_FOR = frozenset({200, 502, 504})

Place = tuple[str, str]

_reported = msgspec.json.Decoder(ItemReported)


def read_deletion(record: Record) -> tuple[Place, datetime] | None:
    """The item and the container, and the deletion's date; None if the record cannot be read."""
    # In whatever letters the codec leaves an item's id.
    try:
        message = decode_item_deleted(record.value)
    except UnreadableRecord:
        return None
    return (message.item_id.lower(), message.container_id), message.deleted_at


class Ledger:
    """Everything that the invariants need.

    Args:
        loop: the world's time.
        cluster: whose topics are written to.
        timeout: the service's own deadline, in seconds.
        follows: whether the service follows an item's newer lists.
    """

    def __init__(
        self, loop: SimulatedLoop, cluster: Cluster, *, timeout: float, follows: bool
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._follows = follows
        self.asked: list[Asked] = []
        self.violations: list[str] = []
        self.pauses: list[tuple[float, float]] = []
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self.stalls: list[tuple[float, float]] = []
        self.crashes: list[float] = []
        self.about: set[str] = set()
        self.truth = Truth(loop, cluster)
        self._reports: dict[str, list[tuple[float, Place, float]]] = defaultdict(list)
        self._told: dict[str, list[tuple[float, str, bool]]] = defaultdict(list)
        cluster.followers.setdefault("item_reported", []).append(self._on_report)

    def _on_report(self, record: Record) -> None:
        request = _reported.decode(record.value or b"")
        place = (request.item_id, request.container_id)
        made_at = (request.reported_at - EPOCH).total_seconds() + START
        self._reports[request.takedown_id].append((record.at, place, made_at))

    def settled(self, values: Iterable[bytes], error: Exception | None) -> None:
        """The service is told what became of the requests in one batch."""
        for value in values:
            request = _reported.decode(value)
            told = self._loop.time(), request.container_id, error is None
            self._told[request.takedown_id].append(told)

    def broken(self, what: str, asked: Asked | None = None) -> None:
        """An invariant does not hold; for this request, if it is about one."""
        if asked is not None:
            what = f"{what}: {asked}"
            self.about |= {asked.name, asked.item_id[-4:], asked.takedown_id[:4] or asked.name}
        self.violations.append(f"{self._loop.time() - START:.4f} {what}")

    # --------------------------------------------------------------------------- answers

    def deadline(self, asked: Asked) -> float:
        """By when a request had to be answered."""
        assert asked.arrived_at is not None
        accepted = asked.arrived_at
        for began, ended in self.pauses:
            if began == accepted:  # it lay there while the process stood still
                accepted = ended
        return accepted + self._seconds(asked)

    def _seconds(self, asked: Asked) -> float:
        return self._timeout if asked.wait is None else min(self._timeout, asked.wait)

    def answered(self, asked: Asked) -> None:
        """Check what an answer says against what was written and read."""
        assert asked.answered_at is not None
        assert asked.arrived_at is not None
        self.statuses[asked.status] += 1
        self.slowest = max(self.slowest, asked.answered_at - asked.arrived_at)
        if asked.answers > 1:
            self.broken("I1: two answers", asked)
        self._check_time(asked)
        if asked.body.get("itemId", asked.item_id) != asked.item_id:
            self.broken("an answer about another item", asked)
        if asked.status in _ASKED_FOR:
            self._check_sought(asked)
        self._check_refused(asked)
        if asked.status == 200:
            self._check_deleted(asked)
        elif asked.status == 404:
            self._check_unknown(asked)
        elif asked.status in _UNCERTAIN:
            self._check_uncertain(asked)
        elif asked.status == 500:
            if not self._has_crashed(asked) and not self._was_blocked(asked):
                self.broken("a 500, and no actor was made to fail just now", asked)
        elif asked.status != 503:
            self.broken("an answer that nobody expects", asked)
        if asked.status in _NOTHING_DONE and self._reports.get(asked.takedown_id):
            self.broken(f"I3: {asked.status}, and requests were published", asked)

    def _has_crashed(self, asked: Asked) -> bool:
        """Whether an actor was made to fail at that moment: who is concerned hears at once."""
        assert asked.arrived_at is not None
        assert asked.answered_at is not None
        until = asked.answered_at
        return any(
            asked.arrived_at <= at <= until and (until - at < GRACE or not self.ran(at, until))
            for at in self.crashes
        )

    def _was_blocked(self, asked: Asked) -> bool:
        """Whether our own code held the loop up when the deadline's timers were to be looked at.

        The one that waits for the answer then has more turns than it gives the one who has it: it
        is a defect of ours, and a 500 says so.
        """
        assert asked.arrived_at is not None
        assert asked.answered_at is not None
        since = asked.arrived_at + self._seconds(asked)  # at the earliest
        return any(began <= asked.answered_at and ended >= since for began, ended in self.stalls)

    def _check_time(self, asked: Asked) -> None:
        assert asked.answered_at is not None
        assert asked.arrived_at is not None
        if asked.status == 504 and asked.answered_at < asked.arrived_at + self._seconds(asked):
            self.broken("a 504 before its deadline", asked)
        latest = self.deadline(asked) + GRACE
        if asked.answered_at <= latest:
            return
        if asked.status == 200:
            self.broken("a 200 after its deadline", asked)
        for began, ended in self.pauses:
            if began <= latest and ended >= asked.arrived_at:
                latest = max(latest, ended + GRACE)
        if asked.answered_at > latest:
            self.broken(f"I1: {asked.answered_at - latest:.3f} s late", asked)

    def ran(self, since: float, until: float) -> bool:
        """Whether the process ran all the time; if not, what was read may not have been heard."""
        return not any(began <= until and ended >= since for began, ended in self.pauses)

    def _evidence(self, asked: Asked) -> Evidence:
        return Evidence(asked, until=self.deadline(asked), follows=self._follows)

    def _check_deleted(self, asked: Asked) -> None:
        evidence = self._evidence(asked)
        named = {place["containerId"]: place for place in asked.body["containers"]}
        if len(named) != len(asked.body["containers"]) or not named:
            self.broken("I2: a container twice, or none", asked)
        for container, place in named.items():
            self._check_confirmed(asked, evidence, container, place.get("confirmedBy"))
        views = self.truth.views(asked.item_id, evidence.since, evidence.answered)
        if not any(one is None or evidence.satisfies(one) for each in views for one in each):
            self.broken(f"I2: not every container of {_in_words(views)} is confirmed", asked)
        if self._follows:
            self._check_heard(asked, evidence, frozenset(named))

    def _check_confirmed(
        self, asked: Asked, evidence: Evidence, container: str, by: str | None
    ) -> None:
        deleted, vanished = evidence.may_be_deleted(container), evidence.vanished(container)
        if not deleted and not vanished:
            self.broken(f"I2: no item_deleted of {container} was read", asked)
        elif by not in {"deletion", "list"} or not (deleted if by == "deletion" else vanished):
            self.broken(f"confirmedBy: {container} is not confirmed by {by}", asked)

    def _check_heard(self, asked: Asked, evidence: Evidence, named: frozenset[str]) -> None:
        """A 200 goes by the newest list that was read, or by one that was read later.

        What was read just before a pause may not have been processed before the answer, nor what
        was read while everything is read again.
        """
        if any(said is None and at >= evidence.since for at, said in evidence.lists):
            return
        processed = [
            number
            for number, (at, _) in enumerate(evidence.lists)
            if at < evidence.answered and self.ran(at, evidence.answered)
        ]
        wanted = [
            None if said is None else said.containers
            for _, said in evidence.lists[max(processed, default=0) :]
        ]
        if wanted and not any(
            places is not None and all(c in named or evidence.may_be_deleted(c) for c in places)
            for places in wanted
        ):
            self.broken(f"I2: not every container of {wanted} that was read", asked)

    def _check_sought(self, asked: Asked) -> None:
        """Some list that counted meanwhile has to name a container of the item."""
        assert asked.life is not None
        assert asked.arrived_at is not None
        assert asked.answered_at is not None
        places: frozenset[str] = frozenset()
        for at, said in asked.life.lists.get(asked.item_id, ()):
            listed = (said.containers if said is not None else None) or frozenset()
            if at < asked.arrived_at:
                places = listed
            elif at <= asked.answered_at:
                places |= listed
        if not places:
            self.broken("sought, and by the newest list it is nowhere", asked)
            return
        # Whatever was in the log when this life began was read before it was ready.
        views = self.truth.views(asked.item_id, asked.life.began, asked.answered_at)
        if all(one is None or not one.containers for each in views for one in each):
            self.broken(f"sought, and the log has had it nowhere: {_in_words(views)}", asked)

    def _check_refused(self, asked: Asked) -> None:
        """A refusal that rules out a 200 ends the takedown at once."""
        assert asked.answered_at is not None
        evidence = Evidence(asked, follows=self._follows)
        for at, container, acknowledged in self._told.get(asked.takedown_id, ()):
            latest = at + GRACE
            if acknowledged or asked.answered_at <= latest:
                continue
            # What was read behind a pause is handled together with the refusal.
            for began, ended in self.pauses:
                if began <= latest and ended >= at:
                    latest = max(latest, ended + GRACE)
            if evidence.may_be_deleted(container, by=latest):
                continue
            if evidence.vanished(container, by=latest):
                continue
            if asked.answered_at > latest:
                late = asked.answered_at - latest
                self.broken(f"I4: the refusal of {container} is told {late:.3f} s late", asked)
                return

    def _check_unknown(self, asked: Asked) -> None:
        """Somewhere between request and answer, the log's newest record had to say so."""
        assert asked.arrived_at is not None
        assert asked.answered_at is not None
        views = self.truth.views(asked.item_id, asked.arrived_at, asked.answered_at)
        if not any(one is None or one.nowhere for each in views for one in each):
            self.broken(f"I6: 404, and it is in {_in_words(views)}", asked)

    def _check_uncertain(self, asked: Asked) -> None:
        assert asked.answered_at is not None
        body = asked.body
        evidence = Evidence(asked, follows=self._follows)
        deleted = {place["containerId"] for place in body["deleted"]}
        outstanding = {place["containerId"] for place in body["outstanding"]}
        if len(deleted) + len(outstanding) != len(body["deleted"]) + len(body["outstanding"]):
            self.broken("I4: a container twice", asked)
        if deleted & outstanding:
            self.broken("I4: deleted and outstanding at once", asked)
        reports = self._reports.get(asked.takedown_id, [])
        for container in sorted(deleted):
            if not evidence.vanished(container) and not evidence.may_be_deleted(container):
                self.broken(f"I4: {container} is said to be deleted", asked)
        until = min(asked.answered_at, self.deadline(asked))
        for container in sorted(outstanding):
            first = [at for at, place, _ in reports if place == (asked.item_id, container)]
            times = [at for at, _ in evidence.certainly_deleted(container)]
            if first and any(first[0] < at < until and self.ran(at, until) for at in times):
                self.broken(f"I4: {container} is said to be outstanding", asked)
        if asked.status == 502:
            self._check_refusal(asked, evidence, sorted(deleted | outstanding))

    def _check_refusal(self, asked: Asked, evidence: Evidence, containers: list[str]) -> None:
        """A 502 says of each container what Kafka has reported of its request."""
        assert asked.life is not None
        named = {
            name: [place["containerId"] for place in asked.body.get(name, ())]
            for name in ("published", "unpublished", "unacknowledged")
        }
        if sorted(container for names in named.values() for container in names) != containers:
            self.broken(f"I4: not each container is in one of {named}", asked)
        told = self._told.get(asked.takedown_id, ())
        acknowledged = {container for _, container, fine in told if fine}
        if unwritten := set(named["published"]) - acknowledged:
            self.broken(f"I4: published, and not acknowledged: {sorted(unwritten)}", asked)
        if any(at >= evidence.since for at, _ in evidence.lists):
            return  # what was listed again may have been asked for again
        requests = map(_reported.decode, asked.life.network.unsettled())
        open_ = {one.container_id for one in requests if one.takedown_id == asked.takedown_id}
        if failed := open_.intersection(named["unpublished"]):
            self.broken(f"I4: unpublished, and not settled: {sorted(failed)}", asked)
        settled = {
            container
            for at, container, _ in told
            if at < evidence.answered and self.ran(at, evidence.answered)
        }
        if known := settled.intersection(named["unacknowledged"]):
            self.broken(f"I4: unacknowledged, and settled: {sorted(known)}", asked)

    # --------------------------------------------------------------------------- the end

    def check_end(self) -> None:
        """Everybody was answered, and nothing was published that nobody asked for, or too late."""
        known: dict[str, Asked] = {}
        silent: set[str] = set()
        for asked in self.asked:
            if not asked.settled:
                self.broken("I1: no answer", asked)
            if asked.answers:
                if asked.takedown_id in known:
                    self.broken("two requests share an identity", asked)
                known[asked.takedown_id] = asked
            elif asked.arrived_at is not None:
                silent.add(asked.item_id)
        for takedown_id, reports in self._reports.items():
            asker = known.get(takedown_id)
            if asker is None:
                if any(place[0] not in silent for _, place, _ in reports):
                    self.broken(f"reported, and nobody asked for it: {takedown_id}")
            elif asker.status in _NOTHING_DONE:
                self.broken(f"I3: {asker.status}, and requests were published", asker)
            elif any(place[0] != asker.item_id for _, place, _ in reports):
                self.broken("I7: reported for another item", asker)
            else:
                self._check_asked_once(asker, reports)

    def _check_asked_once(self, asker: Asked, reports: list[tuple[float, Place, float]]) -> None:
        """What was confirmed to a takedown is not asked for again by it."""
        assert asker.life is not None
        first: dict[Place, float] = {}
        evidence = Evidence(asker, follows=self._follows)
        for at, place, made_at in reports:
            since = first.setdefault(place, at)
            for read_at, _ in evidence.certainly_deleted(place[1]):
                if since < read_at < made_at and self.ran(read_at, made_at):
                    self.broken(f"asked again for {place[1]}, which was confirmed", asker)
                    return


def _in_words(views: Iterable[Iterable[Said | None]]) -> str:
    """What counted, one after the other."""
    return ", then ".join(
        " or ".join(
            "nothing"
            if one is None
            else "doubt"
            if one.containers is None
            else str(sorted(one.containers))
            for one in each
        )
        for each in views
    )
